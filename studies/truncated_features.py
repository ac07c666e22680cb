# SPDX-License-Identifier: Apache-2.0
"""Does a fit need all its features, or do the leading directions of each depth hold its skill?

    python -m studies.truncated_features --data DATA --work WORK --output docs/results/truncated_features.json \
        --page docs/overhead.md

WORK is the folder of `studies.faithfulness`; a model fine-tuned on `--texts` texts is made there where it is missing.
The features of a depth's states, and those of its flow, are turned into the principal directions of the equations that
are learnt from, and as many are kept as hold a share of their squares. Strengths are chosen and skill is measured on
texts that are held out, as in a fit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mhex_nlp import AutoMhexModelForSequenceClassification
from mhex_nlp.explain import skill
from mhex_nlp.explain.skill import Rows
from mhex_nlp.inputs.batching import usual_batch_tokens
from mhex_nlp.inputs.tokenizer import load_tokenizer
from mhex_nlp.training.fitting.equations import EquationSource
from mhex_nlp.training.fitting.learning import learn as learn_from
from mhex_nlp.training.fitting.ridge import RidgeStream
from mhex_nlp.training.fitting.splits import split

from .common import be_quiet, grid, machine, make_parser, span, write_json, write_page
from .faithfulness.models import Case
from .faithfulness.settings import FIT

SHARES = (0.9, 0.95, 0.99, 0.999, 1.0)


def leading_directions(rows: Tensor, parts: Sequence[int], share: float) -> list[Tensor]:
    """For each part of the features of rows (R, F), (f, k) float32: directions that hold this share of its squares."""
    directions = []
    for part in rows.split(list(parts), dim=1):
        values, vectors = torch.linalg.eigh((part.T @ part).double())  # ascending
        held = values.clamp(min=0).flip(0).cumsum(0)
        count = 1 + int((held < share * held[-1]).sum())
        directions.append(vectors.flip(1)[:, :count].float() if share < 1 else torch.eye(len(values)))
    return directions


def turned(sums: Tensor, parts: Sequence[int], directions: Sequence[Tensor]) -> Tensor:
    """(S, F) features along the directions of their parts."""
    return torch.cat([part @ axes for part, axes in zip(sums.split(list(parts), 1), directions, strict=True)], dim=1)


def solve(learn: Sequence[Rows], choose: Sequence[Rows], judge: Sequence[Rows], parts: Sequence[int]) -> dict[str, Any]:
    """One solution: its skill on `judge`, and the seconds from equations to it."""
    start, pairs = time.perf_counter(), sum((len(rows.sums) + 1) // 2 for rows in learn)
    stream = RidgeStream(parts, learn[0].values.shape[1], pairs)
    learnt = learn_from(stream, range(len(learn)), lambda numbers: [learn[i] for i in numbers], choose, None)
    seconds, errors = time.perf_counter() - start, skill.errors(learnt.weights, judge)
    return {
        "features": sum(parts),
        "skill": skill.ratio(errors),
        "interval": skill.interval(errors, 0),
        "strength": learnt.strength,
        "seconds": seconds,
    }


def measure(case: Case, count: int) -> dict[str, Any]:
    """A solution for each share, of the same rows."""
    case.train()
    model = AutoMhexModelForSequenceClassification.from_pretrained(case.folder / "trained").eval()
    texts = list(case.parts[0]["text"])[:count]
    tokenizer, batch_tokens = load_tokenizer(str(case.folder / "trained")), usual_batch_tokens(model.device)
    source = EquationSource(model, tokenizer, "auto", FIT["masks"], batch_tokens)
    splits = split(texts, 0.1, case.seed)
    with torch.inference_mode():
        source.layout = source.find_layout(texts[0], None)
        learn, choose, judge = (
            list(source.rows([texts[i] for i in part], None, part, case.seed))
            for part in (splits.learn, splits.choose, splits.judge)
        )
        equations, parts = torch.cat([rows.equations()[0] for rows in learn]), source.layout.parts
        solutions = {}
        for share in SHARES:
            axes = leading_directions(equations, parts, share)
            some = [
                [replace(rows, sums=turned(rows.sums, parts, axes)) for rows in rows_of]
                for rows_of in (learn, choose, judge)
            ]
            solutions[str(share)] = solve(*some, [part.shape[1] for part in axes])
            print(case.name, share, solutions[str(share)], flush=True)
    return {
        "fine_tuned_on": case.train_texts,
        "learnt": len(learn),
        "equations": len(equations),
        "judged": len(judge),
        "solutions": solutions,
    }


def table(report: dict[str, Any]) -> list[str]:
    """The page's part."""
    rows = []
    for name, case in report["cases"].items():
        whole = case["solutions"]["1.0"]
        for share, solution in case["solutions"].items():
            kept = "all" if solution is whole else f"{100 * float(share):g} %"
            figures = f"{solution['features']:,}", span(solution["skill"], solution["interval"])
            seconds = f"{solution['seconds'] / whole['seconds']:.2f}"
            texts = " / ".join(f"{case[part]:,}" for part in ("fine_tuned_on", "learnt", "judged"))
            rows.append([name, texts, kept, *figures, seconds])
    head = ["model", "texts fine-tuned on / learnt from / judged", "share of squares kept", "features", "paired skill"]
    return [
        f"{report['machine']}; MiniLM, {FIT['masks']} masks, 95 % bootstrap intervals over texts; made by "
        "`studies/truncated_features.py`.",
        "",
        *grid([*head, "seconds of solving / all"], rows),
    ]


def main() -> None:
    args = make_parser(__doc__, "data", "work", names="sst2,ag_news", texts=2000, fit_texts=1500).parse_args()
    be_quiet()
    report: dict[str, Any] = {"cases": {}}
    if args.output.is_file():
        report = json.loads(args.output.read_text("utf-8"))
    report["machine"] = machine()
    for data in args.names.split(","):
        case = Case(data, 0, args.data, args.work, train_texts=args.texts)
        if case.name not in report["cases"]:
            report["cases"][case.name] = measure(case, args.fit_texts)
            write_json(args.output, report)
    write_page(args.page, table(report), "truncated_features")


if __name__ == "__main__":
    main()
