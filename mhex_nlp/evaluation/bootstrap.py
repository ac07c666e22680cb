# SPDX-License-Identifier: Apache-2.0
"""Percentile bootstrap over rows (texts, rounds, or whatever was drawn independently), and figures with intervals.

Axes: B rows, k columns of a figure, R draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics.arrays import Floats, as_finite

Statistic = Callable[[Floats], Floats]  # (R, k) means over texts to (R,)
_CHUNK = 1_000_000  # rows drawn at a time


def bootstrap(
    values: NDArray[Any],
    statistic: Callable[[NDArray[Any]], Any],
    draws: int,
    seed: int | np.random.Generator,
) -> Floats:
    """A statistic of `draws` samples of the rows, drawn with replacement.

    Args:
        values: (B, ...), at least one row.
        statistic: (r, B, ...), r samples, to (r,).
        draws: R; the result is (R,) float64.
        seed: equal seeds draw the same rows, whatever the values; a generator goes on from where it is.
    """
    generator, rows = np.random.default_rng(seed), len(values)
    step = max(1, _CHUNK // rows)  # the numbers drawn are the same for any step
    chunks = [
        statistic(values[generator.integers(0, rows, (min(step, draws - start), rows))])
        for start in range(0, draws, step)
    ]
    return np.concatenate(chunks).astype(np.float64)


def percentile_interval(drawn: Floats) -> tuple[float, float]:
    """The ends of the 95 % interval of (R,) bootstrap draws."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure over all texts, and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def mean_of(means: Floats) -> Floats:
    """The statistic of a figure with one column: its mean."""
    return means[:, 0]


def f1_of(means: Floats) -> Floats:
    """F1 of a mean precision and a mean recall, (R, 2) to (R,); 0 where both are 0."""
    total = means.sum(1)
    return np.divide(2 * means[:, 0] * means[:, 1], total, out=np.zeros_like(total), where=total > 0)


def interval(columns: Floats, statistic: Statistic, draws: int, seed: int) -> Interval:
    """The statistic of (B, k) columns over all texts with its 95 % interval.

    Equal seeds draw the same texts, whatever the figure.
    """
    value, drawn = _bootstrapped(columns, statistic, draws, seed)
    return Interval(value, *percentile_interval(drawn))


def paired_interval(columns: Floats, others: Floats, statistic: Statistic, draws: int, seed: int) -> Interval:
    """How much more the statistic is of `columns` than of `others` on the same texts, with its 95 % interval."""
    value, drawn = _bootstrapped(columns, statistic, draws, seed)
    other_value, other_drawn = _bootstrapped(others, statistic, draws, seed)
    return Interval(value - other_value, *percentile_interval(drawn - other_drawn))


def _bootstrapped(columns: Floats, statistic: Statistic, draws: int, seed: int) -> tuple[float, Floats]:
    values = as_finite(columns, "columns")
    if values.ndim != 2 or len(values) < 2 or draws < 1:
        raise ValueError(f"columns must be (B, k) with at least two texts, got {values.shape} and {draws} draws.")
    value = float(statistic(values.mean(0, keepdims=True))[0])
    return value, bootstrap(values, lambda samples: statistic(samples.mean(1)), draws, seed)
