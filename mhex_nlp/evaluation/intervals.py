# SPDX-License-Identifier: Apache-2.0
"""Figures over texts with 95 % bootstrap intervals.

Axes: B rows, k columns of a figure, R draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..explain.bootstrap import bootstrap, percentile_interval
from .metrics.arrays import Floats, as_finite

Statistic = Callable[[Floats], Floats]  # (R, k) means over texts to (R,)


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
