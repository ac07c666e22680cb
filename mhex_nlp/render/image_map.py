# SPDX-License-Identifier: Apache-2.0
"""From the JSON form of an image explanation to what displays draw: levels of cells, regions, places in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from typing import Any

from .highlight import to_levels

SCHEMA = "mhex-image-explanation/1"
REGION_FROM = 0.25  # of the largest |score|: a cell of less belongs to no region
_GREYS = 255  # a grid is measured in these steps of a side (`inputs.image_geometry`)
HATCHED_TO = -2  # the weakest level that is hatched
# Half way between the light and the dark scheme: a picture may be either.
MAP_COLOURS = {"for": "#4d8cda", "against": "#da783d"}
_REQUIRED = ("image", "grid", "prediction", "target", "foil", "scores", "sum", "base_value", "method", "model")
_ALPHA = 0.078  # opacity of a level
_PLACES = (("upper left", "top", "upper right"), ("left", "centre", "right"), ("lower left", "bottom", "lower right"))
_HATCHES = 40  # lines across the picture, about
_WHOLE = 0.7  # of width and height: what spans more has no place

Scores = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Grid:
    """Cells over a picture: cell (r, c) covers [x0 + c dx, x0 + (c + 1) dx) x [y0 + r dy, ...) of its pixels."""

    rows: int
    cols: int
    x0: float
    y0: float
    dx: float
    dy: float
    width: int
    height: int

    @property
    def seen(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the part of the picture that cells cover; empty where they miss it."""
        left, top = min(max(self.x0, 0.0), self.width), min(max(self.y0, 0.0), self.height)
        right = max(left, min(self.x0 + self.cols * self.dx, self.width))
        return left, top, right, max(top, min(self.y0 + self.rows * self.dy, self.height))

    @property
    def unseen_share(self) -> float:
        """Share of the picture that no cell covers; what is less than rounding at each side is none."""
        left, top, right, bottom = self.seen
        wide, high = max(1, self.width / _GREYS), max(1, self.height / _GREYS)
        if left < wide and top < high and right > self.width - wide and bottom > self.height - high:
            return 0.0
        return 1 - (right - left) * (bottom - top) / (self.width * self.height)

    def box(self, row: int, col: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a cell, cut at the picture's border; of one outside, without an area."""
        return self.box_around([(row, col)])

    def box_around(self, cells: Sequence[tuple[int, int]]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what holds some cells, cut at the picture's border."""
        rows, cols = zip(*cells, strict=True)
        left, right = (_within(self.x0 + col * self.dx, self.width) for col in (min(cols), max(cols) + 1))
        top, bottom = (_within(self.y0 + row * self.dy, self.height) for row in (min(rows), max(rows) + 1))
        return left, top, right, bottom

    def shows(self, row: int, col: int) -> bool:
        """Whether a cell has a part inside the picture; what pads it has none."""
        left, top, right, bottom = self.box(row, col)
        return right > left and bottom > top


@dataclass(frozen=True)
class Region:
    """Connected cells of one sign and the sum of their scores."""

    cells: tuple[tuple[int, int], ...]
    score: float
    peak: tuple[int, int]  # its strongest cell
    where: str


@dataclass(frozen=True)
class ImageMap:
    """One map of scores over the picture, in levels of `largest`."""

    grid: Grid
    scores: Scores
    largest: float

    @cached_property
    def levels(self) -> list[list[int]]:
        """(rows, cols), from -10 to 10."""
        return [to_levels(row, self.largest) for row in self.scores]

    @cached_property
    def regions(self) -> list[Region]:
        """The most evidence first."""
        cells = connected_cells(self.grid, self.scores, REGION_FROM * self.largest)
        return [_region(self, part) for part in cells]

    @property
    def hidden_share(self) -> float:
        """Share of the sum of |score| on cells outside the picture, where the model saw padding."""
        total = math.fsum(map(abs, chain.from_iterable(self.scores)))
        hidden = math.fsum(
            abs(score) for r, row in enumerate(self.scores) for c, score in enumerate(row) if not self.grid.shows(r, c)
        )
        return hidden / total if total else 0.0

    def strongest(self, count: int = 3) -> list[Region]:
        """Regions with the most evidence for, then those against, `count` of each sign at most."""
        return [region for sign in (1, -1) for region in [one for one in self.regions if one.score * sign > 0][:count]]


def image_map(form: Mapping[str, Any], scores: Scores | None = None, largest: float | None = None) -> ImageMap:
    """The map of an explanation, or of other `scores` on its grid, in levels of `largest` (by default its own).

    Raises:
        ValueError: a form that is malformed, scores that are not finite or not of the grid's shape.
    """
    schema = form.get("schema")
    if not str(schema).startswith(SCHEMA):
        raise ValueError(f"form has schema {schema!r}, expected {SCHEMA}.")
    if missing := [key for key in _REQUIRED if key not in form]:
        raise ValueError(f"form lacks {', '.join(missing)}; expected the full {SCHEMA} form.")
    size, where = form["image"], form["grid"]
    grid = Grid(**{name: where[name] for name in ("rows", "cols", "x0", "y0", "dx", "dy")}, **_size(size))
    if not (grid.dx > 0 and grid.dy > 0 and all(map(math.isfinite, (grid.x0, grid.y0, grid.dx, grid.dy)))):
        raise ValueError(f"grid must have finite places and cells larger than 0, got {dict(where)}.")
    values = form["scores"] if scores is None else scores
    shape = {len(row) for row in values}
    if len(values) != grid.rows or shape != {grid.cols}:
        raise ValueError(f"scores must be {grid.rows} rows of {grid.cols}, got {len(values)} rows of {sorted(shape)}.")
    if not all(map(math.isfinite, chain.from_iterable(values))):
        raise ValueError("scores must be finite numbers, got NaN or infinity among them.")
    return ImageMap(grid, values, top_score(values) if largest is None else largest)


def _within(place: float, length: int) -> float:
    return min(max(place, 0.0), float(length))


def _size(image: Mapping[str, Any]) -> dict[str, int]:
    width, height = image["width"], image["height"]
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise ValueError(f"image must have a width and a height of at least 1 pixel, got {width!r} and {height!r}.")
    return {"width": width, "height": height}


def top_score(scores: Scores) -> float:
    """The largest |score|."""
    return max(map(abs, chain.from_iterable(scores)), default=0.0)


def opacity(level: int) -> float:
    """How much of a level's colour lies over the picture: none for 0, so that what has no evidence stays as it is."""
    return _ALPHA * abs(level)


def connected_cells(grid: Grid, scores: Scores, least: float) -> list[tuple[tuple[int, int], ...]]:
    """Cells that touch by a side, of one sign, each of a |score| of at least `least` and above 0.

    The largest |sum| comes first; of equal ones the first in reading order. Cells outside the picture belong to none.
    """
    left = {
        (r, c)
        for r, row in enumerate(scores)
        for c, score in enumerate(row)
        if score and abs(score) >= least and grid.shows(r, c)
    }
    parts = []
    while left:
        start = min(left)
        left.remove(start)
        cells, open_cells = [start], [start]
        while open_cells:
            r, c = open_cells.pop()
            for cell in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if cell in left and (scores[cell[0]][cell[1]] > 0) == (scores[r][c] > 0):
                    left.remove(cell)
                    cells.append(cell)
                    open_cells.append(cell)
        parts.append(tuple(sorted(cells)))
    return sorted(parts, key=lambda part: -abs(math.fsum(scores[r][c] for r, c in part)))


def _region(of: ImageMap, cells: tuple[tuple[int, int], ...]) -> Region:
    strength = {(r, c): abs(of.scores[r][c]) for r, c in cells}
    peak = max(cells, key=lambda cell: strength[cell])
    score = math.fsum(of.scores[r][c] for r, c in cells)
    return Region(cells, score, peak, _place(of.grid, strength))


def _place(grid: Grid, strength: Mapping[tuple[int, int], float]) -> str:
    """Where in the picture cells are, in words: the ninth of it in which their centre of gravity lies."""
    boxes = {cell: grid.box(*cell) for cell in strength}
    wide = max(box[2] for box in boxes.values()) - min(box[0] for box in boxes.values())
    high = max(box[3] for box in boxes.values()) - min(box[1] for box in boxes.values())
    if wide > _WHOLE * grid.width and high > _WHOLE * grid.height:
        return "most of the picture"
    top = max(strength.values())
    weights = {cell: value / top for cell, value in strength.items()}  # their sum is finite
    total = math.fsum(weights.values())
    x = math.fsum(weight * (boxes[cell][0] + boxes[cell][2]) / 2 for cell, weight in weights.items()) / total
    y = math.fsum(weight * (boxes[cell][1] + boxes[cell][3]) / 2 for cell, weight in weights.items()) / total
    return _PLACES[min(2, int(3 * y / grid.height))][min(2, int(3 * x / grid.width))]


def level_paths(levels: Sequence[Sequence[int]]) -> list[tuple[int, str]]:
    """Per level but 0 an SVG path of its cells in units of cells, runs of a row as one box."""
    paths: dict[int, list[str]] = {}
    for r, row in enumerate(levels):
        start = 0
        for level, run in groupby(row):
            length = len(list(run))
            if level:
                paths.setdefault(level, []).append(f"M{start} {r}h{length}v1h-{length}z")
            start += length
    return [(level, "".join(paths[level])) for level in sorted(paths)]


def hatch_path(of: ImageMap) -> str:
    """An SVG path of diagonals over the cells that speak against, in units of cells; they meet from cell to cell."""
    lines = max(1, int(_HATCHES / max(of.grid.cols, of.grid.rows * of.grid.dy / of.grid.dx)))  # to a side
    ends = [(max(0, line - lines) / lines, min(line, lines) / lines) for line in range(1, 2 * lines)]
    return "".join(
        f"M{c + low:.4g} {r + high:.4g}l{high - low:.3g}-{high - low:.3g}"
        for r, row in enumerate(of.levels)
        for c, level in enumerate(row)
        if level <= HATCHED_TO
        for low, high in ends
    )


def outline_path(cells: Iterable[tuple[int, int]]) -> str:
    """An SVG path of the sides between cells of a region and other cells, in units of cells."""
    inside = set(cells)
    sides = []
    for r, c in sorted(inside):
        if (r - 1, c) not in inside:
            sides.append(f"M{c} {r}h1")
        if (r + 1, c) not in inside:
            sides.append(f"M{c} {r + 1}h1")
        if (r, c - 1) not in inside:
            sides.append(f"M{c} {r}v1")
        if (r, c + 1) not in inside:
            sides.append(f"M{c + 1} {r}v1")
    return "".join(sides)
