# SPDX-License-Identifier: Apache-2.0
"""Percentile bootstrap over texts.

Axes: B texts, k columns of a figure, R draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..metrics.arrays import Floats, as_finite

Statistic = Callable[[Floats], Floats]  # (R, k) means over texts to (R,)

_CHUNK = 1_000_000  # numbers drawn at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure over all texts, and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def mean_of(means: Floats) -> Floats:
    """The statistic of a figure with one column: its mean."""
    first: Floats = means[:, 0]
    return first


def f1_of(means: Floats) -> Floats:
    """F1 of a mean precision and a mean recall, (R, 2) to (R,); 0 where both are 0."""
    total = means.sum(1)
    found: Floats = np.divide(2 * means[:, 0] * means[:, 1], total, out=np.zeros_like(total), where=total > 0)
    return found


def bootstrap_means(columns: Floats, draws: int, seed: int) -> Floats:
    """Means over texts drawn with replacement: (B, k) to (R, k). Equal seeds draw the same texts, whatever the figure.

    Raises:
        ValueError: fewer than two texts, values that are not finite, or no draws.
    """
    values = as_finite(columns, "columns")
    if values.ndim != 2 or len(values) < 2 or draws < 1:
        raise ValueError(f"columns must be (B, k) with at least two texts, got {values.shape} and {draws} draws.")
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(values))
    parts = []
    for start in range(0, draws, step):
        chosen = generator.integers(0, len(values), (min(step, draws - start), len(values)))
        parts.append(values[chosen].mean(1))
    return np.concatenate(parts)


def interval(columns: Floats, statistic: Statistic, draws: int, seed: int) -> Interval:
    """The statistic over all texts with its 95 % interval; arguments and errors as in `bootstrap_means`."""
    return _interval(statistic(_over_all(columns)), statistic(bootstrap_means(columns, draws, seed)))


def paired_interval(columns: Floats, others: Floats, statistic: Statistic, draws: int, seed: int) -> Interval:
    """How much more the statistic is of `columns` than of `others` on the same texts, with its 95 % interval."""
    drawn = statistic(bootstrap_means(columns, draws, seed)) - statistic(bootstrap_means(others, draws, seed))
    return _interval(statistic(_over_all(columns)) - statistic(_over_all(others)), drawn)


def _over_all(columns: Floats) -> Floats:
    return columns.mean(0, keepdims=True)


def _interval(value: Floats, drawn: Floats) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(value[0]), float(low), float(high))
