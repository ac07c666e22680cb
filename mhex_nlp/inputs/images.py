# SPDX-License-Identifier: Apache-2.0
"""Images as users have them, loaded the same way each time: upright, RGB, 8 bits, with what was done to them.

Image processors refuse or silently misread much of what there is: grey and transparent images, 16 bits, floats from 0
to 1, photographs that a camera stored on their side. So images are made plain before a processor sees them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_DEEP = ("I", "I;16", "I;16B", "I;16L", "F")  # PIL's modes of more than 8 bits


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """One image as models get it: `image` is RGB, of 8 bits, upright."""

    image: Image.Image = field(repr=False, compare=False)
    width: int
    height: int
    sha256: str  # of size and pixels
    name: str | None = None  # of the file, without its folder
    notes: tuple[str, ...] = ()  # what was done to it, one sentence each

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height


def load_image(source: Any, *, window: tuple[float, float] | None = None, id: str | None = None) -> LoadedImage:
    """An image, whatever it comes as.

    Args:
        source: a PIL image, a path, the bytes of a file, uint8 values (H, W), (H, W, 3) or (H, W, 4), 16-bit integers
            or floats (H, W) with a `window`, or what `datasets` has in an Image column ({"bytes", "path"}).
        window: values that become black and white, where an image has more than 8 bits.
        id: of the image among others, for sentences.

    Raises:
        TypeError: nothing of these.
        ValueError: a file that is no image, empty or cut off; values of more than 8 bits, or floats, without a window;
            a window out of order; no pixels.
        FileNotFoundError: no such file.
    """
    if window is not None and not (len(window) == 2 and np.isfinite(window).all() and window[0] < window[1]):
        raise ValueError(f"window must be two values, black before white, got {window!r}.")
    if isinstance(source, LoadedImage):
        return source
    name = "image" if id is None else f"image {id}"
    file, opened = _opened(source, name)
    notes: list[str] = []
    try:
        upright = ImageOps.exif_transpose(opened)
        upright.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} is broken or cut off and cannot be read: {error}.") from error
    if upright.size != opened.size or opened.getexif().get(0x0112, 1) not in (1, None):
        notes.append("Turned upright, as its orientation tag says.")
    if (frames := getattr(opened, "n_frames", 1)) > 1:
        notes.append(f"Read its first of {frames} frames.")
    if upright.mode in _DEEP:
        upright = _windowed(np.asarray(upright), window, name)
        assert window is not None  # or there was an error
        notes.append(f"Values from {window[0]:g} to {window[1]:g} shown as black to white.")
    elif upright.mode != "RGB":
        notes.append(f"Converted from mode {upright.mode} to RGB{_over_white(upright)}.")
    rgb = _flattened(upright)
    if min(rgb.size) < 1:
        raise ValueError(f"{name} must have pixels, got {rgb.size[0]} x {rgb.size[1]}.")
    digest = hashlib.sha256(f"{rgb.size[0]} {rgb.size[1]} ".encode() + rgb.tobytes()).hexdigest()
    return LoadedImage(rgb, *rgb.size, digest, file, tuple(notes))


def iterate_images(images: Any) -> Iterator[Any]:
    """The sources in what holds several: a folder (its files in order, with those of its folders), a list, a generator,
    or an Image column of `datasets`, whose rows are read one by one.

    Raises:
        TypeError: a single image, or nothing that holds images.
        ValueError: a folder without images.
    """
    if isinstance(images, str | Path):
        folder = Path(images)
        if not folder.is_dir():
            raise TypeError(f"images must be a folder or several images, got the path {str(images)!r} of no folder.")
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not files:
            raise ValueError(f"images must hold files such as {SUFFIXES[0]} or {SUFFIXES[1]}, got {folder} with none.")
        return iter(files)
    if isinstance(images, Image.Image | bytes | Mapping) or not isinstance(images, Iterable):
        raise TypeError(f"images must be several images, got one {type(images).__name__}: put it into a list.")
    return iter(images)


def _opened(source: Any, name: str) -> tuple[str | None, Image.Image]:
    """The name of the file, where there is one, and the image as it is stored."""
    if isinstance(source, Image.Image):
        return None, source
    if isinstance(source, Mapping) and {"bytes", "path"} & source.keys():
        path = source.get("path")
        content = source.get("bytes")
        if content is None and path is None:
            raise ValueError(f"{name} must have bytes or a path, got neither.")
        file, image = _opened(content if content is not None else path, name)
        return file or (None if path is None else Path(path).name), image
    if isinstance(source, str | Path):
        if not Path(source).is_file():
            raise FileNotFoundError(f"{name} must be the path of a file, got {str(source)!r}, where there is none.")
        return Path(source).name, _decoded(Path(source).read_bytes(), name)
    if isinstance(source, bytes | bytearray):
        return None, _decoded(bytes(source), name)
    if hasattr(source, "__array__"):
        return None, _of_array(np.asarray(source), name)
    raise TypeError(
        f"{name} must be a PIL image, a path, the bytes of a file or an array of uint8, got {type(source).__name__}."
    )


def _decoded(content: bytes, name: str) -> Image.Image:
    if not content:
        raise ValueError(f"{name} must be an image, got an empty file.")
    try:
        return Image.open(io.BytesIO(content))
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} must be an image, got a file of no format that is known.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} is broken or cut off and cannot be read: {error}.") from error


def _of_array(values: np.ndarray, name: str) -> Image.Image:
    """An array as an image; deep values stay as they are, for a window to be put on them."""
    shape = "(H, W), (H, W, 3) or (H, W, 4)"
    if values.ndim == 2 and values.dtype.kind in "iuf" and values.dtype != np.uint8:
        return Image.fromarray(values.astype(np.float32))  # mode F
    if values.dtype != np.uint8:
        raise ValueError(f"{name} must have values of uint8, 0 to 255, got {values.dtype}; (x * 255).astype('uint8').")
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))) or 0 in values.shape:
        raise ValueError(f"{name} must be an array {shape} with pixels, got {values.shape}.")
    return Image.fromarray(values)


def _windowed(values: np.ndarray, window: tuple[float, float] | None, name: str) -> Image.Image:
    if window is None:
        raise ValueError(
            f"{name} has values of more than 8 bits, or floats ({values.min():g} to {values.max():g}): give "
            "window=(black, white), the values that are to be shown as black and as white."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must have finite values, got some that are not.")
    black, white = window
    shown = np.clip((values.astype(np.float64) - black) / (white - black), 0, 1)
    return Image.fromarray(np.round(255 * shown).astype(np.uint8))


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _over_white(image: Image.Image) -> str:
    return ", transparent parts over white" if _transparent(image) else ""


def _flattened(image: Image.Image) -> Image.Image:
    if not _transparent(image):
        return image.convert("RGB")
    over = image.convert("RGBA")
    white = Image.new("RGBA", over.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, over).convert("RGB")
