# SPDX-License-Identifier: Apache-2.0
"""Explanations as figures for papers: the highlighted text and its layer strip, as SVG, PDF or PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import regex  # type: ignore[import-untyped, unused-ignore]

from ..controls import BREAKS, without_controls
from ..highlight import LEVELS, Highlight, Segment, highlight, layer_sums, texts_of
from ..palette import level_name, light_palette
from ..summary import Summary, summarise
from .fonts import Fonts, find_fonts
from .layout import Box, Line, set_lines

FORMATS = ("svg", "png", "pdf")
PARTS = ("text", "layers", "both")

# All in em, the size of the text.
_MARGIN = 0.25
_LEAST_WIDTH = 12.0
_SMALL = 0.82  # of the text's size: legend, axes
_HEAD = 1.5  # from one line to the next
_LEADING = 1.78
_ASCENT, _DESCENT = 0.98, 0.40  # of a box, from the baseline
_UNDERLINE, _RULE, _WAVE, _PERIOD = 0.285, 0.065, 0.055, 0.3
_WEAK = 3  # up to this level the line is as pale as on the page
_CELL = 0.5  # a level of the legend, at most
_NAMED_DEPTHS = 16
_STRIP = 11.0  # height of the bars with their axes

# matplotlib 3.11 writes glyphs into a PDF by their own widths, which shaping overrules in these.
_SHAPED = regex.compile(r"[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}\p{bc=R}\p{bc=AL}]").search

_LARGEST = {"png": 2**16 - 1, "pdf": 14_400}  # pixels that Agg draws, points that PDF readers show


def render_figure(
    explanation: Mapping[str, Any],
    format: str,
    *,
    unit: str = "words",
    part: str = "text",
    width: float = 5.5,
    font_size: float = 9.0,
    fonts: Sequence[str] = (),
    dpi: float = 300.0,
) -> bytes:
    """A figure of one explanation (JSON form) on white: the same bytes for the same explanation and fonts.

    Letters are outlines in SVG; in PDF they are text in embedded fonts, except where a script joins or stacks them.
    Signs show without colour: a solid line under what speaks for the target, a wavy one under what speaks against
    it. Special tokens and notes are not drawn.

    Args:
        explanation: in JSON form.
        format: "svg", "png" or "pdf".
        unit: "words" or "tokens".
        part: "text", "layers" (bars of the sums for and against at each depth) or "both".
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
    em = _check_settings(format, part, width, font_size, dpi)
    drawn = highlight(explanation, unit=unit)
    sums = layer_sums(explanation) if part != "text" else []
    if part != "text" and not sums:
        raise ValueError(
            f"part {part!r} needs scores per layer, which this explanation lacks: explain with layers=True."
        )

    from matplotlib import style

    summary = summarise(explanation, drawn)
    settings = {"svg.fonttype": "path", "svg.hashsalt": "mhex", "pdf.fonttype": 42, "text.hinting": "no_hinting"}
    with style.context(["default", settings]):
        sheet = _Sheet(width / em - 2 * _MARGIN, find_fonts(_all_text(explanation, summary), fonts))
        sheet.head(summary)
        if part != "layers":
            sheet.text(drawn)
        if part != "text":
            sheet.strip(sums)
        return _saved(sheet, em, format, dpi)


