# SPDX-License-Identifier: Apache-2.0
"""Numbers as the metrics take them: float64, finite, never for zero texts.

Axes: B texts, n_i units (tokens or words) of text i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def as_finite(values: ArrayLike, name: str) -> Floats:
    """`values` as float64. ValueError for NaN or infinity: such values are refused, never averaged."""
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} must be finite, got {bad} of {array.size} values that are NaN or infinite.")
    return array


def as_scores(scores: ArrayLike, name: str = "scores") -> Floats:
    """The scores of one text, (n,) float64, n at least 1. ValueError for any other shape, or values not finite."""
    array = as_finite(scores, name)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be (n,) with at least one entry, got shape {array.shape}.")
    return array


def as_mask(mask: ArrayLike, name: str) -> Bools:
    """The marks of one text, (n,) bool, from bools or from 0 and 1. ValueError for anything else."""
    array = np.asarray(mask)
    if array.ndim != 1 or not array.size or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be (n,) of 0 and 1 with at least one entry, got {array!r:.80}.")
    return array.astype(bool)


def text_pairs(first: Sequence[Any], second: Sequence[Any], names: tuple[str, str]) -> list[tuple[str, str, Any, Any]]:
    """(name, name, entry, entry) for each of the B texts that two lists speak of.

    ValueError for zero texts, lists of different lengths, or entries of one text with different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"{names[0]} and {names[1]} must have one entry a text, got {len(first)} and {len(second)}.")
    if not len(first):
        raise ValueError(f"{names[0]} must hold at least one text, got none.")
    rows = []
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        if len(one) != len(other):
            raise ValueError(
                f"{names[0]}[{index}] and {names[1]}[{index}] must align, got {len(one)} and {len(other)} entries."
            )
        rows.append((f"{names[0]}[{index}]", f"{names[1]}[{index}]", one, other))
    return rows
