# SPDX-License-Identifier: Apache-2.0
"""Entities and answers: one forward pass, and a budget, against gradients, attention and leave one out.

    python -m studies.positions --data DATA --work WORK --output docs/results/positions.json --page docs/positions.md

Trains and fits what is not in the work folder yet; the figures of each place are kept there, so that a run that was
stopped goes on. Tasks that are not measured keep the figures that the output has of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp import MhexAnswerExplainer, MhexEntityExplainer

from ..common import be_quiet, machine, make_parser, write_json, write_page
from .measuring import BUDGETS, METHODS, PERMUTATIONS, answer_places, entity_places, measure
from .models import answer_parts, entity_parts, prepared
from .report import report_lines, table_of

TASKS = ("entities", "answers")


def main() -> None:
    parser = make_parser(__doc__, "data", "work", places=100, seeds="0", tasks=",".join(TASKS))
    options = parser.parse_args()
    be_quiet()
    earlier = json.loads(options.output.read_text("utf-8"))["tasks"] if options.output.is_file() else {}
    report: dict[str, Any] = {"tasks": earlier}
    for task in options.tasks.split(","):
        rows, models = [], []
        for seed in map(int, options.seeds.split(",")):
            model, tokenizer, known = prepared(task, seed, options.data, options.work)
            models.append({"seed": seed, **known})
            rows += _measured(task, seed, model, tokenizer, options)
            known_of_all = {"machine": machine(), "models": models, "permutations": PERMUTATIONS[task]}
            report["tasks"][task] = {**known_of_all, **table_of(rows)}
            write_json(options.output, report)
    write_page(options.page, report_lines(report))


def _measured(task: str, seed: int, model: Any, tokenizer: Any, options: Any) -> list[dict[str, Any]]:
    """The figures of each place of a seed, those on disk first."""
    path = options.work / f"{task}-{seed}" / "places.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines][: options.places]
    if len(rows) == options.places:
        return rows
    names = [*(f"mhex-{budget}" for budget in BUDGETS), *METHODS]
    order = np.random.default_rng(seed)
    places: Any
    if task == "entities":
        texts = entity_parts(options.data)[3]
        texts = [texts[index] for index in order.permutation(len(texts))]
        places = entity_places(model, tokenizer, MhexEntityExplainer(model, tokenizer), texts, options.places)
    else:
        held = answer_parts(options.data)[1]
        questions = [(held[index].question, held[index].context) for index in order.permutation(len(held))]
        places = answer_places(model, tokenizer, MhexAnswerExplainer(model, tokenizer), questions, options.places)
    with Path(path).open("a", encoding="utf-8") as file:
        for number, place in enumerate(places):
            if number < len(rows):
                continue
            row = {"seed": seed, "text": place.text, "figures": measure(place, names, number, PERMUTATIONS[task])}
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            if number % 10 == 9:
                print(f"{task}-{seed}: {number + 1} places", flush=True)
    return rows


if __name__ == "__main__":
    main()