def _check_settings(format: str, part: str, width: float, font_size: float, dpi: float) -> float:
    """The size of an em in inches."""
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}.")
    if part not in PARTS:
        raise ValueError(f"part must be 'text', 'layers' or 'both', got {part!r}.")
    for name, value in (("width", width), ("font_size", font_size), ("dpi", dpi)):
        if not (isinstance(value, Real) and math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, got {value!r}.")
    em = font_size / 72
    if width < _LEAST_WIDTH * em:
        raise ValueError(
            f"width must be at least {_LEAST_WIDTH * em:.2f} inches at a font_size of {font_size:g}, got {width:g}."
        )
    return em


class _Sheet:
    """What is to be drawn, from top to bottom, in em; y grows downwards from the top edge."""

    def __init__(self, width: float, fonts: Fonts) -> None:
        self.width, self.fonts, self.bottom = width, fonts, 0.0
        self.strings: list[tuple[float, float, str, float, bool, str]] = []  # x, y, text, size, bold, colour
        self.boxes: list[tuple[float, float, float, float, str]] = []  # left, top, width, height, colour
        self.rules: list[tuple[float, float, float, str, str]] = []  # left, right, y, style, colour
        self.bars: tuple[float, list[tuple[float, float]]] | None = None  # top, sums for and against
        self.colours = light_palette()

    def head(self, summary: Summary) -> None:
        """The prediction, and the target where it is another class or has a foil."""
        # Text, whether it is a label and so bold, its colour, the room before it.
        items: list[tuple[str, bool, str, float]] = []
        for label, value in summary.answers:
            items += [(label, True, "fg", 1.0), (value, False, "fg", 0.4)]
        if summary.target or summary.foil:
            items += [("scores for", False, "mute", 1.2), (summary.target or "", True, "mute", 0.35)]
        if summary.foil:
            items += [("rather than", False, "mute", 0.35), (summary.foil, True, "mute", 0.35)]
        at, baseline = 0.0, 1.0
        for text, bold, colour, room in items:
            if not text:
                continue
            # A label never breaks the line by itself.
            segments = [Segment(BREAKS.sub(" ", text), 0, len(text), None, 0)]
            for number, line in enumerate(self._lines(segments, bold)):
                start = min((piece.left for piece in line.pieces), default=0.0)
                end = max((p.left + self.fonts.width(p.text, bold) for p in line.pieces), default=0.0)
                if number or (at and at + room + end - start > self.width):
                    at, baseline = 0.0, baseline + _HEAD
                at += room if at else 0.0
                for piece in line.pieces:
                    self._string(at + piece.left - start, baseline, piece.text, bold=bold, colour=colour)
                at += end - start
        self.bottom = baseline + 0.55

    def text(self, drawn: Highlight) -> None:
        """The text or the two of a pair, and the scale of their colours."""
        for number, segments in enumerate(drawn.lines):
            if number:
                self.rules.append((0.0, self.width, self.bottom + 0.3, "hair", self.colours["line"]))
                self.bottom += 0.6
            if segments:
                self._text(self._lines(segments, False))
            else:
                self._string(0.0, self.bottom + 1.2, "(no text)", colour="mute")
                self.bottom += _LEADING
        if any(drawn.scores):
            self._legend(max(map(abs, drawn.scores)))

    def strip(self, sums: list[tuple[float, float]]) -> None:
        """One bar up and one down at each depth."""
        self.bars = (self.bottom + 0.6, sums)
        self.bottom += 0.6 + _STRIP

    def _lines(self, segments: Sequence[Segment], bold: bool) -> list[Line]:
        return set_lines(segments, self.width, lambda text: self.fonts.width(text, bold), self.fonts.drawable)

    def _string(self, x: float, y: float, text: str, size: float = 1.0, bold: bool = False, colour: str = "fg") -> None:
        self.strings.append((x, y, text, size, bold, self.colours[colour]))

    def _text(self, lines: Iterable[Line]) -> None:
        for line in lines:
            baseline = self.bottom + _ASCENT + 0.5 * (_LEADING - _ASCENT - _DESCENT)
            for piece in line.pieces:
                self._string(piece.left, baseline, piece.text)
            for box in line.boxes:
                self._box(box, baseline)
            self.bottom += _LEADING

    def _box(self, box: Box, baseline: float) -> None:
        height = _ASCENT + _DESCENT
        colour = self.colours[level_name(box.level)]
        self.boxes.append((box.left, baseline - _ASCENT, box.right - box.left, height, colour))
        self._sign(box.left, box.right, baseline + _UNDERLINE, box.level)

    def _sign(self, left: float, right: float, y: float, level: int) -> None:
        name = "for" if level > 0 else "against"
        colour = self.colours[level_name(int(math.copysign(LEVELS, level))) if abs(level) <= _WEAK else name]
        inset = min(0.06, (right - left) / 6)
        self.rules.append((left + inset, right - inset, y, "solid" if level > 0 else "wave", colour))

    def _legend(self, largest: float) -> None:
        """against, its strongest score, the levels, the strongest score for, for; as wide as there is room."""
        left, right = f"against \u2212{largest:.2g}", f"+{largest:.2g} for"
        before, after = (_SMALL * self.fonts.width(text) + 0.4 for text in (left, right))
        cell = max(0.05, min(_CELL, (self.width - before - after) / (2 * LEVELS)))
        top = self.bottom + 0.55
        baseline = top + 0.74
        self._string(0.0, baseline, left, _SMALL, colour="mute")
        for level in (*range(-LEVELS, 0), *range(1, LEVELS + 1)):
            x = before + cell * (level + LEVELS - (level > 0))
            # Each a little over its right neighbour's edge: no seam shows between them.
            self.boxes.append((x, top, cell + 0.01, 0.95, self.colours[level_name(level)]))
        middle, end = before + cell * LEVELS, before + cell * 2 * LEVELS
        self._sign(before, middle - 0.1, top + 0.75, -LEVELS)
        self._sign(middle + 0.1, end, top + 0.75, LEVELS)
        self._string(end + 0.4, baseline, right, _SMALL, colour="mute")
        self.bottom = top + 1.1


def _all_text(explanation: Mapping[str, Any], summary: Summary) -> str:
    labels = [text for answer in summary.answers for text in answer]
    labels += [explanation["target"]["label"], summary.foil or ""]
    return without_controls("".join([*texts_of(explanation), *labels]))


def _saved(sheet: _Sheet, em: float, format: str, dpi: float) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import Affine2D

    size = (sheet.width + 2 * _MARGIN) * em, (sheet.bottom + 2 * _MARGIN) * em
    dots = {"png": dpi, "pdf": 72}
    if format in _LARGEST and max(size) * dots[format] > _LARGEST[format]:
        raise ValueError(
            f"the figure would be {size[0]:.0f} by {size[1]:.0f} inches, too large for {format.upper()}"
            f"{f' at a dpi of {dpi:g}' if format == 'png' else ''}: draw a shorter text, or SVG."
        )
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    place = Affine2D().translate(_MARGIN, -_MARGIN).scale(em).translate(0, size[1]) + figure.dpi_scale_trans
    _draw(figure, sheet, place, em, outlines=format == "pdf")
    if sheet.bars is not None:
        _bars(figure, sheet, *sheet.bars, em)
    target = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format]
    figure.savefig(target, format=format, dpi=dpi if format == "png" else 72, metadata=metadata)
    return target.getvalue()


