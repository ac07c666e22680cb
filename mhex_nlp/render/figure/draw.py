# SPDX-License-Identifier: Apache-2.0
"""Explanations as figures for papers: the highlighted text and its layer strip, as SVG, PDF or PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..controls import without_controls
from ..errors import error_legend
from ..highlight import depths_of, highlight, layer_sums, texts_of
from ..summary import Summary, summarise

if TYPE_CHECKING:
    from .sheet import Sheet

FORMATS = ("svg", "png", "pdf")
PARTS = ("auto", "text", "words", "layers", "both")
_WORDS = 10  # that have bars

_LEAST_WIDTH = 12.0  # em
_GAP, _STRIP = 0.6, 11.0  # em, of the bars with their axes
_LARGEST = {"png": 2**16 - 1, "pdf": 14_400}  # pixels that Agg draws, points that PDF readers show
STYLE = {"svg.fonttype": "path", "svg.hashsalt": "mhex", "pdf.fonttype": 42, "text.hinting": "no_hinting"}


def render_figure(
    explanation: Mapping[str, Any],
    format: str,
    *,
    unit: str = "words",
    scale: float | None = None,
    part: str = "auto",
    width: float = 5.5,
    font_size: float = 9.0,
    fonts: Sequence[str] = (),
    dpi: float = 300.0,
) -> bytes:
    """A figure of one explanation (JSON form) on white: the same bytes for the same explanation and fonts.

    Letters are outlines in SVG; in PDF they are text in embedded fonts, except where a script joins or stacks them.
    Signs show without colour: a solid line under what speaks for the target, a wavy one under what speaks against
    it. Special tokens and notes are not drawn. Where scores have errors, a dotted outline takes the place of the colour
    of a word whose sign is not settled. (Long because of its many arguments.)

    Args:
        explanation: in JSON form.
        format: "svg", "png" or "pdf".
        unit: "words" or "tokens".
        scale: the |score| of full colour; by default the text's own (`render/ink.py`).
        part: "text", "words" (bars of the strongest words, with their errors where they have some), "layers" (bars of
            the sums for and against at each depth), "both" (text and layers), or "auto": the text, and where scores
            have errors the words.
        width: in inches; lines are broken to fit, and the height follows.
        font_size: in points.
        fonts: installed families, the first choice first. DejaVu Sans follows, then whatever installed fonts
            the text needs beyond those.
        dpi: dots per inch of a PNG.

    Raises:
        TypeError: `fonts` is a string.
        ValueError: an unknown format, unit or part; a size that is not positive, or too small or large to draw;
            a font that is not installed; layers asked of an explanation without them; a malformed explanation.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}.")
    em = check_settings(format, width, font_size, dpi)
    drawn = highlight(explanation, unit=unit, scale=scale)
    sums = _sums_for(explanation, part)

    from matplotlib import style  # it and the modules that need it come with the first figure

    from .fonts import find_fonts
    from .sheet import MARGIN, Sheet

    summary = summarise(explanation, drawn)
    with style.context(["default", STYLE]):
        fonts_of_text = find_fonts(_all_text(explanation, summary), fonts)
        sheet = Sheet(width / em - 2 * MARGIN, em, fonts_of_text, outlines=format == "pdf")
        sheet.head(summary)
        legend = error_legend([explanation])
        if part not in ("layers", "words"):
            sheet.text(drawn)
        if part == "words" or (part == "auto" and legend):
            sheet.words(drawn.strongest(_WORDS))
        if legend and part != "layers":
            sheet.note(f"{legend[0]}; dotted: {legend[1]}.")
        return saved(sheet, sums, format, dpi, depths_of(explanation, len(sums)))


def check_settings(format: str, width: float, font_size: float, dpi: float) -> float:
    """The size of an em in inches."""
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}.")
    for name, value in (("width", width), ("font_size", font_size), ("dpi", dpi)):
        if not (isinstance(value, Real) and math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, got {value!r}.")
    em = font_size / 72
    if width < _LEAST_WIDTH * em:
        raise ValueError(
            f"width must be at least {_LEAST_WIDTH * em:.2f} inches at a font_size of {font_size:g}, got {width:g}."
        )
    return em


def _sums_for(explanation: Mapping[str, Any], part: str) -> list[tuple[float, float]]:
    if part not in ("layers", "both"):
        return []
    sums = layer_sums(explanation)
    if not sums:
        raise ValueError(
            f"part {part!r} needs scores per layer, which this explanation lacks: explain with layers=True."
        )
    return sums


def _all_text(explanation: Mapping[str, Any], summary: Summary) -> str:
    labels = [text for answer in summary.answers for text in answer]
    labels += [explanation["target"]["label"], summary.foil or ""]
    return without_controls("".join([*texts_of(explanation), *labels]))


def saved(
    sheet: Sheet, sums: Sequence[tuple[float, float]], format: str, dpi: float, depths: Sequence[int] = ()
) -> bytes:
    """The bytes of a figure; with `sums` of these `depths`, the layer strip is drawn under what there is."""
    top = sheet.bottom + _GAP
    if sums:
        sheet.bottom += _GAP + _STRIP
    width, height = sheet.size
    dots = {"png": dpi, "pdf": 72}
    if format in _LARGEST and max(width, height) * dots[format] > _LARGEST[format]:
        raise ValueError(
            f"the figure would be {width:.0f} by {height:.0f} inches, too large for {format.upper()}"
            f"{f' at a dpi of {dpi:g}' if format == 'png' else ''}: draw a shorter text, or SVG."
        )
    sheet.finish()
    if sums:
        sheet.bars(top, sums, depths)
    target = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format]
    sheet.figure.savefig(target, format=format, dpi=dpi if format == "png" else 72, metadata=metadata)
    return target.getvalue()
