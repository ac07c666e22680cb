# SPDX-License-Identifier: Apache-2.0
"""What the fit should read and how it should weigh: features, rows and penalties tried one by one on the same texts.

    python -m studies.readout --data path/to/data --work path/to/work --output docs/results/readout.json

Needs `--work` of `studies.faithfulness` with tables A and B of the case done: its fine-tuned model, the scores of
integrated gradients and the reference Shapley values. Each way is solved in closed form on the same rows and measured
like any other method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch

from mhex_nlp import AutoMhexModelForSequenceClassification
from mhex_nlp.evaluation.metrics.ranking import rank_agreement
from mhex_nlp.evaluation.model_values import TextValues
from mhex_nlp.explain import skill as judging
from mhex_nlp.explain.skill import Rows
from mhex_nlp.inputs.tokenizer import load_tokenizer
from mhex_nlp.models import forward as forward_pass
from mhex_nlp.models.heads.attention_flow import attention_flow
from mhex_nlp.training.fitting.equations import EquationSource
from mhex_nlp.training.fitting.ridge import RidgeStream

from .common import MINILM, be_quiet, cell, grid, machine, make_parser, mean_interval, write_json, write_page
from .faithfulness import measuring
from .faithfulness.data import shuffled
from .faithfulness.models import Case, draw_texts

HELD_OUT, MASKS, STRENGTHS = 200, 8, (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)


def direct_flow(
    layers: Sequence[Any], start: torch.Tensor, position: torch.Tensor | None = None, matrix: Any = None
) -> tuple[torch.Tensor, ...]:
    """Every layer's attention flow into the pooled position itself, without what reaches it through other positions.

    `matrix` is `None` in models without a fit.
    """
    return tuple(flow for layer in layers for flow in attention_flow([layer], start, position))


class Collected:
    """Rows of the fit, and features of the texts that are explained."""

    def __init__(self, case: Case, count: int, texts: list[TextValues], roll: bool) -> None:
        folder = case.folder / "trained"
        model = AutoMhexModelForSequenceClassification.from_pretrained(folder).eval()
        source = EquationSource(model, load_tokenizer(str(folder)), "mask", MASKS, 4096)
        flow = forward_pass.attention_flow if roll else direct_flow
        with torch.inference_mode(), mock.patch.object(forward_pass, "attention_flow", flow):
            train = list(shuffled(case.parts[0], count, case.seed)["text"])
            self.layout = source.layout = source.find_layout(train[0], None)
            rows: list[Rows] = []
            for start in range(0, len(train), 64):
                chunk = train[start : start + 64]
                rows += source.rows(chunk, None, range(start, start + len(chunk)), case.seed)
            outputs = (source._forward([text.item]) for text in texts)
            self.features = [self.layout.join(out.states, out.attention_flow)[0] for out in outputs]
        self.positions = [text.item.content_positions(False) for text in texts]
        self.held, self.rows = rows[:HELD_OUT], rows[HELD_OUT:]

    def groups(self, kinds: str) -> list[list[int]]:
        """Indices of the features of the kinds, by group: s(tates), a(ttention flow); the constant always."""
        groups, start = [[0]], 1
        for width, flow in zip(self.layout.widths, self.layout.flow_widths, strict=True):
            for kind, size in (("s", width), ("a", flow)):
                groups += [list(range(start, start + size))] if kind in kinds and size else []
                start += size
        return groups


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


def solve(collected: Collected, kinds: str, how: str, common: bool) -> tuple[torch.Tensor, float, float]:
    """Weights, skill and strength of the best of STRENGTHS on the held-out texts."""
    groups = collected.groups(kinds)
    columns = sum(groups, [])
    stream = RidgeStream([len(columns)] if common else [*map(len, groups)], collected.rows[0].values.shape[1])
    for row in collected.rows:
        sums, values = weighted(row, how)
        stream.add(sums[:, columns], values)
    held = [Rows(row.sums[:, columns], row.values, row.sizes, row.target) for row in collected.held]
    tried = ((stream.solve(strength), strength) for strength in STRENGTHS)
    return max(((w, judging.skill(w, held), strength) for w, strength in tried), key=lambda solution: solution[1])


def explain(
    collected: Collected, kinds: str, weights: torch.Tensor, texts: list[TextValues], targets: list[int]
) -> list[np.ndarray]:
    """(n_i,) centred scores of each text."""
    columns, scores = sum(collected.groups(kinds), []), []
    for features, positions, target, text in zip(collected.features, collected.positions, targets, texts, strict=True):
        phi = torch.zeros(len(features), weights.shape[1], dtype=torch.float64)
        phi[positions] = features[positions][:, columns].double() @ weights
        scores.append(text.unit_scores((phi[:, target] - phi.mean(1)).numpy()))
    return scores


def measure(case: Case, texts: list[TextValues], targets: list[int], scores: list[np.ndarray]) -> dict[str, Any]:
    """Mean and interval of each figure over the texts."""
    ours, rival = measuring.removed(texts, scores, targets), case.load("A", "integrated_gradients")
    truth = measuring.shapley_rows(case)[: len(texts)]
    figures = {
        "spearman": rank_agreement(scores[: len(truth)], truth),
        **ours,
        **{f"{name} less IG's": values - rival[name][: len(texts)] for name, values in ours.items()},
    }
    return {name: mean_interval(values) for name, values in figures.items()}


# what it is called, direct or rolled-out flow, kinds of features, rows, one penalty for all features
WAYS = (
    ("states", True, "s", "differences", False),
    ("attention flow into the pooled position", False, "a", "differences", False),
    ("rolled-out attention flow", True, "a", "differences", False),
    ("states and attention flow into the pooled position", False, "sa", "differences", False),
    ("states and rolled-out attention flow (kept)", True, "sa", "differences", False),
    ("... one penalty for all features", True, "sa", "differences", True),
    ("... subsets alone instead of differences", True, "sa", "subsets", False),
    ("... such, without the row of the whole text", True, "sa", "no whole text", False),
    ("... such, weighted by the Shapley kernel", True, "sa", "Shapley kernel", False),
    ("... such, less the even spread", True, "sa", "less the even spread", False),
)


def table(report: dict[str, Any]) -> list[str]:
    names = ("spearman", "comprehensiveness less IG's", "sufficiency less IG's")
    rows = []
    for name, row in report["ways"].items():
        rows.append([name, f"{row['skill']:.3f}", *(cell(row[key], signed=True) for key in names)])
    head = ["skill", "Spearman to Shapley ↑", "Δ comprehensiveness to IG ↑", "Δ sufficiency to IG ↓"]
    return [
        f"{report['case']}: {report['train_texts']} texts of the fit, {MASKS} masks each, {report['texts']} texts "
        f"explained, {report['reference_texts']} of them with reference Shapley values; 95 % bootstrap intervals; "
        "differences to integrated gradients with 50 steps are paired. Strength chosen by skill on "
        f"{HELD_OUT} held-out texts. Made by `studies/readout.py`.",
        "",
        *grid(["features and rows", *head], rows),
    ]


def main() -> None:
    args = make_parser(__doc__, "data", "work", case="sst2-0", train_texts=3000, texts=150).parse_args()
    be_quiet()
    data, _, seed = args.case.rpartition("-")
    case = Case(data, int(seed), args.data, args.work)
    texts = draw_texts(case, args.texts)
    targets = measuring.targets_of(case, texts)
    report: dict[str, Any] = {
        "model": MINILM,
        "case": args.case,
        "seed": case.seed,
        "train_texts": args.train_texts - HELD_OUT,
        "texts": len(texts),
        "reference_texts": min(len(measuring.shapley_rows(case)), len(texts)),
        "machine": machine(),
    }
    ways: dict[str, Any] = {}
    for roll in (False, True):
        collected = Collected(case, args.train_texts, texts, roll)
        for name, rolled, kinds, how, common in WAYS:
            if rolled is roll:
                weights, skill, strength = solve(collected, kinds, how, common)
                scores = explain(collected, kinds, weights, texts, targets)
                ways[name] = {"skill": skill, "strength": strength, **measure(case, texts, targets, scores)}
                print(f"{name}: skill {skill:.3f} at {strength:g}", flush=True)
    report["ways"] = {name: ways[name] for name, *_ in WAYS}
    write_json(args.output, report)
    write_page(args.page, table(report))


if __name__ == "__main__":
    main()
