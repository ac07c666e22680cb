# SPDX-License-Identifier: Apache-2.0
"""Percentile bootstrap over rows: texts, rounds, or whatever was drawn independently.

Axes: B rows, R draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1_000_000  # rows drawn at a time


def bootstrap(
    values: NDArray[Any],
    statistic: Callable[[NDArray[Any]], Any],
    draws: int,
    seed: int | np.random.Generator,
) -> NDArray[np.float64]:
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


def percentile_interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the 95 % interval of (R,) bootstrap draws."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