def _draw(figure: Any, sheet: _Sheet, place: Any, em: float, outlines: bool) -> None:
    from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle

    for left, top, width, height, colour in sheet.boxes:
        corner = (left, -top - height)
        if height < 1:  # of the legend
            shape: Any = Rectangle(corner, width, height)
        else:
            shape = FancyBboxPatch(corner, width, height, boxstyle=f"round,pad=0,rounding_size={min(0.2, width / 3)}")
        shape.set(facecolor=colour, edgecolor="none", linewidth=0, transform=place, zorder=1)
        figure.add_artist(shape)
    points = em * 72
    for left, right, y, kind, colour in sheet.rules:
        path = _wave(left, right, -y) if kind == "wave" else _straight(left, right, -y)
        rule = PathPatch(path, fill=False, edgecolor=colour, capstyle="butt" if kind == "solid" else "round")
        rule.set(linewidth=_RULE * points * (0.8 if kind == "hair" else 1), transform=place, zorder=2, snap=False)
        figure.add_artist(rule)
    for x, y, text, size, bold, colour in sheet.strings:
        properties = sheet.fonts.properties(size * points, text, bold)
        if outlines and _SHAPED(text):
            letters = PathPatch(_outline(text, properties, x, -y, size), facecolor=colour, linewidth=0)
            letters.set(transform=place, zorder=3)
            figure.add_artist(letters)
            continue
        figure.text(
            x, -y, text, color=colour, fontproperties=properties, transform=place, zorder=3, parse_math=False,
            ha="left", va="baseline",
        )  # fmt: skip


