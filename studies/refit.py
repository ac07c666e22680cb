# SPDX-License-Identifier: Apache-2.0
"""Does a change of the fit's solver move what its scores say? Two fits of the same models on the same texts.

    python -m studies.refit --data DATA --work WORK --again AGAIN --output docs/results/refit.json

WORK is the folder of `studies.faithfulness` or `studies.budget` with models that an earlier version fitted; AGAIN gets
copies of them that this version fits, on as many of their texts. Figures are of test texts, means with 95 % bootstrap
intervals: skill of both fits, comprehensiveness, sufficiency and Spearman to Shapley values, and differences of pairs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp.evaluation.benchmark.methods import available_methods
from mhex_nlp.evaluation.metrics.ranking import rank_agreement
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley

from .common import be_quiet, machine, make_parser, mean_interval, write_json
from .faithfulness import settings
from .faithfulness.measuring import removed, targets_of
from .faithfulness.models import Case, draw_texts

RECORDED = ("skill", "skill_interval", "absolute_skill", "attainable", "strength", "texts", "seconds")


def fitted_again(before: Case, again: Path) -> Case:
    """The same trained model, with a fit of this version on as many texts."""
    known = json.loads((before.folder / "fitted" / "settings.json").read_text("utf-8"))["fit"]
    case = Case(before.data, before.seed, before.corpora, again, before.train_texts, known.get("texts"))
    if not (case.folder / "trained").is_dir():
        shutil.copytree(before.folder / "trained", case.folder / "trained")
    case.prepare()
    return case


def measure(before: Case, after: Case, count: int, shapley: tuple[int, int]) -> dict[str, Any]:
    """Figures of both fits; `shapley` is of how many texts, and of how many permutations, Shapley values are made."""
    texts = draw_texts(before, count)
    targets = targets_of(before, texts)
    scores = {
        name: [np.asarray(explanation, dtype=float) for explanation in _scores(case, texts, targets)]
        for name, case in (("before", before), ("after", after))
    }
    columns = {name: removed(texts, rows, targets) for name, rows in scores.items()}
    some, permutations = shapley
    values = [
        sampled_shapley(text.value(target, output="centred"), text.n, permutations=permutations, seed=index).values
        for index, (text, target) in enumerate(zip(texts[:some], targets, strict=False))
    ]
    for name, rows in scores.items():
        columns[name]["spearman_to_shapley"] = rank_agreement(rows[:some], values)
    figures: dict[str, Any] = {
        name: {key: mean_interval(column) for key, column in of.items()} for name, of in columns.items()
    }
    figures["after - before"] = {
        key: mean_interval(columns["after"][key] - columns["before"][key]) for key in columns["after"]
    }
    figures["spearman of both scores"] = mean_interval(rank_agreement(scores["before"], scores["after"]))
    return figures


def _scores(case: Case, texts: Any, targets: Any) -> Any:
    (method,) = available_methods(case.values["mask"], case.explainer, ["mhex_fitted"], seed=case.seed)
    return method.explain(texts, targets)


def main() -> None:
    parser = make_parser(__doc__, "data", "work", page=False, texts=100, shapley_texts=30, permutations=16)
    parser.add_argument("--again", type=Path, required=True, help="folder of the models fitted anew")
    args = parser.parse_args()
    be_quiet()
    report: dict[str, Any] = {"machine": machine(), "cases": {}}
    for data in settings.NAMES:
        before = Case(data, 0, args.data, args.work)
        after = fitted_again(before, args.again)
        figures = measure(before, after, args.texts, (args.shapley_texts, args.permutations))
        for name, case in (("before", before), ("after", after)):
            record = case.model.fit_record
            figures[name] |= {key: record[key] for key in RECORDED}
        report["cases"][before.name] = figures
        write_json(args.output, report)
        print(before.name, figures["after - before"], flush=True)


if __name__ == "__main__":
    main()
