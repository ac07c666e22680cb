# SPDX-License-Identifier: Apache-2.0
"""Explanations by gradients: norm, times input, and integrated along the way from [MASK] to the text.

Axes: B texts, T tokens of a text, H embedding units, S points of a path. What is differentiated is the target's
(centred) logit (`ModelValues.explained`), by the word embeddings alone (`models/path_gradients.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...models.path_gradients import PathGradient, midpoints
from ...models.path_gradients import path_gradients as gradients_of_items
from ..metrics.arrays import Floats
from ..model_values import ModelValues, TextValues

GRADIENT_METHODS = ("gradient_norm", "gradient_x_input", "integrated_gradients")


def path_gradients(
    values: ModelValues,
    texts: Sequence[TextValues],
    targets: Sequence[int],
    points: Sequence[float],
    *,
    shifts: Sequence[Tensor] | None = None,
) -> list[PathGradient]:
    """Those of `models/path_gradients.py` for texts made by `values`, each of the output explained for its target."""
    labels = torch.eye(len(values.classes))
    weights = torch.stack([values.explained(labels, torch.full((len(labels),), label)) for label in range(len(labels))])
    items, fixed = [text.item for text in texts], [text.fixed for text in texts]
    return gradients_of_items(values, items, fixed, weights[list(targets)], points, shifts=shifts)


def gradient_scores(
    method: str, values: ModelValues, texts: Sequence[TextValues], targets: Sequence[int], steps: int = 50
) -> list[Floats]:
    """Unit scores, the sums of their tokens', by one of `GRADIENT_METHODS`.

    "gradient_norm": |d f / d e_t|, the L2 norm of the gradient by each token's embedding (Li et al. 2016).
    "gradient_x_input": <d f / d e_t, e_t> (Denil et al. 2014). "integrated_gradients" (Sundararajan et al. 2017): by
    the midpoint rule; with many `steps` the scores add up to f(text) - f(text with every unit masked).
    """
    gradients = path_gradients(values, texts, targets, path_points(method, steps))
    return [
        text.unit_scores(token_scores(method, gradient).numpy())
        for text, gradient in zip(texts, gradients, strict=True)
    ]


def token_scores(method: str, gradient: PathGradient) -> Tensor:
    """(T,) scores by one of `GRADIENT_METHODS` off a text's gradient."""
    if method == "gradient_norm":
        return gradient.mean.norm(dim=-1)
    return (gradient.mean * (gradient.path if method == "integrated_gradients" else gradient.embedded)).sum(-1)


def path_points(method: str, steps: int) -> list[float]:
    """Where a method differentiates: at the text, or in the middles of `steps` equal pieces of the path to it."""
    if method != "integrated_gradients":
        return [1.0]
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    return midpoints(steps)
