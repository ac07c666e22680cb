# SPDX-License-Identifier: Apache-2.0
"""Means with 95 % bootstrap intervals."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from mhex_nlp.evaluation.bootstrap import bootstrap, percentile_interval

DRAWS = 4000


def mean_interval(values: np.ndarray, seed: int = 0, digits: int = 4) -> dict[str, Any]:
    """Mean of (B,) values, with the percentile interval of its bootstrap over them; paired where they are differences.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"values must be (B,) finite numbers, at least one, got {array.size} of shape {array.shape}.")
    low, high = _interval(array.tobytes(), seed)
    return {
        "mean": round(float(array.mean()), digits),
        "interval95": [round(low, digits), round(high, digits)],
        "n": len(array),
    }


@functools.cache  # the report is written after every unit of work, and little of it changes
def _interval(values: bytes, seed: int) -> tuple[float, float]:
    return percentile_interval(bootstrap(np.frombuffer(values), lambda samples: samples.mean(1), DRAWS, seed))
