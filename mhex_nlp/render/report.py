# SPDX-License-Identifier: Apache-2.0
"""The pages of a report: an index with filters, and pages of texts that are as small as they can be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from .corpus import summary_view
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
        rows: for each listed text [number, id, predicted, probability or value, gold, beginning, page, words].
        words: those that rows name by their places, counted from 1, below 0 where they speak against the target.
    """
    cells = {(group["gold"], group["predicted"]): _address(group["pages"][0]) for group in groups}
    view = summary_view(summary, cells, [_address(name) for name in pages])
    data = {"pages": pages, "words": words, "rows": rows}
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
        listed=f"{len(rows):,}",
        unlisted=f"{summary['texts'] - len(rows):,}" if len(rows) < summary["texts"] else None,
        labels=sorted({row[4] for row in rows if row[4] is not None}),
        predictions=sorted({row[2] for row in rows if row[2] is not None}),
        data=script_data(data),
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


def script_data(value: Any) -> Markup:
    """JSON that may stand in a script element: no character in it can end the element, or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _address(name: str) -> Markup:
    return Markup(quote(name))
