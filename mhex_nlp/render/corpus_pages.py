# SPDX-License-Identifier: Apache-2.0
"""Pages over a whole corpus: counts and words, a report's index with filters, and its lean pages of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from .controls import without_controls
from .errors import error_legend
from .highlight import highlight
from .html import fill_page, reading_of
from .judged import describe_fit, describe_judgement
from .summary import explained, model_name, number_format, percent, summarise


def render_summary(summary: Mapping[str, Any], pages: Sequence[str] = (), *, title: str = "Highlighted texts") -> str:
    """One page: counts, words for and against each class, errors against labels, links to the pages of texts.

    Args:
        summary: as in `summary.json` of a highlight job.
        pages: file names of pages beside it.
        title: of the page.
    """
    trust = describe_judgement(summary["judgement"]) if "judgement" in summary else ()
    view = _summary_view(summary)
    return fill_page("summary.html.j2", *_sheets(view), title=title, pages=addresses_beside(pages), trust=trust, **view)


def addresses_beside(names: Sequence[str]) -> list[tuple[str, Markup]]:
    """Names of files beside a page with their addresses. A name stays a name: it holds no scheme, host or folder."""
    return [(name, Markup(quote(name, safe="", errors="surrogatepass"))) for name in names]


def _summary_view(
    summary: Mapping[str, Any], cells: Mapping[Any, Any] | None = None, pages: Sequence[str] = ()
) -> dict[str, Any]:
    """What the templates show of a summary.

    `cells` are as `confusion_cells` makes them, `pages` those that `examples` of words number.
    """
    words = [word for sides in summary["classes"].values() for side in ("for", "against") for word in sides[side]]
    return {
        "facts": _facts(summary),
        "with_errors": any("error" in word for word in words),
        "classes": summary["classes"],
        "number": number_format(value for word in words for value in (word["sum"], word["mean"])),
        "confusion": ordered_confusion(summary),
        "cells": cells or {},
        "example_pages": pages,
    }


def ordered_confusion(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    """Rows in the order of the columns, so that right answers stand on the diagonal; then labels that no class has."""
    labels = list(summary["classes"])
    rows = summary["confusion"].items()
    return sorted(rows, key=lambda row: labels.index(row[0]) if row[0] in summary["classes"] else len(labels))


def _sheets(view: Mapping[str, Any]) -> tuple[str, ...]:
    return ("summary.css", "errors.css") if view["with_errors"] else ("summary.css",)


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "rows": "rows",
        "explained": "explained",
        "errors": "not explained",
        **({} if "rows" in summary else {"texts": "texts"}),
        "truncated": "cut at the model's length",
        "windowed": "read in windows",
    }
    facts = [(title, f"{summary[name]:,}") for name, title in names.items() if name in summary]
    facts += [
        ("of the scores on special tokens", percent(summary["share_on_special_tokens"])),
        ("on punctuation", percent(summary["share_on_punctuation"])),
    ]
    if summary["accuracy"] is not None:
        facts.append(("accuracy", f"{percent(summary['accuracy'])} of {summary['labelled']:,} with a label"))
    return facts


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
    passes: int = 1,
    judged: Mapping[str, Any] | None = None,
) -> str:
    """The index: readable and linked without its script, which filters and sorts the list of texts.

    (Long because of its many arguments.)

    Args:
        summary: as `CorpusSummary.report` makes it, each word with `examples`, (number, page) of texts.
        title: of the page.
        method, model: the JSON form of those of the explanations.
        groups: `gold`, `predicted`, `count` and `pages` of the texts with one answer.
        pages: names of all pages.
        rows: for each listed text [number, id, predicted, probability or value, gold, beginning, page, words]; where
            there are fewer of them than texts, the page says so.
        words: those that rows refer to by number, counted from 1, below 0 where they speak against the target.
        passes: of the model over each text.
        judged: what was measured of the scores on texts like these, in place of what the fit says of itself.
    """
    number_of = number_labels(summary, groups)
    complete = len(rows) == summary["texts"]
    # The script's list can show the texts of a cell only where it has all of them.
    cells = confusion_cells(groups, number_of if complete else None)
    told_apart = {} if judged is None and method["skill"] is None else dict.fromkeys(("skill", "absolute_skill", "r2"))
    addresses = [address_of(name) for name in pages]
    predicted, gold = ({row[column] for row in rows} for column in (2, 4))
    view = _summary_view(summary, cells, addresses)
    return fill_page(
        "report_index.html.j2",
        *_sheets(view),
        "report.css",
        script="report.js",
        title=title,
        about=explained({**method, **told_apart}, passes),
        trust=describe_fit(method) if judged is None else describe_judgement(judged),
        model=model_name(model),
        groups=[{**group, "pages": [address_of(name) for name in group["pages"]]} for group in groups],
        listed=None if complete else f"{len(rows):,}",
        golds=[(number, label) for label, number in number_of.items() if label in gold],
        predictions=[(number, label) for label, number in number_of.items() if label in predicted],
        data={
            "pages": addresses,
            "labels": [without_controls(label) for label in number_of],
            "words": [without_controls(word) for word in words],
            "rows": [script_row(row, number_of) for row in rows],
        },
        **view,
    )


def number_labels(summary: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Numbers for the script: any string may be a label, also "" and one that a form would change."""
    labels = list(summary["classes"])
    labels += sorted({group[name] for group in groups for name in ("gold", "predicted")} - {None, *labels})
    return {label: index for index, label in enumerate(labels)}


def confusion_cells(
    groups: Sequence[Mapping[str, Any]], number_of: Mapping[str, int] | None
) -> dict[tuple[str, str], tuple[str, tuple[int, int] | None]]:
    """Where the cells of the confusion table lead: a page, and with the script the list of texts."""
    return {
        (gold, predicted): (
            address_of(group["pages"][0]),
            (number_of[gold], number_of[predicted]) if number_of else None,
        )
        for group in groups
        if (gold := group["gold"]) is not None and (predicted := group["predicted"]) is not None
    }


def script_row(row: Sequence[Any], number_of: Mapping[str, int]) -> list[Any]:
    """A row of the list with the numbers of its labels."""
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
    scale: float | None = None,
) -> str:
    """Page `number`, from 1, of the texts of one answer; `previous` and `following` are the files of its neighbours.

    Each of `entries` has an `explanation` (JSON form), its `number` in the input and its `gold` label or `None`;
    `scale` is the |score| of full colour in all of them.
    """
    return fill_page(
        "report_page.html.j2",
        "report.css",
        title=title,
        cards=[_lean_card(entry, unit, scale) for entry in entries],
        of_errors=error_legend(entry["explanation"] for entry in entries),
        gold=gold,
        predicted=predicted,
        number=number,
        previous=previous,
        following=following,
        **reading_of([entry["explanation"] for entry in entries], scale),
    )


def _lean_card(entry: Mapping[str, Any], unit: str, scale: float | None) -> dict[str, Any]:
    explanation = entry["explanation"]
    drawn = highlight(explanation, unit=unit, scale=scale)
    return {
        "id": explanation["id"],
        "number": entry["number"],
        "lines": drawn.lines,
        "score": number_format(drawn.scores),
        "summary": summarise(explanation, drawn),
    }


def address_of(name: str) -> Markup:
    """The address of a file below the index."""
    return Markup(quote(name))
