# SPDX-License-Identifier: Apache-2.0
"""Tables of the study: means over places, with intervals by bootstrap over texts (places of one text go together)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mhex_nlp.explain.bootstrap import percentile_interval

from ..common import DIGITS, DRAWS, grid, span

RIVAL = "integrated_gradients-50"
MEASURES = ("comprehensiveness", "sufficiency", "spearman")
NAMES = {
    "shapley": "Shapley values (reference)",
    "mhex-0": "**ours, one pass**",
    "mhex-8": "**ours, 8 further passes**",
    "mhex-16": "**ours, 16 further passes**",
    "mhex-32": "**ours, 32 further passes**",
    "integrated_gradients-50": "integrated gradients, 50 steps",
    "integrated_gradients-20": "integrated gradients, 20 steps",
    "leave_one_out": "leave one out",
    "gradient_norm": "gradient norm",
    "rollout": "attention rollout",
    "random": "random",
}
PASSES = {
    "mhex-0": "1 for all places of a text",
    "mhex-8": "9",
    "mhex-16": "17",
    "mhex-32": "33",
    "integrated_gradients-50": "50 + 50 backward",
    "integrated_gradients-20": "20 + 20 backward",
    "leave_one_out": "n",
    "gradient_norm": "1 + 1 backward",
    "rollout": "1",
    "random": "0",
}


def table_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of each method with intervals, and of each of ours less the rival."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row["seed"], row["text"]), []).append(index)
    generator, texts = np.random.default_rng(0), list(groups.values())
    draws = [np.concatenate([texts[i] for i in generator.integers(len(texts), size=len(texts))]) for _ in range(DRAWS)]

    def figure(values: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean) -> dict[str, Any]:
        ends = percentile_interval(np.asarray([statistic(values[draw]) for draw in draws]))
        return {"mean": round(float(statistic(values)), DIGITS), "interval95": [round(end, DIGITS) for end in ends]}

    def column(method: str, measure: str) -> np.ndarray:
        return np.asarray([row["figures"][method][measure] for row in rows])

    even = column("shapley", "even")
    methods = {}
    for name in rows[0]["figures"]:
        methods[name] = {measure: figure(column(name, measure)) for measure in MEASURES}
        pairs = np.stack([column(name, "missed"), even], axis=1)
        methods[name]["paired_skill"] = figure(pairs, lambda chosen: 1 - chosen[:, 0].sum() / chosen[:, 1].sum())
        if name != RIVAL:
            methods[name]["less_rival"] = {
                measure: figure(column(name, measure) - column(RIVAL, measure)) for measure in MEASURES
            }
    return {
        "places": len(rows),
        "texts": len(texts),
        "tokens": round(float(column("shapley", "tokens").mean()), 1),
        "reliability": round(float(column("shapley", "reliability").mean()), 3),
        "methods": methods,
    }


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The tables in Markdown."""
    lines = []
    for task, table in report["tasks"].items():
        known = "; ".join(
            f"seed {model['seed']}: F1 {model['f1']:.3f}, fit of {model['fit']['texts']:,} texts, skill on other "
            "tokens "
            f"{span(model['fit']['skill'], model['fit']['skill_interval'], 2)}"
            for model in table["models"]
        )
        lines += [
            f"### {task.capitalize()}",
            "",
            f"{table['places']} places in {table['texts']} texts, {table['tokens']:.0f} other tokens in the mean; "
            f"reliability of the reference {table['reliability']:.3f}. {known}. {table['machine']}.",
            "",
        ]
        head = ["", "passes", "comprehensiveness ↑", "sufficiency ↓", "Spearman ↑", "paired skill ↑"]
        body = []
        for name, title in NAMES.items():
            figures = table["methods"].get(name)
            if figures is None:
                continue
            skilled = name.startswith(("mhex", "shapley", "integrated", "leave"))
            cells = [_cell(figures[measure]) for measure in MEASURES]
            passes = PASSES.get(name, f"{table['permutations']} n")
            body.append([title, passes, *cells, _cell(figures["paired_skill"]) if skilled else "–"])
        lines += [*grid(head, body), "", "Less integrated gradients of 50 steps, paired:", ""]
        lines += grid(
            ["", *head[2:5]],
            [
                [NAMES[name], *(_cell(figures["less_rival"][measure], signed=True) for measure in MEASURES)]
                for name, figures in table["methods"].items()
                if name.startswith("mhex") or name == "rollout"
            ],
        )
        lines.append("")
    return lines


def _cell(figure: Mapping[str, Any], signed: bool = False) -> str:
    return span(figure["mean"], figure["interval95"], signed=signed)
