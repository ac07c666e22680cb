# SPDX-License-Identifier: Apache-2.0
"""The images of the study: CIFAR-10's test images, stripes planted into them, and PneumoniaMNIST.

Axes: B images of SIDE x SIDE pixels.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, PATTERN, CELL = 32, 8, 4
STRIPES = ["none", "horizontal", "vertical", "diagonal"]
TRAINING = 8_000  # of CIFAR's 10,000 test images; the others are for testing
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """`pixels` (B, SIDE, SIDE, 3) uint8, `labels` (B,), `regions` (B, SIDE / CELL, SIDE / CELL) bool where planted."""

    pixels: Pixels
    labels: NDArray[np.int64]
    names: list[str]
    regions: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """Some of them."""
        regions = None if self.regions is None else self.regions[rows]
        return Images(self.pixels[rows], self.labels[rows], self.names, regions)


def cifar(path: Path, at_most: int | None = None) -> tuple[Images, Images]:
    """Training and test images out of a tar with a folder a class, the same whatever their order in it."""
    found: list[tuple[str, bytes]] = []
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".jpg") else None
            if file is not None:
                found.append((member.name, file.read()))
    names = sorted({name.split("/")[-2] for name, _ in found})
    found = [sorted(found)[row] for row in np.random.default_rng(0).permutation(len(found))][:at_most]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for _, data in found])
    everything = Images(pixels, np.array([names.index(name.split("/")[-2]) for name, _ in found]), names)
    cut = len(found) * TRAINING // 10_000
    return everything.take(np.arange(cut)), everything.take(np.arange(cut, len(found)))


def pneumonia(path: Path) -> tuple[Images, Images]:
    """Training and test images of PneumoniaMNIST, enlarged from 28 to 32 pixels a side. Not for clinical use."""
    arrays = np.load(path)
    parts = []
    for part in ("train", "test"):
        enlarged = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("RGB")
                    for image in arrays[f"{part}_images"]]  # fmt: skip
        pixels = np.stack([np.asarray(image) for image in enlarged])
        parts.append(Images(pixels, arrays[f"{part}_labels"].reshape(-1).astype(np.int64), ["normal", "pneumonia"]))
    return parts[0], parts[1]


def stripes(kind: int) -> Pixels:
    """(PATTERN, PATTERN, 3) of one of STRIPES: dark and bright lines two pixels wide."""
    row, column = np.mgrid[:PATTERN, :PATTERN]
    along = {1: row, 2: column, 3: row + column}[kind]
    return np.where((along // 2 % 2 == 0)[..., None], 230, 25).astype(np.uint8).repeat(3, axis=-1)


def planted(backgrounds: Images, seed: int) -> Images:
    """A pattern out of STRIPES, or none, in each image; it alone decides the class. It covers whole cells."""
    draw = np.random.default_rng(seed)
    pixels, labels = backgrounds.pixels.copy(), draw.integers(0, len(STRIPES), len(backgrounds))
    regions = np.zeros((len(pixels), SIDE // CELL, SIDE // CELL), dtype=bool)
    for image, label, region in zip(pixels, labels, regions, strict=True):
        if label:
            _plant(image, int(label), _place(draw), region)
    return Images(pixels, labels, STRIPES, regions)


def planted_twice(backgrounds: Images, seed: int) -> tuple[Images, NDArray[np.int64], NDArray[np.bool_]]:
    """Two patterns in each image, which no training image has: the first's images, the second's labels and regions."""
    draw = np.random.default_rng(seed)
    pixels, shape = backgrounds.pixels.copy(), (len(backgrounds), SIDE // CELL, SIDE // CELL)
    regions, others = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    kinds = np.stack([1 + draw.permutation(len(STRIPES) - 1)[:2] for _ in pixels])
    for image, (first, second), region, other in zip(pixels, kinds, regions, others, strict=True):
        place = _place(draw)
        _plant(image, int(first), place, region)
        while np.abs(np.subtract(place, again := _place(draw))).max() < PATTERN // CELL:
            pass
        _plant(image, int(second), again, other)
    return Images(pixels, kinds[:, 0], STRIPES, regions), kinds[:, 1], others


def _place(draw: np.random.Generator) -> tuple[int, int]:
    """The first cell that a pattern covers."""
    row, column = draw.integers(0, (SIDE - PATTERN) // CELL + 1, 2)
    return int(row), int(column)


def _plant(image: Pixels, kind: int, place: tuple[int, int], region: NDArray[np.bool_]) -> None:
    row, column = place
    image[row * CELL : row * CELL + PATTERN, column * CELL : column * CELL + PATTERN] = stripes(kind)
    region[row : row + PATTERN // CELL, column : column + PATTERN // CELL] = True
