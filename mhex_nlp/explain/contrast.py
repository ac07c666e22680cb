# SPDX-License-Identifier: Apache-2.0
"""Scores of a class beside those of others: a pure function on arrays, of scores from torch or from an exported graph.

Axes: B texts, C labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def contrast(
    scores: NDArray[Any], target: NDArray[np.int64], kind: str, foil: NDArray[np.int64] | None = None
) -> NDArray[Any]:
    """What speaks for the target rather than for the others.

    Args:
        scores: (B, ..., C).
        target: (B,) int64, the explained class of each text.
        kind: "centred" takes the mean over classes off (evidence every class has says little), "foil" the foil's
            score, "none" leaves the target's score as it is.
        foil: (B,) int64, with "foil" only.

    Returns:
        (B, ...), in the dtype of the scores.

    Raises:
        ValueError: an unknown kind, or "foil" without a foil.
    """
    if kind == "centred":
        return _pick(scores, target) - scores.mean(-1)
    if kind == "foil":
        if foil is None:
            raise ValueError("contrast='foil' needs foil, the class ids to compare with.")
        return _pick(scores, target) - _pick(scores, foil)
    if kind == "none":
        return _pick(scores, target)
    raise ValueError(f"contrast must be 'centred', 'foil' or 'none', got {kind!r}.")


def _pick(scores: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[Any]:
    """(B, ..., C), (B,) -> (B, ...): each text's own class."""
    index = ids.reshape(-1, *[1] * (scores.ndim - 1))
    return np.take_along_axis(scores, index, axis=-1)[..., 0]
