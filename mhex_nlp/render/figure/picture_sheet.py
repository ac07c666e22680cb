# SPDX-License-Identifier: Apache-2.0
"""A sheet with a picture, its map over it, and the scale of its colours."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from matplotlib.patches import Circle, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from ..image_map import MAP_COLOURS, Grid, ImageMap, hatch_path, level_paths, opacity, outline_path
from ..image_overlay import GREY, smooth_image
from ..numbers import plain
from .sheet import MARGIN, Sheet

_STEP = re.compile(r"([Mlhvz])([^Mlhvz]*)")
_NUMBER = re.compile(r"-?[\d.]+(?:e-?\d+)?")


class PictureSheet(Sheet):
    """`Sheet` with one picture, over its whole width."""

    _axes: Any = None
    _top = 0.0
    _height = 0.0

    def picture(self, drawn: ImageMap, picture: Any, smooth: bool) -> None:
        """The picture, or grey, with the map, the outlines of regions and their numbers."""
        grid = drawn.grid
        self._top, self._height = self.bottom + 0.3, self.width * grid.height / grid.width
        self.bottom = self._top + self._height
        axes = self._axes = self.figure.add_axes((0.1, 0.1, 0.8, 0.8), frameon=False, xticks=(), yticks=())
        extent = (0, grid.width, grid.height, 0)
        if picture is None:
            axes.add_patch(Rectangle((0, 0), grid.width, grid.height, facecolor=GREY, linewidth=0))
        else:
            axes.imshow(np.asarray(picture), extent=extent, interpolation="none", aspect="auto")
        self._veil(grid)
        cells = Affine2D().scale(grid.dx, grid.dy).translate(grid.x0, grid.y0)
        if smooth:
            over = (grid.x0, grid.x0 + grid.cols * grid.dx, grid.y0 + grid.rows * grid.dy, grid.y0)
            axes.imshow(
                np.asarray(smooth_image(drawn).convert("RGBA")), extent=over, interpolation="none", aspect="auto"
            )
        else:
            for level, shape in level_paths(drawn.levels):
                colour = MAP_COLOURS["for" if level > 0 else "against"]
                self._over(shape, cells, facecolor=colour, alpha=opacity(level), linewidth=0, edgecolor="none")
        if hatch := hatch_path(drawn):
            self._over(hatch, cells, fill=False, edgecolor="white", alpha=0.62, linewidth=0.045 * self.points)
        for number, region in enumerate(drawn.strongest(), 1):
            self._region(drawn, number, region, cells)
        axes.set_xlim(0, grid.width)
        axes.set_ylim(grid.height, 0)

    def _veil(self, grid: Grid) -> None:
        left, top, right, bottom = grid.seen
        strips = ((0, 0, left, grid.height), (right, 0, grid.width, grid.height), (left, 0, right, top))
        for x0, y0, x1, y1 in (*strips, (left, bottom, right, grid.height)):
            if x1 > x0 and y1 > y0:
                strip = Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor="#767a82", alpha=0.72, linewidth=0)
                self._axes.add_patch(strip)

    def _region(self, drawn: ImageMap, number: int, region: Any, cells: Affine2D) -> None:
        """White over black, dashed where it speaks against, and its number: round for, square against."""
        outline, dash = outline_path(region.cells), (0, (2.2, 1.6)) if region.score < 0 else "solid"
        for colour, width, style in (("black", 0.2, "solid"), ("white", 0.1, dash)):
            self._over(outline, cells, fill=False, edgecolor=colour, linewidth=width * self.points, linestyle=style)
        left, top, right, bottom = drawn.grid.box(*region.peak)
        x, y = (left + right) / 2, (top + bottom) / 2
        em = drawn.grid.width / self.width  # in pixels of the picture
        fill: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.08 * self.points, "zorder": 4}
        if region.score > 0:
            chip: Any = Circle((x, y), 0.55 * em, facecolor=self.colours["for"], **fill)
        else:
            corner = (x - 0.5 * em, y - 0.5 * em)
            chip = Rectangle(corner, em, em, facecolor=self.colours["against"], **fill)
        self._axes.add_patch(chip)
        properties = self.fonts.properties(0.72 * self.points, str(number), True)
        self._axes.text(
            x, y, str(number), color="white", fontproperties=properties, ha="center", va="center_baseline", zorder=5
        )

    def _over(self, shape: str, cells: Affine2D, **look: Any) -> None:
        patch = PathPatch(cells.transform_path(drawn_path(shape)), zorder=3, **look)
        self._axes.add_patch(patch)

    def scale(self, largest: float) -> None:
        """The levels over grey, with the largest score at both ends, as wide as there is room."""
        left, right = f"against \u2212{plain(largest)}", f"+{plain(largest)} for"
        before, after = (0.82 * self.fonts.width(text) + 0.4 for text in (left, right))
        cell = max(0.05, min(0.5, (self.width - before - after) / 20))
        top = self.bottom + 0.55
        self._string(0.0, top + 0.74, left, 0.82, colour="mute")
        ground = Rectangle((before, -top - 0.95), 20 * cell, 0.95)
        ground.set(facecolor=GREY, linewidth=0, transform=self._transform, zorder=1)
        self.figure.add_artist(ground)
        for level in (*range(-10, 0), *range(1, 11)):
            box = Rectangle((before + cell * (level + 10 - (level > 0)), -top - 0.95), cell, 0.95)
            colour = MAP_COLOURS["for" if level > 0 else "against"]
            box.set(facecolor=colour, alpha=opacity(level), linewidth=0, transform=self._transform, zorder=2)
            self.figure.add_artist(box)
        for line in range(8):
            at = before + cell * line
            hatch = PathPatch(Path([(at, -top - 0.95), (at + cell, -top)]), edgecolor="white", alpha=0.62)
            hatch.set(linewidth=0.045 * self.points, transform=self._transform, zorder=3)
            self.figure.add_artist(hatch)
        self._string(before + 20 * cell + 0.4, top + 0.74, right, 0.82, colour="mute")
        self.bottom = top + 1.1

    def finish(self) -> None:
        """Gives the picture its place as well."""
        super().finish()
        wide, high = self.figure.get_size_inches()
        y = MARGIN + self._top + self._height
        place = (
            MARGIN * self.em / wide,
            1 - y * self.em / high,
            self.width * self.em / wide,
            self._height * self.em / high,
        )
        self._axes.set_position(place)


def drawn_path(shape: str) -> Path:
    """An SVG path of the kinds that `image_map` writes, for matplotlib."""
    vertices: list[tuple[float, float]] = []
    codes: list[Any] = []
    x = y = 0.0
    for letter, numbers in _STEP.findall(shape):
        values = [float(number) for number in _NUMBER.findall(numbers)]
        if letter == "M":
            x, y = values
        elif letter == "l":
            x, y = x + values[0], y + values[1]
        elif letter == "h":
            x += values[0]
        elif letter == "v":
            y += values[0]
        vertices.append((x, y))
        codes.append({"M": Path.MOVETO, "z": Path.CLOSEPOLY}.get(letter, Path.LINETO))
    return Path(vertices, codes)
