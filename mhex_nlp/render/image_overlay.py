# SPDX-License-Identifier: Apache-2.0
"""Maps of image explanations as pixels: a picture with its map over it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .image_map import HATCHED_TO, MAP_COLOURS, ImageMap, Region, image_map, opacity
from .image_pixels import picture_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

GREY = "#8b8f96"  # under a map without its picture
_VEIL = (118, 122, 130)  # over what the model does not see
_LEAST, _MOST = 512, 4096  # pixels of the longer side of a PNG
_SMOOTH = 512  # pixels of the longer side of a smooth map, at most


def overlay_png(
    form: Mapping[str, Any], pixels: Any = None, *, smooth: bool = False, regions: bool = True, size: int | None = None
) -> bytes:
    """A PNG of the picture with its map over it; without pixels the map lies on grey.

    What speaks for the target is blue, what speaks against it orange and hatched; regions with most evidence have an
    outline, solid or dashed. What the model does not see is greyed. A small picture is enlarged.

    Args:
        form: an image explanation in JSON form.
        pixels: a PIL image, or a data URL of a PNG or JPEG, of the size that the form has.
        smooth: bilinear between cells; by default each cell has one colour.
        regions: draw the outlines.
        size: pixels of the longer side; by default the picture's own, but at least 512 and at most 4,096.

    Raises:
        TypeError: pixels that are neither.
        ValueError: a malformed form, pixels of another image, a `size` that is no integer from 16 to 16,384.
    """
    from PIL import Image

    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 16 <= size <= 16_384):
        raise ValueError(f"size must be an integer from 16 to 16,384, got {size!r}.")
    drawn = image_map(form)
    picture = picture_of(form, pixels)
    grid = drawn.grid
    longest = max(grid.width, grid.height)
    scale = (min(max(longest, _LEAST), _MOST) if size is None else size) / longest
    wide, high = max(1, round(grid.width * scale)), max(1, round(grid.height * scale))
    if picture is None:
        picture = Image.new("RGB", (wide, high), GREY)
    elif picture.size != (wide, high):
        enlarged = Image.Resampling.NEAREST if longest <= 128 else Image.Resampling.BICUBIC
        picture = picture.resize((wide, high), enlarged if scale > 1 else Image.Resampling.LANCZOS)
    canvas = np.asarray(picture, np.float32)
    x, y = _at(wide, grid.width, grid.x0, grid.dx), _at(high, grid.height, grid.y0, grid.dy)
    canvas = _coloured(canvas, drawn, x, y, smooth)
    if regions:
        for region in drawn.strongest():
            _outline(canvas, region, x, y, max(1, round(max(wide, high) / 400)))
    target = io.BytesIO()
    Image.fromarray(canvas.clip(0, 255).round().astype(np.uint8)).save(target, "PNG", optimize=True)
    return target.getvalue()


def _at(pixels: int, whole: int, start: float, step: float) -> NDArray[np.float64]:
    """Where the middle of each pixel lies, in cells from the grid's start."""
    return ((np.arange(pixels) + 0.5) * whole / pixels - start) / step


def _coloured(
    canvas: NDArray[np.float32], drawn: ImageMap, x: NDArray[np.float64], y: NDArray[np.float64], smooth: bool
) -> NDArray[np.float32]:
    grid = drawn.grid
    seen = ((y >= 0) & (y < grid.rows))[:, None] & ((x >= 0) & (x < grid.cols))[None, :]
    levels = np.array(drawn.levels)
    cell = levels[y.clip(0, grid.rows - 1).astype(int)][:, x.clip(0, grid.cols - 1).astype(int)]
    level = _bilinear(np.array(drawn.scores) / (drawn.largest or 1.0), x, y) * 10 if smooth else cell
    alpha = np.where(seen, opacity(1) * np.abs(level), 0.0)[..., None]
    colours = np.array([_rgb(MAP_COLOURS["against"]), _rgb(MAP_COLOURS["for"])], np.float32)
    mixed = canvas * (1 - alpha) + colours[(level > 0).astype(int)] * alpha
    pitch = max(4, round(max(canvas.shape) / 64))
    diagonal = (np.arange(len(y))[:, None] + np.arange(len(x))[None, :]) % pitch
    hatched = seen & (cell <= HATCHED_TO) & (diagonal < max(1, pitch // 6))
    mixed[hatched] = 0.45 * mixed[hatched] + 0.55 * 255
    mixed[~seen] = 0.3 * mixed[~seen] + 0.7 * np.array(_VEIL, np.float32)
    return np.asarray(mixed, np.float32)


def _bilinear(values: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` at the middles of cells, linear between them, level beyond the outermost."""

    def weights(at: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        place = (at - 0.5).clip(0, count - 1)
        low = np.minimum(place.astype(int), max(count - 2, 0))
        rows = np.zeros((len(at), count))
        rows[np.arange(len(at)), low] = 1 - (place - low)
        rows[np.arange(len(at)), np.minimum(low + 1, count - 1)] += place - low
        return rows

    return np.asarray(weights(y, len(values)) @ values @ weights(x, values.shape[1]).T)


def _outline(
    canvas: NDArray[np.float32], region: Region, x: NDArray[np.float64], y: NDArray[np.float64], width: int
) -> None:
    """White over black along the border inside a region; dashed where it speaks against."""
    rows, cols = np.floor(y).astype(int), np.floor(x).astype(int)
    inside = np.zeros((len(y), len(x)), bool)
    for r, c in region.cells:
        inside |= (rows == r)[:, None] & (cols == c)[None, :]
    edges = []
    for reach in (width, 2 * width):
        padded = np.pad(inside, reach)
        core = inside.copy()
        for down, right in ((-reach, 0), (reach, 0), (0, -reach), (0, reach), *_corners(reach)):
            core &= np.roll(padded, (down, right), (0, 1))[reach:-reach, reach:-reach]
        edges.append(inside & ~core)
    canvas[edges[1]] *= 0.35
    dash = 10 * width
    along = (np.arange(len(y))[:, None] + np.arange(len(x))[None, :]) % dash < dash * 0.6
    canvas[edges[0] & (along if region.score < 0 else True)] = 255


def _corners(reach: int) -> list[tuple[int, int]]:
    return [(down, right) for down in (-reach, reach) for right in (-reach, reach)]


def smooth_image(drawn: ImageMap) -> Image:
    """The map alone, bilinear between its cells, as transparent as its scores are small: a palette of 121 steps."""
    from PIL import Image

    grid = drawn.grid
    pixels = max(1, min(24, _SMOOTH // max(grid.rows, grid.cols)))
    x, y = ((np.arange(count * pixels) + 0.5) / pixels for count in (grid.cols, grid.rows))
    tenths = _bilinear(np.array(drawn.scores) / (drawn.largest or 1.0), x, y) * 10
    steps = (tenths * 6).round().astype(int) + 60
    image = Image.frombytes("P", (len(x), len(y)), steps.astype(np.uint8).tobytes())
    against, favour = _rgb(MAP_COLOURS["against"]), _rgb(MAP_COLOURS["for"])
    image.putpalette([channel for step in range(121) for channel in (favour if step > 60 else against)])
    image.info["transparency"] = bytes(round(255 * opacity(1) * abs(step - 60) / 6) for step in range(121))
    return image


def smooth_map(drawn: ImageMap) -> str:
    """`smooth_image` as a data URL of a PNG."""
    target = io.BytesIO()
    smooth_image(drawn).save(target, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
