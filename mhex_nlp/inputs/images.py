# SPDX-License-Identifier: Apache-2.0
"""Images as users have them, loaded the same way each time: upright, RGB, 8 bits, with what was done to them.

Image processors refuse or silently misread much of what there is: grey and transparent images, 16 bits, floats from 0
to 1, photographs that a camera stored on their side. So images are made plain before a processor sees them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_ORIENTATION = 0x0112  # the tag of EXIF
_TURNED = range(2, 9)  # its values that turn or mirror an image
_AS_RGB = {"La": "LA", "RGBa": "RGBA"}  # what Pillow cannot convert to RGB at once


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
        TypeError: nothing of these, or a window that is no pair of numbers.
        ValueError: a file that is no image, empty or cut off; values of more than 8 bits, or floats, without a window;
            a window out of order, or one for colours of more than 8 bits; no pixels.
        FileNotFoundError: no such file.
    """
    window = check_window(window)
    if isinstance(source, LoadedImage):
        return source
    name = "image" if id is None else f"image {id}"
    file, opened = _opened(source, name)
    name = _with_file(name, file)
    with _readable(name):
        upright, notes = _upright(opened, window, name)
    if min(upright.size) < 1:
        raise ValueError(f"{name} must have pixels, got {upright.size[0]} x {upright.size[1]}.")
    if upright.mode[0] in "IF":  # Pillow's modes of more than 8 bits
        upright = _windowed(np.asarray(upright), window, name)
        assert window is not None  # or there was an error
        notes.append(f"Values from {window[0]:g} to {window[1]:g} shown as black to white.")
    elif upright.mode != "RGB" or _transparent(upright):
        notes.append(f"Converted from mode {upright.mode} to RGB{_over_white(upright)}.")
    rgb = _flattened(upright)
    digest = hashlib.sha256(f"{rgb.size[0]} {rgb.size[1]} ".encode() + rgb.tobytes()).hexdigest()
    return LoadedImage(rgb, *rgb.size, digest, file, tuple(notes))


def check_window(window: Any) -> tuple[float, float] | None:
    """A window as it is; TypeError or ValueError for what is no pair of values, black before white, and not `None`."""
    if window is None:
        return None
    said = f"window must be two values, black before white, got {window!r:.80}."
    try:
        black, white = map(float, window)
    except ValueError as error:
        raise ValueError(said) from error
    except TypeError as error:
        raise TypeError(said) from error
    if isinstance(window, str) or not (np.isfinite([black, white]).all() and black < white):
        raise ValueError(said)
    return black, white


