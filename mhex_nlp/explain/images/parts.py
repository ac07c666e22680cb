# SPDX-License-Identifier: Apache-2.0
"""The parts of an image explanation, as plain values that cannot be changed; field order is the order in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the image as given, upright


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The image that was explained: size in pixels, hash of the pixels, the file's name where it was asked for."""

    width: int
    height: int
    sha256: str
    name: str | None
    data: str | None = None  # a data: URL of the pixels, where they were asked for

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise ValueError(f"image must be of 1 pixel a side at least, got {self.width} x {self.height}")


@dataclass(frozen=True, slots=True)
class Grid:
    """Cell (r, c) covers [x0 + c dx, x0 + (c + 1) dx) by the same of y, in pixels of the image as given."""

    rows: int
    cols: int
    x0: float
    y0: float
    dx: float
    dy: float

    def __post_init__(self) -> None:
        if min(self.rows, self.cols) < 1 or not (self.dx > 0 and self.dy > 0):
            raise ValueError(f"grid must have cells that are larger than 0, got {self!r}")

    def box(self, row: int, col: int) -> Box:
        """Left, top, right and bottom of a cell, which may run over the image's border."""
        left, top = self.x0 + col * self.dx, self.y0 + row * self.dy
        return left, top, left + self.dx, top + self.dy


@dataclass(frozen=True, slots=True)
class EmptyAnswer:
    """What the model says of an image with nothing in it."""

    label: str
    id: int
    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"empty has a probability outside 0 to 1: {self.probability}")


@dataclass(frozen=True, slots=True)
class ImageMethod:
    """How the scores came about, and how far a fit can be trusted; `skill` is the paired skill of the fit."""

    name: str
    fitted: bool
    removal: Literal["mean", "blur", "attention"] | None
    contrast: Literal["centred", "foil", "none"]
    skill: float | None
    skill_interval: tuple[float, ...] | None
    attainable: float | None
    trusted: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the grid, its score for the target, and the part of the image that it shows."""

    row: int
    col: int
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class Region:
    """Connected cells of one sign: `score` is their sum, `box` the rectangle around them."""

    cells: tuple[tuple[int, int], ...]
    box: Box
    score: float
