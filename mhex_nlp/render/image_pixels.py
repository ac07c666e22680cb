# SPDX-License-Identifier: Apache-2.0
"""The pixels that are handed in beside an image explanation: checked against it, and packed for a page."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

_DATA_URL = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/]+={0,2})")
_LOSSLESS = 128  # pixels a side: up to this size JPEG saves nothing, and its blocks would show
# Longest side and JPEG quality, tried in turn.
_SIZES = ((1024, 82), (1024, 70), (896, 70), (768, 70), (640, 66), (512, 62), (384, 60), (256, 55), (128, 50))


def picture_of(form: Mapping[str, Any], pixels: Any = None) -> Image | None:
    """The picture as RGB without metadata; None where there are no pixels, in the form or beside it.

    Args:
        form: an image explanation in JSON form; its `image.data` stands in for `pixels`.
        pixels: a PIL image, or a data URL of a PNG or JPEG.

    Raises:
        TypeError: pixels that are neither.
        ValueError: a data URL that holds no image, or another size than the explanation's.
    """
    from PIL import Image, ImageOps

    pixels = form["image"].get("data") if pixels is None else pixels
    if pixels is None:
        return None
    if isinstance(pixels, str):
        pixels = _decoded(pixels)
    if not isinstance(pixels, Image.Image):
        raise TypeError(f"pixels must be a PIL image or a data URL, got {type(pixels).__name__}.")
    size, shown = (form["image"]["width"], form["image"]["height"]), pixels
    if shown.size != size:
        shown = ImageOps.exif_transpose(shown) if sorted(shown.size) == sorted(size) else shown
    if shown.size != size:
        raise ValueError(
            f"pixels must be the explained image of {size[0]} x {size[1]} pixels, "
            f"got {shown.size[0]} x {shown.size[1]}."
        )
    try:
        rgb = shown.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise ValueError(f"pixels must hold a whole image, got a damaged one: {error}.") from None
    return Image.frombytes("RGB", rgb.size, rgb.tobytes())  # leaves its metadata behind


def _decoded(url: str) -> Image:
    from PIL import Image

    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise ValueError(f"pixels must be a data URL of a PNG or JPEG in base64, got {url[:40]!r}.")
    try:
        return Image.open(io.BytesIO(base64.b64decode(match[1], validate=True)), formats=("PNG", "JPEG"))
    except (OSError, binascii.Error, Image.DecompressionBombError) as error:
        raise ValueError(f"pixels must hold an image: {error}.") from None


def packed(picture: Image, largest: int = 100_000, side: int = 1024) -> tuple[str, tuple[int, int]]:
    """A data URL of at most about `largest` bytes before base64 and `side` pixels a side, and the size it has then.

    Small pictures are PNG, pixel by pixel; others JPEG, which carries no metadata.
    """
    if max(picture.size) <= _LOSSLESS and len(data := _encoded(picture, "PNG")) <= largest:
        return _url("png", data), picture.size
    data, size = b"", picture.size
    for longest, quality in _SIZES:
        smaller = picture.copy()
        smaller.thumbnail((min(side, longest),) * 2)
        data, size = _encoded(smaller, "JPEG", quality=quality, optimize=True, progressive=True), smaller.size
        if len(data) <= largest:
            break
    return _url("jpeg", data), size


def _encoded(picture: Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
