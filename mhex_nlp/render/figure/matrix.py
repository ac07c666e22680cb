# SPDX-License-Identifier: Apache-2.0
"""A sheet with a table of coloured numbers: what each part of an answer rests on."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.patches import Rectangle

from ..context import Link
from ..highlight import Segment
from ..palette import level_name
from .sheet import Sheet

_LABELS = 0.5  # of the width, for the units beside their numbers
_ROW, _GAP = 1.45, 0.12  # em
_WIDEST = 6.0  # em of a number's cell
_SIZE = 0.72  # of the numbers


class MatrixSheet(Sheet):
    """`Sheet` with rows of cells."""

    def matrix(self, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Link]]]) -> None:
        """A row for each unit, its text to the left and a cell under each of `heads`."""
        left = _LABELS * self.width
        cell = min(_WIDEST, (self.width - left) / max(1, len(heads)))
        baseline = self.bottom + 1.3
        for column, head in enumerate(heads):
            middle = left + (column + 0.5) * cell
            self._string(middle - _SIZE * self.fonts.width(head) / 2, baseline, head, _SIZE, colour="mute")
        self.bottom = baseline + 0.3
        for text, links in rows:
            self._label(text, left - 0.6)
            for column, link in enumerate(links):
                self._cell(link, left + column * cell, cell)
            self.bottom += _ROW

    def _label(self, text: str, room: float) -> None:
        [*lines] = self._lines([Segment(text, 0, len(text), None, 0)], False, (room - 0.6) / 0.82)
        self._pieces(lines[0], self.bottom + 0.95, "\u2026" if len(lines) > 1 else "")

    def _cell(self, link: Link, x: float, width: float) -> None:
        shape = Rectangle((x, -self.bottom - _ROW + _GAP), width - _GAP, _ROW - _GAP)
        colour = "bg" if link.marked or not link.level else level_name(link.level)
        self._shape(shape, colour, "mute" if link.marked else None)
        number = link.number.replace("-", "\u2212")
        advance = _SIZE * self.fonts.width(number)
        if advance <= width - 2 * _GAP:  # else the colour alone tells it
            self._string(x + (width - _GAP - advance) / 2, self.bottom + 0.88, number, _SIZE)
        if link.level:
            self._sign(x + _GAP, x + width - 2 * _GAP, self.bottom + _ROW - 2 * _GAP, link.level)