def _outline(text: str, properties: Any, x: float, y: float, size: float) -> Any:
    from matplotlib.path import Path
    from matplotlib.textpath import text_to_path

    vertices, codes = text_to_path.get_text_path(properties, text, ismath=False)
    if not len(codes):
        return Path([(x, y)])
    scale = size / text_to_path.FONT_SCALE
    return Path([(x + scale * across, y + scale * up) for across, up in vertices], codes)


def _straight(left: float, right: float, y: float) -> Any:
    from matplotlib.path import Path

    return Path([(left, y), (right, y)], [Path.MOVETO, Path.LINETO])


def _wave(left: float, right: float, y: float) -> Any:
    """Half periods as parabolas, a whole number of them, so that every word's line begins and ends at `y`."""
    from matplotlib.path import Path

    halves = max(2, round(2 * (right - left) / _PERIOD))
    step = (right - left) / halves
    vertices, codes = [(left, y)], [Path.MOVETO]
    for half in range(halves):
        side = 2 * _WAVE * (-1) ** half
        vertices += [(left + (half + 0.5) * step, y + side), (left + (half + 1) * step, y)]
        codes += [Path.CURVE3, Path.CURVE3]
    return Path(vertices, codes)


def _bars(figure: Any, sheet: _Sheet, top: float, sums: list[tuple[float, float]], em: float) -> None:
    from matplotlib.ticker import MaxNLocator

    points, colours = em * 72, sheet.colours
    wide, high = figure.get_size_inches()
    whole = sheet.width + 2 * _MARGIN
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    depths = range(1, len(sums) + 1)
    axes.bar(depths, [up for up, _ in sums], 0.62, color=colours["for"], label="for")
    axes.bar(depths, [down for _, down in sums], 0.62, color=colours["against"], label="against")
    axes.axhline(0, color=colours["mute"], linewidth=0.08 * points)
    axes.set_xlim(0.4, len(sums) + 0.6)
    if len(sums) <= _NAMED_DEPTHS:
        axes.set_xticks(depths)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(_NAMED_DEPTHS, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    family = sheet.fonts.properties(_SMALL * points)
    axes.set_xlabel("Depth", fontproperties=family, color=colours["fg"], labelpad=0.25 * points)
    axes.set_ylabel("Sum of scores", fontproperties=family, color=colours["fg"], labelpad=0.3 * points)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), axes.yaxis.get_offset_text()):
        label.set(fontproperties=family, color=colours["mute"])
    axes.tick_params(length=0.25 * points, width=0.06 * points, color=colours["mute"], pad=0.25 * points)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=colours["line"], linewidth=0.06 * points)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set(color=colours["mute"], linewidth=0.06 * points)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, prop=family, borderaxespad=0, borderpad=0.2,
        handlelength=1, handleheight=0.7, columnspacing=1.2, handletextpad=0.4, labelcolor=colours["mute"],
    )  # fmt: skip
    # Room for what stands outside the bars, as wide as it turns out to be.
    box, around = axes.get_window_extent(), axes.get_tightbbox(figure.canvas.get_renderer())
    inch = figure.dpi
    left, right = (box.x0 - around.x0) / inch / em, (around.x1 - box.x1) / inch / em
    above, below = (around.y1 - box.y1) / inch / em, (box.y0 - around.y0) / inch / em
    x, width = _MARGIN + left, sheet.width - left - max(right, 0.0)
    y, height = sheet.bottom + _MARGIN - below, sheet.bottom - top - above - below
    axes.set_position((x / whole, 1 - y * em / high, width * em / wide, height * em / high))
