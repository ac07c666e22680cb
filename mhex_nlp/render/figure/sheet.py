# SPDX-License-Identifier: Apache-2.0
"""A sheet that grows from top to bottom: lines of text, boxes and signs, the legend, the bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import regex  # type: ignore[import-untyped, unused-ignore]
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from ..controls import BREAKS
from ..highlight import LEVELS, Highlight, Segment
from ..numbers import plain
from ..palette import level_name, light_palette
from ..summary import Summary, number_format
from .fonts import Fonts
from .layout import PLACE, Line, set_lines

# All in em, the size of the text.
MARGIN = 0.25
_SMALL = 0.82  # of the text's size: legend, axes
_HEAD = 1.5  # from one line to the next
_LEADING = 1.78
_ASCENT, _DESCENT = 0.98, 0.40  # of a box, from the baseline
_UNDERLINE, _RULE, _WAVE, _PERIOD = 0.285, 0.065, 0.055, 0.3
_WEAK = 3  # up to this level the line is as pale as on the page
_CELL = 0.5  # a level of the legend, at most
_NAMED_DEPTHS = 16
_ROW, _BAR = 1.35, 0.62  # of the bars of words: their distance, and their height
_LABELS = 0.35  # of the width, at most, for the words beside their bars

# matplotlib 3.11 writes glyphs into a PDF by their own widths, which shaping overrules in these.
_SHAPED = regex.compile(r"[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}\p{bc=R}\p{bc=AL}]").search


class Sheet:
    """A matplotlib figure; places are in em, from the left and top edges inside the margin, y downwards.

    `width` inside the margins is in em, `em` in inches; with `outlines`, strings that shaping changes become outlines.
    """

    def __init__(self, width: float, em: float, fonts: Fonts, outlines: bool) -> None:
        self.width, self.em, self.points, self.fonts, self.bottom = width, em, em * 72, fonts, 0.0
        self.colours = light_palette()
        self.sides = ("for", "against")
        self.figure: Any = Figure(facecolor="white")
        FigureCanvasAgg(self.figure)
        self._outlines = outlines
        self._place = Affine2D()
        self._transform = self._place + self.figure.dpi_scale_trans

    @property
    def size(self) -> tuple[float, float]:
        """Width and height with the margins, in inches."""
        return (self.width + 2 * MARGIN) * self.em, (self.bottom + 2 * MARGIN) * self.em

    def finish(self) -> None:
        """Gives the figure its size, which is known when all is drawn."""
        self.figure.set_size_inches(self.size)
        self._place.translate(MARGIN, -MARGIN).scale(self.em).translate(0, self.size[1])

    def head(self, summary: Summary) -> None:
        """The prediction, and the target where it is another class or has a foil."""
        self.sides = summary.sides
        # Text, whether it is a label and so bold, its colour, the room before it.
        items: list[tuple[str, bool, str, float]] = []
        for label, value in summary.answers:
            items += [(label, True, "fg", 1.0), (value, False, "fg", 0.4)]
        if summary.target or summary.foil:
            items += [("scores for", False, "mute", 1.2), (summary.target or "", True, "mute", 0.35)]
        if summary.foil:
            items += [("rather than", False, "mute", 0.35), (summary.foil, True, "mute", 0.35)]
        at, baseline = 0.0, self.bottom + 1.0
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
                self._rule(_straight(0.0, self.width, -self.bottom - 0.3), "line", "round", 0.8)
                self.bottom += 0.6
            if segments:
                self._text(self._lines(segments, False), segments)
            else:
                self._string(0.0, self.bottom + 1.2, "(no text)", colour="mute")
                self.bottom += _LEADING
        if any(drawn.scores):
            self._legend(drawn.full)

    def words(self, words: Sequence[Segment]) -> None:
        """A bar for each word, with one error to either side where there are errors, and its number."""
        if not words:
            return
        number = number_format(word.score or 0.0 for word in words)
        numbers = [number(word.score, word.error).replace("-", "\u2212") for word in words]
        room = _LABELS * self.width / _SMALL
        labels = [self._lines([Segment(BREAKS.sub(" ", word.text), 0, 0, None, 0)], False, room) for word in words]
        ends = [(word.score or 0.0, word.error or 0.0) for word in words]
        low, high = min(0.0, *(score - error for score, error in ends)), max(0.0, *(s + e for s, e in ends))
        left = _SMALL * max(self._end(lines[0]) + (len(lines) > 1) for lines in labels) + 0.6
        right = self.width - _SMALL * max(map(self.fonts.width, numbers)) - 0.6
        scale = (right - left) / (high - low or 1.0)
        zero, top = left - low * scale, self.bottom + 0.5
        for row, (word, lines, (score, error)) in enumerate(zip(words, labels, ends, strict=True)):
            middle = top + (row + 0.5) * _ROW
            self._pieces(lines[0], middle + 0.28, "\u2026" if len(lines) > 1 else "")
            start, end = sorted((zero, zero + score * scale))
            colour = "for" if score > 0 else "against"
            bar = Rectangle((start, -middle - _BAR / 2), end - start, _BAR)
            self._shape(bar, "bg" if word.unsettled else colour, colour if word.unsettled else None)
            if word.error is not None:
                reach = [zero + (score + side * error) * scale for side in (-1, 1)]
                caps = [[(x, 0.16 - middle), (x, -0.16 - middle)] for x in reach]
                for line in ([(x, -middle) for x in reach], *caps):
                    self._rule(Path(line), "fg", "butt")
            self._string(right + 0.6, middle + 0.28, numbers[row], _SMALL, colour="mute")
        self.bottom = top + len(words) * _ROW
        self._rule(Path([(zero, -top), (zero, -self.bottom)]), "mute", "butt", 0.8)

    def note(self, text: str) -> None:
        """Small text, in as many lines as it takes."""
        self.bottom += 0.35
        for line in self._lines([Segment(text, 0, len(text), None, 0)], False, self.width / _SMALL):
            self.bottom += 1.15
            self._pieces(line, self.bottom)

    def _pieces(self, line: Line, baseline: float, after: str = "") -> None:
        for piece in line.pieces:
            self._string(_SMALL * piece.left, baseline, piece.text, _SMALL, colour="mute")
        if after:
            self._string(_SMALL * self._end(line), baseline, after, _SMALL, colour="mute")

    def _end(self, line: Line) -> float:
        return max((piece.left + self.fonts.width(piece.text) for piece in line.pieces), default=0.0)

    def bars(self, top: float, sums: Sequence[tuple[float, float]], numbers: Sequence[int]) -> None:
        """The layer strip, from `top` to the bottom of a finished sheet: a bar up and a bar down at each depth, which
        has its number.
        """
        figure, em, points, colours = self.figure, self.em, self.points, self.colours
        wide, high = figure.get_size_inches()
        whole = self.width + 2 * MARGIN
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        depths = range(1, len(sums) + 1)
        axes.bar(depths, [up for up, _ in sums], 0.62, color=colours["for"], label=self.sides[0])
        axes.bar(depths, [down for _, down in sums], 0.62, color=colours["against"], label=self.sides[1])
        axes.axhline(0, color=colours["mute"], linewidth=0.08 * points)
        axes.set_xlim(0.4, len(sums) + 0.6)
        step = math.ceil(len(sums) / _NAMED_DEPTHS)
        axes.set_xticks(depths[::step], [str(number) for number in numbers[::step]])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        family = self.fonts.properties(_SMALL * points)
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
            loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, prop=family, labelcolor=colours["mute"],
            borderaxespad=0, borderpad=0.2, handlelength=1, handleheight=0.7, columnspacing=1.2, handletextpad=0.4,
        )  # fmt: skip
        # Room for what stands outside the bars, as wide as it turns out to be.
        box, around = axes.get_window_extent(), axes.get_tightbbox(figure.canvas.get_renderer())
        inch = figure.dpi
        left, right = (box.x0 - around.x0) / inch / em, (around.x1 - box.x1) / inch / em
        above, below = (around.y1 - box.y1) / inch / em, (box.y0 - around.y0) / inch / em
        x, width = MARGIN + left, self.width - left - max(right, 0.0)
        y, height = self.bottom + MARGIN - below, self.bottom - top - above - below
        axes.set_position((x / whole, 1 - y * em / high, width * em / wide, height * em / high))

    def _lines(self, segments: Sequence[Segment], bold: bool, width: float | None = None) -> list[Line]:
        whole = self.width if width is None else width
        return set_lines(segments, whole, lambda text: self.fonts.width(text, bold), self.fonts.drawable)

    def _text(self, lines: Iterable[Line], segments: Sequence[Segment]) -> None:
        height = _ASCENT + _DESCENT
        for line in lines:
            baseline = self.bottom + _ASCENT + 0.5 * (_LEADING - _ASCENT - _DESCENT)
            for piece in line.pieces:
                self._string(piece.left, baseline, piece.text)
            for box in line.boxes:
                corner, width = (box.left, -(baseline - _ASCENT) - height), box.right - box.left
                rounded = f"round,pad=0,rounding_size={min(0.2, width / 3)}"
                shape = FancyBboxPatch(corner, width, height, boxstyle=rounded)
                if box.level == PLACE:
                    self._frame(shape)
                    continue
                if segments[box.owner].marked:
                    self._shape(shape, "bg", "mute")
                else:
                    self._fill(shape, box.level)
                self._sign(box.left, box.right, baseline + _UNDERLINE, box.level)
            self.bottom += _LEADING

    def _legend(self, full: float) -> None:
        """against, the score of full colour, the levels, that score, for; as wide as there is room."""
        number, (up, down) = plain(full), self.sides
        left, right = f"{down} \u2212{number}", f"+{number} {up}"
        before, after = (_SMALL * self.fonts.width(text) + 0.4 for text in (left, right))
        cell = max(0.05, min(_CELL, (self.width - before - after) / (2 * LEVELS)))
        top = self.bottom + 0.55
        baseline = top + 0.74
        self._string(0.0, baseline, left, _SMALL, colour="mute")
        for level in (*range(-LEVELS, 0), *range(1, LEVELS + 1)):
            x = before + cell * (level + LEVELS - (level > 0))
            # Each a little over its right neighbour's edge: no seam shows between them.
            self._fill(Rectangle((x, -top - 0.95), cell + 0.01, 0.95), level)
        middle, end = before + cell * LEVELS, before + cell * 2 * LEVELS
        self._sign(before, middle - 0.1, top + 0.75, -LEVELS)
        self._sign(middle + 0.1, end, top + 0.75, LEVELS)
        self._string(end + 0.4, baseline, right, _SMALL, colour="mute")
        self.bottom = top + 1.1

    def _fill(self, shape: Any, level: int) -> None:
        self._shape(shape, level_name(level))

    def _shape(self, shape: Any, colour: str, edge: str | None = None) -> None:
        """A shape in a colour; with an `edge`, a dotted outline, which says that a sign is not settled."""
        width = 0.0 if edge is None else 0.05 * self.points
        outline = "none" if edge is None else self.colours[edge]
        shape.set(facecolor=self.colours[colour], edgecolor=outline, linewidth=width, zorder=1)
        if edge is not None:
            shape.set_linestyle((0, (1, 1.5)))
        shape.set_transform(self._transform)
        self.figure.add_artist(shape)

    def _frame(self, shape: Any) -> None:
        shape.set(fill=False, edgecolor=self.colours["fg"], linewidth=0.08 * self.points, zorder=1)
        shape.set_transform(self._transform)
        self.figure.add_artist(shape)

    def _sign(self, left: float, right: float, y: float, level: int) -> None:
        """A solid line for, a wavy one against."""
        colour = "for" if level > 0 else "against"
        if abs(level) <= _WEAK:
            colour = level_name(int(math.copysign(LEVELS, level)))
        inset = min(0.06, (right - left) / 6)
        if level > 0:
            self._rule(_straight(left + inset, right - inset, -y), colour, "butt")
        else:
            self._rule(_wave(left + inset, right - inset, -y), colour, "round")

    def _rule(self, path: Path, colour: str, capstyle: Any, width: float = 1) -> None:
        rule = PathPatch(path, fill=False, edgecolor=self.colours[colour], capstyle=capstyle)
        rule.set(linewidth=_RULE * self.points * width, transform=self._transform, zorder=2, snap=False)
        self.figure.add_artist(rule)

    def _string(self, x: float, y: float, text: str, size: float = 1.0, bold: bool = False, colour: str = "fg") -> None:
        properties = self.fonts.properties(size * self.points, text, bold)
        if self._outlines and _SHAPED(text):
            letters = PathPatch(_outline(text, properties, x, -y, size), facecolor=self.colours[colour], linewidth=0)
            letters.set(transform=self._transform, zorder=3)
            self.figure.add_artist(letters)
            return
        self.figure.text(
            x, -y, text, color=self.colours[colour], fontproperties=properties, transform=self._transform, zorder=3,
            parse_math=False, ha="left", va="baseline",
        )  # fmt: skip


def _outline(text: str, properties: Any, x: float, y: float, size: float) -> Path:
    vertices, codes = text_to_path.get_text_path(properties, text, ismath=False)
    if not len(codes):
        return Path([(x, y)])
    scale = size / text_to_path.FONT_SCALE
    return Path([(x + scale * across, y + scale * up) for across, up in vertices], codes)


def _straight(left: float, right: float, y: float) -> Path:
    return Path([(left, y), (right, y)])


def _wave(left: float, right: float, y: float) -> Path:
    """Half periods as parabolas, a whole number of them, so that every word's line begins and ends at `y`."""
    halves = max(2, round(2 * (right - left) / _PERIOD))
    step = (right - left) / halves
    vertices = [(left, y)]
    for half in range(halves):
        side = 2 * _WAVE * (-1) ** half
        vertices += [(left + (half + 0.5) * step, y + side), (left + (half + 1) * step, y)]
    return Path(vertices, [Path.MOVETO] + [Path.CURVE3] * (2 * halves))
