# SPDX-License-Identifier: Apache-2.0
"""Normalised AOPC: where an order of removal stands between the worst and the best order of its own text.

After Edin et al. (2024), "Normalized AOPC", arXiv 2408.08137: AOPC depends on the model and the text so much that raw
values must not be compared across models; NAOPC = (AOPC - lo) / (hi - lo) may be. Their units are words, all n of them
removed one at a time. Axes: n units, S subsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import Bools, Floats
from .games import ValueFunction, coalition_values, removal_masks

Order = tuple[int, ...]
_SAME = 1e-12  # bounds this close leave nothing to normalise


@dataclass(frozen=True, slots=True)
class AopcBounds:
    """Lowest and highest AOPC over orders of removal, and orders that reach them.

    `exact`: over all n! orders; otherwise over those that beam search found, so `lo` may be too high, `hi` too low.
    """

    lo: float
    hi: float
    worst: Order
    best: Order
    exact: bool


def order_aopc(value: ValueFunction, order: Sequence[int]) -> float:
    """1/n sum_{k=1..n} v(N) - v(N without the first k of `order`), as Edin et al. divide it.

    The order of `removal_order(scores)` measures comprehensiveness, its reverse sufficiency.

    Raises:
        ValueError: `order` does not name each unit once, or values that are not finite.
    """
    values = coalition_values(value, removal_masks(order))
    return float(np.mean(values[0] - values[1:]))


def aopc_bounds(
    value: ValueFunction, n: int, *, n_exact: int = 12, beam: int = 5, orders: Sequence[Sequence[int]] = ()
) -> AopcBounds:
    """The lowest and highest AOPC that any order of removal of a text's n units reaches.

    Up to `n_exact` units exact, from the values of all 2^n subsets: what an order still gains depends on the subset
    gone, not on how it went, so the best order of a subset extends the best order of a smaller one. Beyond, by beam
    search over subsets, about beam * n^2 values.

    Args:
        value: (S, n) bool, true where kept, to (S,) values.
        n: units of the text.
        n_exact: the longest text that is searched exactly; 12 units take 4,096 values.
        beam: subsets kept at each step.
        orders: orders known already, such as those to be normalised; beam search widens its bounds to hold them.

    Raises:
        ValueError: n, `n_exact` or `beam` below its least, an order that does not name each unit once, or values that
            are not finite.
    """
    if n < 1 or n_exact < 0 or beam < 1 or n_exact > 20:
        raise ValueError(
            f"n and beam must be at least 1 and n_exact 0 to 20, got n={n}, beam={beam} and n_exact={n_exact}."
        )
    if n <= n_exact:
        return _exact(value, n)
    known = [*(_beam(value, n, beam, sign) for sign in (-1.0, 1.0)), *(tuple(order) for order in orders)]
    aopcs = [order_aopc(value, order) for order in known]
    low, high = int(np.argmin(aopcs)), int(np.argmax(aopcs))
    return AopcBounds(aopcs[low], aopcs[high], known[low], known[high], exact=False)


def normalised_aopc(aopc: float, bounds: AopcBounds) -> float:
    """(AOPC - lo) / (hi - lo), 0 to 1; 0 where hi = lo, since then no order differs from another.

    An AOPC outside the bounds of a beam search counts as 0 or 1.

    Raises:
        ValueError: an AOPC that is not finite, or outside exact bounds: it is not of the same text and model.
    """
    if not np.isfinite(aopc):
        raise ValueError(f"aopc must be finite, got {aopc}.")
    slack = 1e-6 * max(1.0, abs(bounds.lo), abs(bounds.hi))
    if bounds.exact and not bounds.lo - slack <= aopc <= bounds.hi + slack:
        raise ValueError(f"aopc must be between its exact bounds {bounds.lo:.6g} and {bounds.hi:.6g}, got {aopc:.6g}.")
    width = bounds.hi - bounds.lo
    return float(np.clip((aopc - bounds.lo) / width, 0.0, 1.0)) if width > _SAME else 0.0


def mean_naopc(aopcs: Sequence[float], bounds: Sequence[Sequence[float]], exact: bool = True) -> float:
    """The mean of `normalised_aopc` over texts, from bare numbers.

    Args:
        aopcs: the AOPC of each of B texts.
        bounds: (lower, upper) of each text.
        exact: the bounds hold for all orders, so that an AOPC outside them is an error; `False` for beam search's.

    Raises:
        ValueError: zero texts, lists of different lengths, bounds that are not a finite pair in order, or as
            `normalised_aopc`.
    """
    if len(aopcs) != len(bounds) or not len(aopcs):
        raise ValueError(
            f"aopcs and bounds must have one entry a text, at least one text, got {len(aopcs)} and {len(bounds)}."
        )
    normalised = []
    for index, (aopc, pair) in enumerate(zip(aopcs, bounds, strict=True)):
        if len(pair) != 2 or not np.isfinite(pair).all() or pair[0] > pair[1]:
            raise ValueError(f"bounds[{index}] must be a finite (lower, upper), got {list(pair)}.")
        normalised.append(normalised_aopc(aopc, AopcBounds(float(pair[0]), float(pair[1]), (), (), exact)))
    return float(np.mean(normalised))


def _exact(value: ValueFunction, n: int) -> AopcBounds:
    gone = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1  # (2^n, n), row s holds the bits of s
    values = coalition_values(value, ~gone)
    drops = values[0] - values  # (2^n,), v(N) - v(N without s)
    lo, worst = _best_order(-drops, gone)
    hi, best = _best_order(drops, gone)
    return AopcBounds(-lo / n, hi / n, worst, best, exact=True)


def _best_order(gains: Floats, gone: Bools) -> tuple[float, Order]:
    """The highest sum of gains along a chain from the empty set to the full one, and the order that climbs it."""
    subsets, n = gone.shape
    total = np.full(subsets, -np.inf)
    total[0] = 0.0
    last = np.zeros(subsets, dtype=np.int64)  # the unit that goes last on the best way to a subset
    bits = 1 << np.arange(n)
    sizes = gone.sum(1)
    for size in range(1, n + 1):
        rows = np.flatnonzero(sizes == size)
        before = np.where(gone[rows], total[rows[:, None] ^ bits], -np.inf)  # (rows, n)
        last[rows] = before.argmax(1)
        total[rows] = gains[rows] + before.max(1)
    order, subset = [], subsets - 1
    while subset:
        order.append(int(last[subset]))
        subset ^= 1 << order[-1]
    return float(total[-1]), tuple(reversed(order))


def _beam(value: ValueFunction, n: int, width: int, sign: float) -> Order:
    """The order that beam search finds for the highest (sign 1) or lowest (sign -1) AOPC."""
    full = float(coalition_values(value, np.ones((1, n), dtype=bool))[0])
    states: list[tuple[float, Order]] = [(0.0, ())]
    for _ in range(n):
        reached: dict[frozenset[int], tuple[float, Order]] = {}
        for total, order in states:
            for unit in set(range(n)) - set(order):
                subset = frozenset((*order, unit))
                if subset not in reached or total > reached[subset][0]:
                    reached[subset] = (total, (*order, unit))
        keep = np.ones((len(reached), n), dtype=bool)
        for row, subset in enumerate(reached):
            keep[row, list(subset)] = False
        drops = sign * (full - coalition_values(value, keep))
        grown = [(total + drop, order) for (total, order), drop in zip(reached.values(), drops, strict=True)]
        states = sorted(grown, key=lambda state: (-state[0], state[1]))[:width]  # ties in reading order: repeatable
    return states[0][1]
