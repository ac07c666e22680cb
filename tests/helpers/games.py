# SPDX-License-Identifier: Apache-2.0
"""Value functions over the subsets of a few units, made by hand."""

from __future__ import annotations

from typing import Literal

import numpy as np


def random_game(n: int, seed: int, distribution: Literal["uniform", "normal"] = "uniform"):
    """Any value for any subset: the hardest case for a search."""
    generator = np.random.default_rng(seed)
    table = generator.uniform(size=2**n) if distribution == "uniform" else generator.normal(size=2**n)
    return lambda keep: table[keep @ (1 << np.arange(n))]


def additive(weights):
    """Each kept unit is worth its weight."""
    return lambda keep: keep @ np.asarray(weights)
