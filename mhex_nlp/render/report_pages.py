# SPDX-License-Identifier: Apache-2.0
"""The pages of a report: an index with filters, and pages of texts that are as small as they can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from .controls import without_controls
from .corpus_page import summary_view
from .highlight import highlight
from .html import fill_page
from .summary import explained, model_name, number_format, summarise


def render_report_index(
    summary: Mapping[str, Any],
    *,
    title: str,
    method: Mapping[str, Any],
    model: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
    pages: Sequence[str],
    rows: Sequence[Sequence[Any]],
    words: Sequence[str],
) -> str:
    """The index: readable and linked without its script, which filters and sorts the list of texts.

    Args:
        summary: as `CorpusSummary.report` makes it, each word with `examples`, (number, page) of texts.
        title: of the page.
        method: the JSON form of the explanations' method.
        model: that of their model.
        groups: `gold`, `predicted`, `count` and `pages` of the texts with one answer.
        pages: names of all pages.
        rows: for each listed text [number, id, predicted, probability or value, gold, beginning, page, words]; where
            there are fewer of them than texts, the page says so.
        words: those that rows refer to by number, counted from 1, below 0 where they speak against the target.
    """
    number_of = _number_labels(summary, groups)
    complete = len(rows) == summary["texts"]
    # The script's list can show the texts of a cell only where it has all of them.
    cells = _cells(groups, number_of if complete else None)
    addresses = [_address(name) for name in pages]
    predicted, gold = ({row[column] for row in rows} for column in (2, 4))
    return fill_page(
        "report_index.html.j2",
        "summary.css",
        "report.css",
        script="report.js",
        title=title,
        about=explained(method),
        model=model_name(model),
        groups=[{**group, "pages": [_address(name) for name in group["pages"]]} for group in groups],
        listed=None if complete else f"{len(rows):,}",
        golds=[(number, label) for label, number in number_of.items() if label in gold],
        predictions=[(number, label) for label, number in number_of.items() if label in predicted],
        data={
            "pages": addresses,
            "labels": [without_controls(label) for label in number_of],
            "words": [without_controls(word) for word in words],
            "rows": [_script_row(row, number_of) for row in rows],
        },
        **summary_view(summary, cells, addresses),
    )


def _number_labels(summary: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Numbers for the script: any string may be a label, also "" and one that a form would change."""
    labels = list(summary["classes"])
    labels += sorted({group[name] for group in groups for name in ("gold", "predicted")} - {None, *labels})
    return {label: index for index, label in enumerate(labels)}


def _cells(
    groups: Sequence[Mapping[str, Any]], number_of: Mapping[str, int] | None
) -> dict[tuple[str, str], tuple[str, tuple[int, int] | None]]:
    """Where the cells of the confusion table lead: a page, and with the script the list of texts."""
    return {
        (gold, predicted): (_address(page), (number_of[gold], number_of[predicted]) if number_of else None)
        for gold, predicted, page in ((group["gold"], group["predicted"], group["pages"][0]) for group in groups)
        if gold is not None and predicted is not None
    }


def _script_row(row: Sequence[Any], number_of: Mapping[str, int]) -> list[Any]:
    number, id_, predicted, value, gold, beginning, *rest = row
    labels = number_of.get(predicted), number_of.get(gold)
    return [number, without_controls(id_), labels[0], value, labels[1], without_controls(beginning), *rest]


def render_report_page(
    entries: Sequence[Mapping[str, Any]],
    *,
    title: str,
    gold: str | None,
    predicted: str | None,
    number: int,
    previous: str | None,
    following: str | None,
    unit: str = "words",
) -> str:
    """A page of texts with one answer.

    Args:
        entries: `explanation` (JSON form), `number` in the input, `gold` label or `None`.
        title: of the report.
        gold: the label of all of them, where it is known.
        predicted: what the model predicts for all of them.
        number: of the page among those of its group, from 1.
        previous: the file name of the page before.
        following: that of the page after.
        unit: "words" or "tokens".
    """
    return fill_page(
        "report_page.html.j2",
        "report.css",
        title=title,
        cards=[_lean_card(entry, unit) for entry in entries],
        gold=gold,
        predicted=predicted,
        number=number,
        previous=previous,
        following=following,
    )


def _lean_card(entry: Mapping[str, Any], unit: str) -> dict[str, Any]:
    explanation = entry["explanation"]
    drawn = highlight(explanation, unit=unit)
    return {
        "id": explanation["id"],
        "number": entry["number"],
        "lines": drawn.lines,
        "score": number_format(drawn.scores),
        "summary": summarise(explanation, drawn),
    }


def _address(name: str) -> Markup:
    return Markup(quote(name))
