# SPDX-License-Identifier: Apache-2.0
"""From the heads' evidence to signed token attributions: pure functions on tensors.

Axes: B texts, T tokens, L depths, C labels. Formulas are our reading of the paper's deep supervision and equivalent
matrix for encoders.
"""

from __future__ import annotations

import torch
from torch import Tensor


def layer_attributions(evidence: Tensor, mask: Tensor | None) -> Tensor:
    """A_l[t, c] = m_t e_l[t, c] / n: each head's logit, less its bias, split over the tokens without remainder.

    Args:
        evidence: (B, T, L, C) float32.
        mask: (B, T) bool, or `None` where every token is real.

    Returns:
        (B, T, L, C) float32, zero on padding; summed over tokens it is head_logits - bias exactly.
    """
    if mask is None:
        return evidence / evidence.shape[1]
    count = mask.sum(1).clamp(min=1)[:, None, None, None]
    return torch.where(mask[..., None, None], evidence, 0.0) / count


def depth_weights(aggregation: str, depths: int, beta: float = 0.5) -> Tensor:
    """The weight alpha_l of each depth: float64 (L,), summing to 1.

    "mean" takes all depths alike, "last" the last alone, "ema" the exponential moving average over depth
    S_1 = A_1, S_l = beta S_{l-1} + (1 - beta) A_l (our reading of the paper's "controlled smoothing").

    Raises:
        ValueError: another name, or no depth.
    """
    if depths < 1:
        raise ValueError(f"depths must be at least 1, got {depths}.")
    weights = torch.zeros(depths, dtype=torch.float64)
    if aggregation == "mean":
        weights[:] = 1 / depths
    elif aggregation == "last":
        weights[-1] = 1
    elif aggregation == "ema":
        weights[0] = 1
        for depth in range(1, depths):
            weights[:depth] *= beta
            weights[depth] = 1 - beta
    else:
        raise ValueError(f"aggregation must be 'mean', 'last' or 'ema', got {aggregation!r}.")
    return weights


def aggregate(per_depth: Tensor, weights: Tensor) -> Tensor:
    """phi[..., c] = sum_l alpha_l A_l[..., c]: (..., L, C) and (L,) to (..., C), in the dtype of `per_depth`."""
    return torch.einsum("...lc,l->...c", per_depth, weights.to(per_depth))
