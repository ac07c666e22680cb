# SPDX-License-Identifier: Apache-2.0
"""What the fit should read and how it should weigh: features, rows and penalties tried one by one on the same texts.

    python scripts/study_readout.py --data path/to/data --work path/to/work --case sst2-0 --output docs/readout.json

Needs `--work` of study_faithfulness.py with tables A and B of the case done: its fine-tuned model, the scores of
integrated gradients and the reference Shapley values. Each way is solved in closed form on the same rows and measured
like any other method. Writes the figures as JSON, and as a table to the file of the same name with .md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faithfulness import measuring, store
from faithfulness.intervals import mean_interval
from faithfulness.models import Case
from transformers import logging

from mhex_nlp import AutoMhexModelForSequenceClassification
from mhex_nlp.evaluation.metrics.perturbation import comprehensiveness, sufficiency
from mhex_nlp.evaluation.metrics.ranking import rank_agreement
from mhex_nlp.evaluation.text_values import TextValues, perturb
from mhex_nlp.inputs.tokenizer import load_tokenizer
from mhex_nlp.models import forward as forward_pass
from mhex_nlp.models.heads.attention_flow import attention_flow
from mhex_nlp.training.fitting import skill as judging
from mhex_nlp.training.fitting.equations import EquationSource
from mhex_nlp.training.fitting.ridge import RidgeStream
from mhex_nlp.training.fitting.skill import Rows

HELD_OUT, MASKS, STRENGTHS = 200, 8, (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)


def direct_writes(
    layers: Sequence[Any], start: torch.Tensor, place: torch.Tensor | None = None
) -> tuple[torch.Tensor, ...]:
    """Every layer's writes into the pooled position itself, without what reaches it through other positions."""
    return tuple(flow for layer in layers for flow in attention_flow([layer], start, place))


class Collected:
    """Rows of the fit, and features of the texts that are explained."""

    def __init__(self, case: Case, count: int, texts: list[TextValues], roll: bool) -> None:
        folder = case.folder / "trained"
        model = AutoMhexModelForSequenceClassification.from_pretrained(folder).eval()
        source = EquationSource(model, load_tokenizer(str(folder)), "mask", MASKS, 4096)
        usual = forward_pass.attention_flow
        forward_pass.attention_flow = usual if roll else direct_writes
        try:
            with torch.inference_mode():
                train = case.parts[0].first(count, case.seed).texts
                self.layout = source.layout = source.find_layout(train[0], None)
                rows = [
                    row
                    for start in range(0, len(train), 64)
                    for row in source.rows(
                        train[start : start + 64], None, range(start, min(start + 64, len(train))), case.seed
                    )
                ]
                self.features = [each for each, _ in source._states([text.item for text in texts])]
        finally:
            forward_pass.attention_flow = usual
        self.positions = [text.item.content_positions(False) for text in texts]
        self.held, self.rows = rows[:HELD_OUT], rows[HELD_OUT:]

    def columns(self, kinds: str) -> torch.Tensor:
        """Indices of the features of the kinds: s(tates), w(rites); the constant always."""
        layout, chosen, start = self.layout, [0], 1
        for width, flow in zip(layout.widths, layout.flow_widths, strict=True):
            chosen += range(start, start + width) if "s" in kinds else ()
            chosen += range(start + width, start + width + flow) if "w" in kinds else ()
            start += width + flow
        return torch.tensor(chosen)

    def parts(self, kinds: str) -> list[int]:
        pairs = zip(self.layout.widths, self.layout.flow_widths, strict=True)
        sizes = [size for h, a in pairs for size, kind in ((h, "s"), (a, "w")) if kind in kinds and size]
        return [1, *sizes]


