# SPDX-License-Identifier: Apache-2.0
"""captum's infidelity and sensitivity (Yeh et al. 2019) over a text's units and its embeddings (extra `bench`).

Axes: n units of a text, T tokens, H embedding units, S samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..metrics.arrays import as_finite
from ..model_values import TextValues
from .gradients import GRADIENT_METHODS, path_gradients, path_points, token_scores
from .peers import binary_answer, load_peer


def infidelity(
    text: TextValues, target: int, scores: ArrayLike, *, samples: int = 100, normalize: bool = False, seed: int = 0
) -> float:
    """E_I [(sum of the scores in I - (f(x) - f(x without I)))^2] over random subsets I of the units; lower is better.

    For integrated gradients the sum is I^T Phi in embedding space with I the difference to the baseline on the subset.
    f is what all methods explain, the (centred) logit.

    Args:
        text: made by `ModelValues.of`.
        target: class id.
        scores: (n,).
        samples: S subsets, each size from 1 to n as likely.
        normalize: scale the scores by the best factor first, for methods that give an order and no amounts.
        seed: of the subsets.

    Raises:
        ImportError: captum is not installed.
        ValueError: scores that do not fit or are not finite, or fewer than one sample.
    """
    unit_scores = as_finite(scores, "scores")
    if unit_scores.shape != (text.n,) or samples < 1:
        raise ValueError(f"scores must be ({text.n},) and samples at least 1, got {unit_scores.shape} and {samples}.")
    answer = binary_answer(text.explained(target))
    generator = np.random.default_rng(seed)

    def forward(masks: Tensor) -> Tensor:
        return torch.from_numpy(answer(masks))

    def perturb(masks: Tensor) -> tuple[Tensor, Tensor]:
        sizes = generator.integers(1, text.n + 1, len(masks))
        gone = torch.from_numpy(generator.random(masks.shape).argsort(1).argsort(1) < sizes[:, None]).double()
        return gone, masks - gone

    (mean,) = load_peer("captum.metrics").infidelity(
        forward,
        perturb,
        torch.ones(1, text.n, dtype=torch.float64),
        torch.from_numpy(unit_scores)[None],
        n_perturb_samples=samples,
        normalize=normalize,
    )
    return float(mean)


def sensitivity_max(
    text: TextValues,
    target: int,
    method: str = "gradient_x_input",
    *,
    radius: float = 0.02,
    samples: int = 10,
    steps: int = 50,
    seed: int = 0,
) -> float:
    """max_r |Phi(e + r) - Phi(e)| / |Phi(e)| over embeddings e moved by |r|_inf <= radius; lower is better.

    Args:
        text, target: as in `infidelity`.
        method: one of `GRADIENT_METHODS`; Phi are its token scores.
        radius, samples: captum's `perturb_radius` and `n_perturb_samples`.
        steps: of integrated gradients.
        seed: of the moves.

    Raises:
        ImportError: captum is not installed.
        ValueError: another method, or a family without gradients by its embeddings.
    """
    if method not in GRADIENT_METHODS:
        raise ValueError(f"method must be one of {', '.join(GRADIENT_METHODS)}, got {method!r}.")
    values = text.owner
    points = path_points(method, steps)
    (start,) = path_gradients(values, [text], [target], [1.0])

    def explain(embeddings: Any) -> tuple[Tensor]:  # (S, T, H), or a tuple of it, to (S, T)
        rows = embeddings[0] if isinstance(embeddings, tuple) else embeddings
        shifts = [row - start.embedded for row in rows]
        count = len(shifts)
        gradients = path_gradients(values, [text] * count, [target] * count, points, shifts=shifts)
        return (torch.stack([token_scores(method, gradient) for gradient in gradients]),)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        (highest,) = load_peer("captum.metrics").sensitivity_max(
            explain, start.embedded[None], perturb_radius=radius, n_perturb_samples=samples
        )
    return float(highest)
