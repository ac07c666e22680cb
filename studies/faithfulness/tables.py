# SPDX-License-Identifier: Apache-2.0
"""The study's figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..common import cell, grid, span
from . import settings

MEASURED = ("comprehensiveness", "sufficiency")
SHORT = {"integrated_gradients": "integrated gradients", "mhex_fitted": "MHEX, fitted"}
TITLES = {
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
    "spearman": "Spearman to Shapley ↑",
    "auprc": "AUPRC ↑",
}


def render(report: dict[str, Any]) -> list[str]:
    """All tables there are figures for."""
    if not report["models"]:
        return ["No figures yet."]
    lines = [
        f"{report['model']} with heads; {report['machine']}. Made by `studies/faithfulness`. Means with 95 % "
        "bootstrap intervals over (text, seed) pairs, n of them; differences (Δ) are paired.",
        "",
        *_models(report["models"]),
    ]
    for title, body in _sections(report):
        lines += ["", f"### {title}", "", *body]
    return lines


def _sections(report: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for data, removals in report["A"].items():
        for removal, table in removals.items():
            how = {"mask": "by [MASK]", "deletion": "by deletion, on the same scores"}[removal]
            yield f"A. {settings.NAMES[data]}: top tokens removed {how}", _compared(table, MEASURED)
    for data, table in report["B"].items():
        yield f"B. {settings.NAMES[data]}: agreement with Shapley values", _table_b(table)
    if report["C"]:
        yield "C. Parameter randomisation", _table_c(report["C"])
    if report["D"]:
        yield "D. Plausibility: words of the Stanford Sentiment Treebank", _table_d(report["D"])
    if report["E"]:
        yield "E. Cost", _table_e(report["E"])


def _models(models: dict[str, Any]) -> list[str]:
    rows = []
    for name, figures in models.items():
        data, _, seed = name.rpartition("-")
        accuracy = f"{figures['accuracy']:.3f} (n = {figures['test_texts']:,})"
        fit = [span(figures["skill"], figures["skill_interval"]), f"{figures['fit_texts']:,}"]
        rows.append([settings.NAMES[data], seed, accuracy, *fit, f"{figures['fit_seconds']:.0f} s"])
    return grid(["data", "seed", "accuracy", "skill of the fit", "texts of the fit", "time of the fit"], rows)


def _compared(methods: dict[str, Any], names: Sequence[str], seconds: dict[str, float] | None = None) -> list[str]:
    """A row a method: each figure with its differences to the rivals, the pairs of text and seed."""
    deltas = [f"Δ to {SHORT[rival]}" for rival in settings.RIVALS]
    head = ["scores", *(title for name in names for title in (TITLES[name], *deltas))]
    rows = []
    for method, row in methods.items():
        cells = [settings.LABELS[method]]
        for name in names:
            cells += [cell(row[name]), *(cell(row.get(f"{name} - {rival}"), signed=True) for rival in settings.RIVALS)]
        cells += [] if seconds is None else [f"{seconds.get(method, 0):.3f}"]
        rows.append([*cells, f"{row[names[0]]['n']} (seeds {', '.join(map(str, row['seeds']))})"])
    return grid([*head, *([] if seconds is None else ["seconds a text"]), "n"], rows)


def _table_b(table: dict[str, Any]) -> list[str]:
    truth = table["reference"]
    return [
        f"Reference: Shapley values of the centred logit, {settings.PERMUTATIONS} antithetic permutations, seed "
        f"{table['seed']}, {truth['texts']} texts; split-half reliability {cell(truth['reliability'])}, by "
        f"Spearman-Brown {cell(truth['corrected'])}. Seconds a text are those of this run, on a machine that may "
        "have been shared.",
        "",
        *_compared(table["methods"], ("spearman", *MEASURED), table["seconds_per_text"]),
    ]


def _table_c(report: dict[str, Any]) -> list[str]:
    lines = [
        "Mean signed Spearman between the scores and those after one part was drawn anew, content tokens, the same "
        "class; interval over texts, in brackets the mean of each draw. Near 0 is what is wanted.",
        "",
    ]
    rows = []
    for data, methods in report.items():
        for method, parts in methods.items():
            cells = [settings.NAMES[data], settings.LABELS[method]]
            for figure in map(parts.get, settings.RANDOMISED):
                draws = "" if figure is None else f" ({', '.join(f'{value:+.2f}' for value in figure['each'])})"
                cells.append(cell(figure, signed=True) + draws)
            rows.append([*cells, str(max(figure["n"] for figure in parts.values()))])
    return [*lines, *grid(["data", "scores", *settings.RANDOMISED.values(), "n"], rows)]


def _table_d(table: dict[str, Any]) -> list[str]:
    share = "" if table["marked_share"] is None else f" They are {cell(table['marked_share'])} of the tokens."
    return [
        "AUPRC against the words that people, shown the word alone, put on the side of the sentence; sentences that "
        f"the SST-2 models classify as people do, scores for that class.{share}",
        "",
        *_compared(table["methods"], ("auprc",)),
    ]


def _table_e(report: dict[str, Any]) -> list[str]:
    rows = []
    for data, cost in report.items():
        plain, attributions, explainer = (
            f"{cost[f'{key}_ms']:.2f} ms" for key in ("plain", "attributions", "explainer")
        )
        ratio, count = span(cost["ratio"], cost["interval95"]), f"{cost['texts']} texts × {cost['rounds']} rounds"
        rows.append([settings.NAMES[data], plain, attributions, ratio, explainer, f"{cost['forward_passes']:g}", count])
    head = ["data", "plain forward, a text", "with attributions", "ratio", "whole explainer", "forward passes", "n"]
    return ["Medians of rounds in random order; the ratio's interval over rounds.", "", *grid(head, rows)]