def weighted(row: Rows, how: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The regression's rows of a text: "differences", as the package has them, or other ways."""
    sums, values = row.sums, row.values
    if how == "differences":
        return row.equations()
    if how == "no whole text":
        return sums[:-1], values[:-1]
    share = (row.sizes / row.sizes[-1])[:, None].float()
    if how == "Shapley kernel":
        weight = torch.where(share < 1, (share * (1 - share) * float(row.sizes[-1])).clamp(min=1e-9).rsqrt(), 1.0)
        return sums * weight, values * weight
    if how == "less the even spread":
        return (sums - share * sums[-1])[:-1], (values - share * values[-1])[:-1]
    return sums, values


def solve(found: Collected, kinds: str, how: str, common: bool) -> tuple[torch.Tensor, float, float]:
    """Weights, skill and strength of the best of STRENGTHS on the held-out texts."""
    columns, parts = found.columns(kinds), found.parts(kinds)
    classes = found.rows[0].values.shape[1]
    stream = RidgeStream([len(columns)] if common else parts, classes)
    for row in found.rows:
        sums, values = weighted(row, how)
        stream.add(sums[:, columns], values)
    held = [Rows(row.sums[:, columns], row.values, row.sizes, row.target) for row in found.held]
    tried = ((stream.solve(strength), strength) for strength in STRENGTHS)
    return max(((w, judging.skill(w, held), strength) for w, strength in tried), key=lambda each: each[1])


def measure(case: Case, texts: list[TextValues], targets: list[int], scores: list[np.ndarray]) -> dict[str, Any]:
    after = perturb(texts, scores, targets)
    rivals = measuring.scores(case, "integrated_gradients")[: len(texts)]
    before = perturb(texts, rivals, targets)
    truth = store.unpack(store.load(measuring.score_path(case, "shapley"), measuring.made_of(case, "shapley")))
    size = min(len(truth), len(texts))
    figures = {
        "spearman": rank_agreement(scores[:size], truth[:size]),
        "comprehensiveness": comprehensiveness(after.full, after.without),
        "sufficiency": sufficiency(after.full, after.only),
    }
    figures["comprehensiveness less IG's"] = figures["comprehensiveness"] - comprehensiveness(
        before.full, before.without
    )
    figures["sufficiency less IG's"] = figures["sufficiency"] - sufficiency(before.full, before.only)
    return {name: mean_interval(values) for name, values in figures.items()}


# what it is called, direct or rolled writes, kinds of features, rows, one penalty for all features
WAYS = (
    ("states", True, "s", "differences", False),
    ("writes into the pooled position", False, "w", "differences", False),
    ("rolled-out writes", True, "w", "differences", False),
    ("states and writes into the pooled position", False, "sw", "differences", False),
    ("states and rolled-out writes (kept)", True, "sw", "differences", False),
    ("... one penalty for all features", True, "sw", "differences", True),
    ("... subsets alone instead of differences", True, "sw", "subsets", False),
    ("... such, without the row of the whole text", True, "sw", "no whole text", False),
    ("... such, weighted by the Shapley kernel", True, "sw", "Shapley kernel", False),
    ("... such, less the even spread", True, "sw", "less the even spread", False),
)


def table(report: dict[str, Any]) -> str:
    names = ("spearman", "comprehensiveness less IG's", "sufficiency less IG's")
    lines = [
        "# What the fit reads",
        "",
        f"{report['case']}: {report['train_texts']} texts of the fit, {MASKS} masks each, {report['texts']} texts "
        f"explained, {report['reference_texts']} of them with reference Shapley values; 95 % bootstrap intervals; "
        "differences to integrated gradients with 50 steps are paired. Strength chosen by skill on "
        f"{HELD_OUT} held-out texts. Made by `scripts/study_readout.py`.",
        "",
        "| features and rows | skill | Spearman to Shapley ↑ | Δ comprehensiveness to IG ↑ | Δ sufficiency to IG ↓ |",
        "|---|---|---|---|---|",
    ]
    for name, row in report["ways"].items():
        cells = [
            f"{row[key]['mean']:+.3f} [{', '.join(f'{end:+.3f}' for end in row[key]['interval95'])}]" for key in names
        ]
        lines.append(f"| {name} | {row['skill']:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--case", default="sst2-0")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--train-texts", type=int, default=3000)
    parser.add_argument("--texts", type=int, default=150)
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    data, _, seed = args.case.rpartition("-")
    case = Case(data, int(seed), args.data, args.work)
    texts = case.texts(args.texts)
    targets = measuring.targets_of(case, texts)
    truth = store.unpack(store.load(measuring.score_path(case, "shapley"), measuring.made_of(case, "shapley")))
    report: dict[str, Any] = {
        "case": args.case,
        "train_texts": args.train_texts - HELD_OUT,
        "texts": len(texts),
        "reference_texts": min(len(truth), len(texts)),
        "ways": {},
    }
    for roll in (False, True):
        found = Collected(case, args.train_texts, texts, roll)
        for name, rolled, kinds, how, common in WAYS:
            if rolled is not roll:
                continue
            weights, skill, strength = solve(found, kinds, how, common)
            columns, scores = found.columns(kinds), []
            for features, positions, target, text in zip(found.features, found.positions, targets, texts, strict=True):
                phi = torch.zeros(len(features), weights.shape[1], dtype=torch.float64)
                phi[positions] = features[positions][:, columns].double() @ weights
                scores.append(text.unit_scores((phi[:, target] - phi.mean(1)).numpy()))
            report["ways"][name] = {"skill": skill, "strength": strength, **measure(case, texts, targets, scores)}
            print(f"{name}: skill {skill:.3f} at {strength:g}", flush=True)
    report["ways"] = {name: report["ways"][name] for name, *_ in WAYS}
    args.output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    args.output.with_suffix(".md").write_text(table(report), "utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
