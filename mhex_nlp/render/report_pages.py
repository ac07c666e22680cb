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
    """The index: it reads and links without its script, which filters and sorts the list of texts.

    Args:
        summary: as `CorpusSummary.report` makes it, each word with `examples`, (number, page) of texts.
        title: of the page.
        method: the JSON form of the explanations' method.
        model: that of their model.
        groups: `gold`, `predicted`, `count` and `pages` of the texts with one answer.
        pages: names of all pages.
        rows: for each listed text [number, id, predicted, probability or value, gold, beginning, page, words]; where
            there are fewer of them than texts, the page says so.
        words: those that rows name by their places, counted from 1, below 0 where they speak against the target.
    """
    # The script knows labels by their places: any string may be one, also "" and what a form would change.
    labels = list(summary["classes"])
    labels += sorted({group[name] for group in groups for name in ("gold", "predicted")} - {None, *labels})
    place = {label: index for index, label in enumerate(labels)}
    whole = len(rows) == summary["texts"]
    cells = {
        (group["gold"], group["predicted"]): (
            _address(group["pages"][0]),
            (place[group["gold"]], place[group["predicted"]]) if whole else None,  # else the list lacks some of them
        )
        for group in groups
        if group["gold"] is not None and group["predicted"] is not None
    }
    view = summary_view(summary, cells, [_address(name) for name in pages])
    data = {
        "pages": [_address(name) for name in pages],
        "labels": [without_controls(label) for label in labels],
        "words": [without_controls(word) for word in words],
        "rows": [
            [
                number,
                without_controls(id_),
                place.get(predicted),
                value,
                place.get(gold),
                without_controls(beginning),
                *rest,
            ]
            for number, id_, predicted, value, gold, beginning, *rest in rows
        ],
    }
    chosen = {name: {row[column] for row in rows} - {None} for name, column in (("predicted", 2), ("gold", 4))}
    return fill_page(
        "report_index.html.j2",
        "summary.css",
        "report.css",
        script="report.js",
        title=title,
        about=explained(method),
        model=model_name(model),
        groups=[
            {
                "gold": group["gold"],
                "predicted": group["predicted"],
                "count": f"{group['count']:,}",
                "pages": [_address(name) for name in group["pages"]],
            }
            for group in groups
        ],
        listed=None if whole else f"{len(rows):,}",
        golds=[(place[label], label) for label in labels if label in chosen["gold"]],
        predictions=[(place[label], label) for label in labels if label in chosen["predicted"]],
        data=data,
        **view,
    )


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
    number = number_format(segment.score for line in drawn.lines for segment in line if segment.score is not None)
    return {
        "id": explanation["id"],
        "number": entry["number"],
        "lines": drawn.lines,
        "score": number,
        "summary": summarise(explanation, drawn.special_share, drawn.hidden_share),
        "target": explanation["target"]["label"],
    }


def _address(name: str) -> Markup:
    return Markup(quote(name))
