# SPDX-License-Identifier: Apache-2.0
"""A text as a game: its units are the players, and a value function says what the model makes of any subset kept.

Axes: n units (tokens or words) of one text, S subsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import Bools, Floats, as_finite, as_scores

# (S, n) bool, true where a unit is kept -> (S,) values; `TextValues.value` makes one from a model.
ValueFunction = Callable[[Bools], ArrayLike]


def coalition_values(value: ValueFunction, keep: ArrayLike) -> Floats:
    """The values of S subsets, each distinct subset computed once and all of them in one call.

    Of (S, n) bool, true where a unit is kept: (S,) float64. ValueError for another shape, also of the result of
    `value`, or values that are not finite.
    """
    masks = np.asarray(keep, dtype=bool)
    if masks.ndim != 2 or not masks.size:
        raise ValueError(f"keep must be (S, n) with at least one subset and one unit, got shape {masks.shape}.")
    _, first, inverse = np.unique(np.packbits(masks, axis=1), axis=0, return_index=True, return_inverse=True)
    values = as_finite(value(masks[first]), "the value function's result")
    if values.shape != (len(first),):
        raise ValueError(f"the value function must give ({len(first)},) for as many subsets, got {values.shape}.")
    return values[inverse.reshape(-1)]


def removal_order(scores: ArrayLike) -> tuple[int, ...]:
    """Units from the highest score to the lowest; equal scores in reading order. ValueError for scores not finite."""
    return tuple(np.argsort(-as_scores(scores), kind="stable").tolist())


def removal_masks(order: Sequence[int] | NDArray[np.int64]) -> Bools:
    """(n + 1, n) bool: what is kept after the first 0, 1, ... n units of `order` are gone.

    ValueError unless `order` names each of its n units once.
    """
    places = np.asarray(order, dtype=np.int64)
    if places.ndim != 1 or not np.array_equal(np.sort(places), np.arange(len(places))):
        raise ValueError(f"order must name each of its units once, got {list(order)!r:.80}.")
    position = np.argsort(places)  # (n,) when each unit goes
    return np.arange(len(places) + 1)[:, None] <= position[None, :]


def leave_one_out_masks(n: int) -> Bools:
    """(n + 1, n) bool: everything kept, then everything but each unit. ValueError for n < 1."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    return np.concatenate([np.ones((1, n), dtype=bool), ~np.eye(n, dtype=bool)])


def leave_one_out(value: ValueFunction, n: int) -> Floats:
    """v(N) - v(N without i) for each unit i, (n,) float64 (Jain and Wallace 2019). ValueError for n < 1."""
    values = coalition_values(value, leave_one_out_masks(n))
    return values[0] - values[1:]
