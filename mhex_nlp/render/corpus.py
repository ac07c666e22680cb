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
    words = [word for each in summary["classes"].values() for side in ("for", "against") for word in each[side]]
    number = number_format(value for word in words for value in (word["sum"], word["mean"]))
    confusion = summary["confusion"]
    labels = list(summary["classes"])
    facts = [
        ("rows", f"{summary['rows']:,}"),
        ("explained", f"{summary['explained']:,}"),
        ("not explained", f"{summary['errors']:,}"),
        ("cut at the model's length", f"{summary['truncated']:,}"),
        ("read in windows", f"{summary['windowed']:,}"),
        ("of the scores on special tokens", percent(summary["share_on_special_tokens"])),
        ("on punctuation", percent(summary["share_on_punctuation"])),
    ]
    if summary["accuracy"] is not None:
        facts.append(("accuracy", f"{percent(summary['accuracy'])} of {summary['labelled']:,} with a label"))
    return fill_page(
        "summary.html.j2",
        "summary.css",
        title=title,
        facts=facts,
        classes=[
            {
                "label": label,
                "texts": f"{each['texts']:,}",
                "sides": [
                    (
                        side,
                        sign,
                        [(w["word"], f"{w['count']:,}", number(w["sum"]), number(w["mean"])) for w in each[side]],
                    )
                    for side, sign in (("for", "p"), ("against", "n"))
                ],
            }
            for label, each in summary["classes"].items()
        ],
        labels=labels,
        confusion=[
            (gold, [(f"{row.get(label, 0):,}", label == gold) for label in labels]) for gold, row in confusion.items()
        ],
        pages=[(name, Markup(quote(name))) for name in pages],
    )
