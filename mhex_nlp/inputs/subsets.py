# SPDX-License-Identifier: Apache-2.0
"""Which tokens of a text are kept when a model is asked about parts of it. Without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def drawn_subsets(content: int, masks: int, seed: Sequence[int]) -> NDArray[np.bool_]:
    """(S, N) bool: random subsets with sizes drawn uniformly, each with its complement, and the whole set last."""
    whole = np.ones((1, content), dtype=bool)
    if content < 2:
        return whole
    kept, generator = np.zeros((masks // 2, content), dtype=bool), np.random.default_rng(seed)
    for row in kept:
        row[generator.permutation(content)[: generator.integers(1, content)]] = True
    return np.concatenate([kept, ~kept, whole])
