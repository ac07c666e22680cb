# SPDX-License-Identifier: Apache-2.0
"""Figures of texts with places explained, and of what an answer rests on, as SVG, PDF or PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..context import count_parts, describe_budget, legend_of, read_context, shortened
from ..controls import without_controls
from ..errors import error_legend
from ..highlight import Highlight, Segment, texts_of
from ..positioned import Place, count_places, places_of
from ..summary import Summary
from .draw import STYLE, check_settings, saved


def render_positioned_figure(
    document: Mapping[str, Any],
    format: str,
    *,
    unit: str = "words",
    width: float = 5.5,
    font_size: float = 9.0,
    fonts: Sequence[str] = (),
    dpi: float = 300.0,
) -> bytes:
    """A figure of one text, which stands there once for each of its places, with the place framed.

    Arguments and errors are those of `render_figure`, and ValueError on a malformed document.
    """
    em = check_settings(format, width, font_size, dpi)
    places = places_of(document, unit)

    from matplotlib import style

    from .fonts import find_fonts
    from .sheet import MARGIN, Sheet

    words = [text for place in places for text in (place.where["label"], place.summary.target, place.summary.foil)]
    all_text = without_controls("".join([*texts_of(document), *filter(None, words)]))
    with style.context(["default", STYLE]):
        sheet = Sheet(width / em - 2 * MARGIN, em, find_fonts(all_text, fonts), outlines=format == "pdf")
        for number, place in enumerate(places):
            sheet.bottom += 0.9 * bool(number)
            sheet.head(_head(place))
            sheet.note(", ".join(f"{name} {value}" for name, value in place.sums.items()).replace("-", "\u2212"))
            sheet.bottom += 0.3
            sheet.text(place.drawn)
        if not places:
            sheet.head(_heading(count_places(document)))
            sheet.text(_plain(document))
        if legend := error_legend(document["explanations"]):
            sheet.note(f"{legend[0]}; dotted: {legend[1]}.")
        return saved(sheet, (), format, dpi)


def _head(place: Place) -> Summary:
    value = f"{place.where['label']} {place.probability}".rstrip()
    return replace(place.summary, answers=((place.where["text"], value),))


def _heading(text: str) -> Summary:
    return Summary(((text, ""),), (), None, None, "", (), (), "")


def _plain(document: Mapping[str, Any]) -> Highlight:
    lines = [(Segment(text, 0, len(text), None, 0),) if text else () for text in texts_of(document)]
    return Highlight(tuple(lines), 0.0, 0.0)


def render_context_figure(
    document: Mapping[str, Any],
    format: str,
    *,
    width: float = 5.5,
    font_size: float = 9.0,
    fonts: Sequence[str] = (),
    dpi: float = 300.0,
) -> bytes:
    """A figure of all scores: a row for each unit of the prompt, a column for each part of the answer.

    Each column has its own scale. Arguments and errors are those of `render_figure`, and ValueError on a malformed
    document.
    """
    em = check_settings(format, width, font_size, dpi)
    context = read_context(document)

    from matplotlib import style

    from .fonts import find_fonts
    from .matrix import MatrixSheet
    from .sheet import MARGIN

    parts = [shortened(span["text"]) for span in context.spans]
    units = [shortened(unit["text"]) for unit in context.units]
    with style.context(["default", STYLE]):
        found = find_fonts(without_controls("".join([*parts, *units])), fonts)
        sheet = MatrixSheet(width / em - 2 * MARGIN, em, found, outlines=format == "pdf")
        sheet.head(_heading(count_parts(document)))
        for number, part in enumerate(parts):
            sheet.note(f"A{number + 1}  {part}")
        rows = [(f"{number + 1}  {unit}", context.of_unit(number)) for number, unit in enumerate(units)]
        sheet.matrix([f"A{number + 1}" for number in range(len(parts))], rows)
        sheet.note(
            f"Solid: makes it more likely, wavy: less; each column has its own scale. {describe_budget(document)}"
        )
        if legend := legend_of(context):
            sheet.note(f"{legend[0]}; dotted: {legend[1]}.")
        return saved(sheet, (), format, dpi)
