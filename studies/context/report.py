# SPDX-License-Identifier: Apache-2.0
"""The figures as JSON and as tables of the page.

Axes: B texts.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common import cell, grid, machine, mean_interval, write_json, write_page
from .data import NEW_TOKENS, SENTENCES, SETS, WORDS, tables
from .measuring import by_text
from .methods import BUDGETS, METHODS, VARIANTS

FIGURES = {
    "lds": "LDS",
    "top1": "top-1 drop",
    "top3": "top-3 drop",
    "top5": "top-5 drop",
    "shapley": "Spearman to Shapley",
    "covered": "within 2 errors",
}
TITLES = {
    "squad": f"SQuAD paragraphs of {SENTENCES} sentences and a question, {NEW_TOKENS} tokens of the model's answer",
    "facts": f"facts of {WORDS[0]} or {WORDS[1]} words, the fact itself as the continuation",
}
Texts = Sequence[Mapping[str, Mapping[str, float]]]


def keep_cost(work: Path, figures: Mapping[str, float]) -> None:
    """Keeps what was timed beside the texts."""
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / "cost.json", figures)


def write(args: Namespace) -> None:
    """Tables of all texts that are there."""
    sets = {name: found for name in SETS if (found := tables(args.work, name))}
    results = {name: by_text(found, METHODS, args.seeds) for name, found in sets.items()}
    variants = {name: by_text(found, VARIANTS, args.seeds) for name, found in sets.items()}
    timed = args.work / "cost.json"
    cost = json.loads(timed.read_text("utf-8")) if timed.exists() else None
    write_json(
        args.output,
        {
            "model": "SmolLM2-135M-Instruct (Q4_1 weights made float32)",
            "machine": machine(),
            "seeds": args.seeds,
            "sets": {
                name: {
                    "texts": len(texts),
                    "methods": _means(texts),
                    "differences": _differences(texts),
                    "variants": _means(variants[name]),
                }
                for name, texts in results.items()
            },
            "cost": cost,
        },
    )
    lines = [f"SmolLM2-135M-Instruct, {machine()}, means over {args.seeds} seeds; brackets: 95 % over texts."]
    for name, texts in results.items():
        lines += ["", f"### {TITLES[name]} (n = {len(texts)})", "", *_table(_means(texts), METHODS)]
        rows = [
            [key, *(cell(figure, signed=True) for figure in row.values())] for key, row in _differences(texts).items()
        ]
        lines += ["", *grid(["paired difference", *list(FIGURES.values())[:5]], rows)]
        lines += ["", "What else was tried, as many ablations:", "", *_table(_means(variants[name]), VARIANTS)]
    if cost is not None:
        lines += [
            "",
            f"32 ablations of a context of 1,000 tokens in 40 units: {cost['ours']:.0f} CPU seconds, "
            f"{cost['ratio']:.2f} of 32 plain passes without a cache ({cost['plain']:.0f}); no log-probability "
            f"differs by more than {cost['largest_difference']:.0e}.",
        ]
    write_page(args.page, lines)


def _values(texts: Texts, key: str, figure: str) -> np.ndarray | None:
    """(B,), `None` where a method has none."""
    found = [text[key][figure] for text in texts if figure in text.get(key, {})]
    return np.array(found) if len(found) == len(texts) else None


def _means(texts: Texts) -> dict[str, dict[str, Any]]:
    return {
        key: {name: mean_interval(v) for name in FIGURES if (v := _values(texts, key, name)) is not None}
        for key in texts[0]
    }


def _differences(texts: Texts) -> dict[str, dict[str, Any]]:
    """Ours less others at as many ablations, text by text; and with 16 less LASSO with 32."""
    pairs = [(budget, other, budget) for budget in BUDGETS[1:] for other in ("LASSO", "leave one out")]
    rows: dict[str, dict[str, Any]] = {}
    for budget, other, theirs in [*pairs, (16, "LASSO", 32)]:
        row = rows.setdefault(f"ours, {budget} − {other}, {theirs}", {})
        for name in list(FIGURES)[:5]:
            one, two = _values(texts, f"ours|{budget}", name), _values(texts, f"{other}|{theirs}", name)
            row[name] = None if one is None or two is None else mean_interval(one - two)
    return rows


def _table(means: Mapping[str, Mapping[str, Any]], methods: Mapping[str, Any]) -> list[str]:
    rows = []
    for name in methods:
        for budget in BUDGETS:
            if figures := means.get(f"{name}|{budget}"):
                title = "attention (ours, 0)" if (name, budget) == ("ours", 0) else name
                rows.append([title, str(budget), *(cell(figures.get(figure)) for figure in FIGURES)])
    return grid(["method", "ablations", *FIGURES.values()], rows)