def iterate_images(images: Any) -> Iterator[Any]:
    """The sources in what holds several: a folder (its files in order, with those of its folders), a list, a generator,
    or an Image column of `datasets`, whose rows are read one by one.

    Raises:
        TypeError: a single image, or nothing that holds images.
        ValueError: a folder without images.
    """
    if isinstance(images, str | Path):
        folder = Path(images)
        if not is_folder(images):
            raise TypeError(
                f"images must be a folder or several images, got the path {str(images)!r:.200} of no folder."
            )
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not files:
            raise ValueError(f"images must hold files such as {SUFFIXES[0]} or {SUFFIXES[1]}, got {folder} with none.")
        return iter(files)
    if hasattr(images, "read"):
        raise TypeError(f"images must be several images, got a {type(images).__name__}: give the bytes in a file.")
    if isinstance(images, Image.Image | bytes | bytearray | memoryview | Mapping) or not isinstance(images, Iterable):
        advice = "give the Image column of a split" if isinstance(images, Mapping) else "put it into a list"
        raise TypeError(f"images must be several images, got one {type(images).__name__}: {advice}.")
    return iter(images)


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of this name; of one that no file can have, there is none."""
    try:
        return Path(path).is_dir()
    except OSError:  # too long
        return False


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """What Pillow raises of a damaged file, which may be anything, as a ValueError that says so."""
    try:
        yield
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} must be an image, got a file of no format that is known.") from error
    except _Refused as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is broken or cut off and cannot be read: {said}.") from error


class _Refused(ValueError):
    """A sentence of our own among what Pillow raises."""


def _upright(opened: Image.Image, window: tuple[float, float] | None, name: str) -> tuple[Image.Image, list[str]]:
    """The image as its orientation tag has it, with its pixels, and what was done to it."""
    notes = []
    depth = _colour_depth(opened)
    if depth and window is not None:
        raise _Refused(f"{name} must have grey values, or 8 bits a colour, for a window, got {depth} a colour.")
    upright = ImageOps.exif_transpose(opened)
    upright.load()
    if opened.getexif().get(_ORIENTATION) in _TURNED:
        notes.append("Turned upright, as its orientation tag says.")
    if (frames := getattr(opened, "n_frames", 1)) > 1:
        number = opened.tell() + 1
        notes.append(f"Read its {'first' if number == 1 else f'number {number}'} of {frames} frames.")
    if depth:
        notes.append(f"Read 8 of its {depth} a colour.")
    return upright, notes


def _colour_depth(opened: Image.Image) -> str:
    """How deep a colour file is that Pillow cuts to 8 bits as it reads it; empty of any other."""
    if opened.mode[0] in "IF":
        return ""
    for tile in getattr(opened, "tile", None) or ():
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(value, str) and ";16" in value for value in arguments[:1]) or (
            tile[0] == "ppm" and isinstance(arguments[-1], int) and arguments[-1] > 255
        ):
            return "16 bits"
    return ""


def _opened(source: Any, name: str) -> tuple[str | None, Image.Image]:
    """The name of the file, where there is one, and the image as it is stored."""
    if isinstance(source, Image.Image):
        return None, source
    if isinstance(source, Mapping) and {"bytes", "path"} & source.keys():
        path = source.get("path")
        content = source.get("bytes")
        if content is None and path is None:
            raise ValueError(f"{name} must have bytes or a path, got neither.")
        named = name if content is None or path is None else _with_file(name, Path(path).name)
        file, image = _opened(content if content is not None else path, named)
        return file or (None if path is None else Path(path).name), image
    if isinstance(source, str | Path):
        if not _is_file(source):
            said = f"{name} must be the path of a file, got {str(source)!r:.200}, where there is none."
            raise FileNotFoundError(said)
        file = Path(source).name
        return file, _decoded(Path(source).read_bytes(), _with_file(name, file))
    if isinstance(source, bytes | bytearray):
        return None, _decoded(bytes(source), name)
    if hasattr(source, "__array__"):
        return None, _of_array(_values(source, name), name)
    advice = "; of a dataset, give its Image column" if isinstance(source, Mapping) else ""
    raise TypeError(
        f"{name} must be a PIL image, a path, the bytes of a file or an array of uint8, got "
        f"{type(source).__name__}{advice}."
    )


def _with_file(name: str, file: str | None) -> str:
    """How a sentence calls an image, by the name of its file where there is one."""
    return name if file is None else f"{name} {file!r:.100}"


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # too long
        return False


def _decoded(content: bytes, name: str) -> Image.Image:
    if not content:
        raise ValueError(f"{name} must be an image, got an empty file.")
    with _readable(name):
        return Image.open(io.BytesIO(content))


def _values(source: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(source)
    except (RuntimeError, TypeError, ValueError) as error:  # a tensor that numpy cannot have
        kind = f"{type(source).__name__} of {getattr(source, 'dtype', 'no dtype')}"
        raise TypeError(f"{name} must be values that numpy can read, such as uint8, got a {kind}: {error}") from error


def _of_array(values: np.ndarray, name: str) -> Image.Image:
    """An array as an image; deep values stay as they are, for a window to be put on them."""
    shape = "(H, W), (H, W, 3) or (H, W, 4)"
    if 0 in values.shape:
        raise ValueError(f"{name} must be an array {shape} with pixels, got {values.shape}.")
    if values.ndim == 2 and values.dtype.kind in "iuf" and values.dtype != np.uint8:
        return Image.fromarray(values.astype(np.float32))  # mode F
    if values.dtype != np.uint8:
        raise ValueError(f"{name} must have values of uint8, 0 to 255, got {values.dtype}; (x * 255).astype('uint8').")
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))):
        several = "; several images come in a list" if values.ndim == 4 else ""
        raise ValueError(f"{name} must be an array {shape} with pixels, got {values.shape}{several}.")
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
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _over_white(image: Image.Image) -> str:
    return ", transparent parts over white" if _transparent(image) else ""


def _flattened(image: Image.Image) -> Image.Image:
    image = image.convert(_AS_RGB[image.mode]) if image.mode in _AS_RGB else image
    if not _transparent(image):
        return image.convert("RGB")
    over = image.convert("RGBA")
    white = Image.new("RGBA", over.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, over).convert("RGB")
