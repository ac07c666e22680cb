# SPDX-License-Identifier: Apache-2.0
"""Small images in folders, with a folder a class, and files among them that are none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of its own, always the same: noise with a bright square."""
    draw = np.random.default_rng(number)
    pixels = draw.integers(0, 120, (size[1], size[0], 3), dtype=np.uint8)
    pixels[5:15, 5 + number % 20 : 15 + number % 20] = 250
    return Image.fromarray(pixels)


def png(number: int) -> bytes:
    """That picture as the bytes of a file."""
    with io.BytesIO() as file:
        picture(number).save(file, "PNG")
        return file.getvalue()


def class_folder(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 3, bad: bool = False) -> Path:
    """A folder with a folder a class; with `bad`, two more files, one cut short and one no image at all."""
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            (folder / name / f"{number}.png").write_bytes(png(index * each + number))
    if bad:
        (folder / classes[0] / "a cut.png").write_bytes(png(77)[:200])
        (folder / classes[1] / "b none.jpg").write_bytes(b"not an image")
    return folder
