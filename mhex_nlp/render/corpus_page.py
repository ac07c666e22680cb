# SPDX-License-Identifier: Apache-2.0
"""What a corpus says as a whole, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from .html import fill_page
from .summary import number_format, percent


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
        summary: `rows` and `errors` may be missing where there are none but the texts explained; words may have
            `examples`, (number, page) of texts.
        cells: of the texts with one label and prediction, the address, and what the page's script knows these two by.
        pages: addresses of the pages that examples stand on.
    """
    words = [word for each in summary["classes"].values() for side in ("for", "against") for word in each[side]]
    number = number_format(value for word in words for value in (word["sum"], word["mean"]))
    names = {
        "rows": "rows",
        "explained": "explained",
        "errors": "not explained",
        "texts": "texts",
        "truncated": "cut at the model's length",
        "windowed": "read in windows",
    }
    hidden = {"texts"} if "rows" in summary else set()
    facts = [(told, f"{summary[name]:,}") for name, told in names.items() if name in summary and name not in hidden]
    facts += [
        ("of the scores on special tokens", percent(summary["share_on_special_tokens"])),
        ("on punctuation", percent(summary["share_on_punctuation"])),
    ]
    if summary["accuracy"] is not None:
        facts.append(("accuracy", f"{percent(summary['accuracy'])} of {summary['labelled']:,} with a label"))

    def row(word: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "word": word["word"],
            "count": f"{word['count']:,}",
            "sum": number(word["sum"]),
            "mean": number(word["mean"]),
            "examples": [(each, pages[page]) for each, page in word.get("examples", ())],
        }

    labels = list(summary["classes"])
    place = {label: index for index, label in enumerate(labels)}
    # Rows in the order of the columns, so that right answers stand on the diagonal; then labels that no class has.
    confusion = sorted(summary["confusion"].items(), key=lambda row: place.get(row[0], len(labels)))
    return {
        "facts": facts,
        "classes": [
            {
                "label": label,
                "texts": f"{each['texts']:,}",
                "sides": [
                    (side, sign, [row(word) for word in each[side]]) for side, sign in (("for", "p"), ("against", "n"))
                ],
            }
            for label, each in summary["classes"].items()
        ],
        "columns": labels,
        "confusion": [
            (
                gold,
                [
                    (f"{counts.get(label, 0):,}", label == gold, *(cells or {}).get((gold, label), (None, None)))
                    for label in labels
                ],
            )
            for gold, counts in confusion
        ],
    }
