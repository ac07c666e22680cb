# SPDX-License-Identifier: Apache-2.0
"""Reference Shapley values by permutation sampling, with a figure for how far they can be trusted.

Axes: n units of one text, P orders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Floats
from .games import ValueFunction, coalition_values
from .ranking import spearman


@dataclass(frozen=True, slots=True)
class ShapleyEstimate:
    """Sampled Shapley values of one text.

    `values` (n,) float64 add up to v(N) - v(empty set), whatever the number of orders. `halves` (2, n) are the
    estimates of either half of the orders. `reliability` is Spearman's rho between the halves; it belongs to half as
    many orders as `values`. `corrected` is the Spearman-Brown estimate for all of them, 2r / (1 + r), and r itself
    where r <= 0. Both are `None` for a single unit. `orders` and `subsets` say how many orders were walked and how many
    distinct subsets were valued.
    """

    values: Floats
    halves: Floats
    reliability: float | None
    corrected: float | None
    orders: int
    subsets: int


def sampled_shapley(
    value: ValueFunction, n: int, *, permutations: int = 64, antithetic: bool = True, seed: int = 0
) -> ShapleyEstimate:
    """Shapley values as the mean marginal contribution over random orders (Castro et al. 2009).

    With `antithetic` each drawn order is walked backwards as well (Mitchell et al. 2022), which cancels most of what
    pairs of units do to each other: an order and its reverse are exact for games of pairs.

    Args:
        value: (S, n) bool, true where a unit is kept, to (S,) values; called once, with each distinct subset.
        n: units of the text.
        permutations: orders in all, reverses included; an even number, a multiple of 4 with `antithetic`, so that both
            halves hold whole pairs.
        antithetic: half of the orders are the reverses of the other half.
        seed: of the orders; equal seeds give equal values.

    Raises:
        ValueError: n below 1, a number of permutations that does not split, or values that are not finite.
    """
    step = 4 if antithetic else 2
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    if permutations < step or permutations % step:
        raise ValueError(
            f"permutations must be a positive multiple of {step}{' when antithetic' * antithetic}, got {permutations}."
        )
    generator = np.random.default_rng(seed)
    orders = np.stack([generator.permutation(n) for _ in range(permutations // (2 if antithetic else 1))])  # (P, n)
    if antithetic:  # each order beside its reverse, so that both halves of the rows are closed under reversal
        orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, n)
    position = np.argsort(orders, axis=1)  # (P, n) when each unit comes
    keep = (position[:, None, :] < np.arange(n + 1)[None, :, None]).reshape(-1, n)  # (P (n + 1), n)
    values = coalition_values(value, keep).reshape(permutations, n + 1)
    steps = np.diff(values, axis=1)  # (P, n) what each newcomer adds
    marginal = np.take_along_axis(steps, position, axis=1)  # (P, n) by unit
    # the first rows are the orders of one half, the others those of the second
    halves = marginal.reshape(2, -1, n).mean(axis=1)
    reliability = spearman(halves[0], halves[1]) if n > 1 else None
    return ShapleyEstimate(
        values=marginal.mean(axis=0),
        halves=halves,
        reliability=reliability,
        corrected=None if reliability is None else spearman_brown(reliability),
        orders=permutations,
        subsets=len(np.unique(np.packbits(keep, axis=1), axis=0)),
    )


def spearman_brown(reliability: float) -> float:
    """What a split-half reliability r becomes with twice the sample: 2r / (1 + r); r itself where r <= 0.

    Raises:
        ValueError: r is not in [-1, 1].
    """
    if not -1 <= reliability <= 1:
        raise ValueError(f"reliability must be in [-1, 1], got {reliability}.")
    return 2 * reliability / (1 + reliability) if reliability > 0 else reliability
