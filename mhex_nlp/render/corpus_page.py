# SPDX-License-Identifier: Apache-2.0
"""Counts and words over a whole corpus, as one self-contained HTML page."""

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
    summary: Mapping[str, Any], cells: Mapping[Any, Any] | None = None, pages: Sequence[str] = ()
) -> dict[str, Any]:
    """What the templates show of a summary.

    Args:
        summary: as in `summary.json`, or without `rows` and `errors` where only explained texts are counted; words
            may have `examples`, (number, page) of texts.
        cells: by (label, prediction), the address of such texts and the numbers of the two in the page's script.
        pages: addresses of the pages that examples stand on.
    """
    labels = list(summary["classes"])
    words = [word for sides in summary["classes"].values() for side in ("for", "against") for word in sides[side]]
    return {
        "facts": _facts(summary),
        "classes": summary["classes"],
        "number": number_format(value for word in words for value in (word["sum"], word["mean"])),
        # In the order of the columns, so that right answers stand on the diagonal; then labels that no class has.
        "confusion": sorted(
            summary["confusion"].items(),
            key=lambda row: labels.index(row[0]) if row[0] in summary["classes"] else len(labels),
        ),
        "cells": cells or {},
        "example_pages": pages,
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
