# SPDX-License-Identifier: Apache-2.0
"""Where a processor's pixels lie in the image as given: resizing, cropping and padding of any processor, measured.

An image whose grey rises from left to right, and one whose grey rises from top to bottom, go through the processor;
black and white ones undo what it does to values. A straight line through what comes out says which column and row of
the image each pixel shows (ours).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

_LEAST_SPAN = 1e-6  # between black and white: below, a pixel shows none of the image
_EDGE = 0.15  # of the pixels on either side are left out of the line: resizing rounds values off there
_CACHED = 4096  # sizes of images

Process = Callable[[list[Image.Image]], np.ndarray]  # images to (images, channels, rows, columns)


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """Where a grid of cells lies in an image: cell (r, c) covers [x0 + c dx, x0 + (c + 1) dx) by the same of y.

    In pixels of the image as given, upright; a grid may end before the image's border, or run over it.
    """

    x0: float
    y0: float
    dx: float
    dy: float
    rows: int
    cols: int

    def box(self, row: int, col: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a cell."""
        left, top = self.x0 + col * self.dx, self.y0 + row * self.dy
        return left, top, left + self.dx, top + self.dy


class GeometryFinder:
    """Measures a processor once for each size of images.

    Args:
        process: what gives the pixel values of several PIL images.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lines: dict[tuple[int, int], tuple[float, float, float, float, int, int]] = {}

    def geometry(self, size: tuple[int, int], rows: int, cols: int, patch: int | None = None) -> ImageGeometry:
        """The grid of an image of (width, height) `size`.

        Args:
            rows, cols: of the grid, which spans what the model is given.
            patch: pixels of a cell, where these do not fill it: what is left over at the end is not seen.

        Raises:
            ValueError: a processor that shows nothing of such an image.
        """
        if size not in self._lines:
            if len(self._lines) >= _CACHED:
                self._lines.clear()
            self._lines[size] = self._measure(size)
        x, x_step, y, y_step, height, width = self._lines[size]
        tall, wide = (patch, patch) if patch else (height / rows, width / cols)
        return ImageGeometry(x - x_step / 2, y - y_step / 2, x_step * wide, y_step * tall, rows, cols)

    def _measure(self, size: tuple[int, int]) -> tuple[float, float, float, float, int, int]:
        """Centre of the first pixel and distance of the next, across and down, and the size that the model sees."""
        width, height = size
        across = np.tile(_ramp(width), (height, 1))
        down = np.tile(_ramp(height)[:, None], (1, width))
        flat = [np.full((height, width), value, np.uint8) for value in (0, 255)]
        images = [Image.fromarray(values).convert("RGB") for values in (across, down, *flat)]
        of_x, of_y, black, white = self._process(images).astype(np.float64).mean(1)
        span = white - black
        seen = np.abs(span) > _LEAST_SPAN
        if not seen.any():
            raise ValueError(f"the image processor shows nothing of an image of {width} x {height} pixels.")
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = [np.where(seen, (values - black) / span, np.nan) for values in (of_x, of_y)]
        x, x_step = _line(shares[0], seen, width, axis=0)
        y, y_step = _line(shares[1].T, seen.T, height, axis=0)
        return x, x_step, y, y_step, *seen.shape


def _top(length: int) -> int:
    """The grey at a ramp's end: where that can be, so that steps are whole greys and nothing is rounded."""
    return 255 // (length - 1) * (length - 1) if 1 < length <= 256 else 255


def _ramp(length: int) -> np.ndarray:
    """(length,) uint8: from black upwards; of a single pixel, black."""
    return np.round(np.linspace(0, _top(length), length)).astype(np.uint8)


def _line(shares: np.ndarray, seen: np.ndarray, length: int, axis: int) -> tuple[float, float]:
    """Where the centre of the first column lies, and how far the next one is, in pixels of the image."""
    columns = np.flatnonzero(seen.any(axis))
    if length == 1 or len(columns) < 3:  # no ramp: the image fills what shows it
        step = length / len(columns)
        return step / 2 - columns[0] * step, step
    values = (
        np.nanmedian(np.where(seen, shares, np.nan)[:, columns], axis=axis) * 255 / _top(length) * (length - 1) + 0.5
    )
    inner = max(round(_EDGE * len(columns)), 1) if len(columns) > 8 else 0
    chosen = slice(inner, len(columns) - inner)
    step, start = np.polyfit(columns[chosen].astype(float), values[chosen], 1)
    return float(start), float(step)
