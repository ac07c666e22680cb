# SPDX-License-Identifier: Apache-2.0
"""Counts and words over a whole corpus, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from .html import fill_page
from .summary import number_format, percent

_SIGNS = {"for": "p", "against": "n"}  # of the words on each side of a class, as in the style sheet


def render_summary(summary: Mapping[str, Any], pages: Sequence[str] = (), *, title: str = "Highlighted texts") -> str:
    """One page: counts, words for and against each class, errors against labels, links to the pages of texts.

    Args:
        summary: as in `summary.json` of a highlight job.
        pages: file names of pages beside it.
        title: of the page.
    """
    # A name stays a name: no scheme, host or folder can be written into it.
    addresses = [(name, Markup(quote(name, safe="", errors="surrogatepass"))) for name in pages]
    return fill_page("summary.html.j2", "summary.css", title=title, pages=addresses, **summary_view(summary))


def summary_view(
    summary: Mapping[str, Any],
    cells: Mapping[tuple[str, str], tuple[str, tuple[int, int] | None]] | None = None,
    pages: Sequence[str] = (),
) -> dict[str, Any]:
    """What the templates show of a summary.

    Args:
        summary: as in `summary.json`, or without `rows` and `errors` where only explained texts are counted; words
            may have `examples`, (number, page) of texts.
        cells: by label and prediction, the address of such texts and the numbers of the two in the page's script.
        pages: addresses of the pages that examples stand on.
    """
    words = [word for sides in summary["classes"].values() for side in _SIGNS for word in sides[side]]
    number = number_format(value for word in words for value in (word["sum"], word["mean"]))

    def row(word: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "word": word["word"],
            "count": f"{word['count']:,}",
            "sum": number(word["sum"]),
            "mean": number(word["mean"]),
            "examples": [(text, pages[page]) for text, page in word.get("examples", ())],
        }

    return {
        "facts": _facts(summary),
        "classes": [
            {
                "label": label,
                "texts": f"{sides['texts']:,}",
                "sides": [(side, sign, [row(word) for word in sides[side]]) for side, sign in _SIGNS.items()],
            }
            for label, sides in summary["classes"].items()
        ],
        "columns": list(summary["classes"]),
        "confusion": _confusion(summary, cells or {}),
    }


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "rows": "rows",
        "explained": "explained",
        "errors": "not explained",
        "texts": "texts",
        "truncated": "cut at the model's length",
        "windowed": "read in windows",
    }
    if "rows" in summary:
        del names["texts"]
    facts = [(title, f"{summary[name]:,}") for name, title in names.items() if name in summary]
    facts += [
        ("of the scores on special tokens", percent(summary["share_on_special_tokens"])),
        ("on punctuation", percent(summary["share_on_punctuation"])),
    ]
    if summary["accuracy"] is not None:
        facts.append(("accuracy", f"{percent(summary['accuracy'])} of {summary['labelled']:,} with a label"))
    return facts


def _confusion(
    summary: Mapping[str, Any], cells: Mapping[tuple[str, str], tuple[str, tuple[int, int] | None]]
) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Rows in the order of the columns, so that right answers stand on the diagonal; then labels that no class has."""
    labels = list(summary["classes"])
    order = {label: index for index, label in enumerate(labels)}
    rows = sorted(summary["confusion"].items(), key=lambda row: order.get(row[0], len(labels)))
    return [
        (
            gold,
            [(f"{counts.get(label, 0):,}", label == gold, *cells.get((gold, label), (None, None))) for label in labels],
        )
        for gold, counts in rows
    ]
