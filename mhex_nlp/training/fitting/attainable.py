# SPDX-License-Identifier: Apache-2.0
"""How much of a model's answers to removals any additive scores could predict: what a fit's skill is held against.

For each text the best additive scores are regressed on the answers to some hundred subsets of that very text, in
complementary pairs, and the error that is left is counted by its degrees of freedom, so that having been fitted does
not make it smaller (ours, beyond the paper).

Axes: N content tokens, P pairs of complementary subsets, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...explain import skill
from ...explain.refinement import Prior
from ...inputs.removal import random_subsets
from .equations import RowSource
from .error_prior import STEPS, Example, estimate_prior, learn_mix

MIN_PAIRS = 8


@dataclass(frozen=True, slots=True)
class Attainable:
    """The paired skill of each text's own best additive scores."""

    skill: float
    interval: tuple[float, float]  # 95 %, bootstrap over texts
    reliability: float  # of those scores: the share of their variance that is not the error of estimating them
    texts: int
    prior: Prior | None  # of the errors of the fit's scores on these texts


def attainable(
    source: RowSource,
    weights: Tensor,
    texts: Sequence[Any],
    pairs: Sequence[str] | None,
    numbers: Sequence[int],
    *,
    passes: int,
    seed: int,
    with_prior: bool = True,
) -> Attainable | None:
    """Measures texts in order until `passes` forward passes are spent, four for each content token of a text.

    Args:
        source: of the rows, of texts or of images.
        weights: (F, C) of the fit.
        texts, pairs, numbers: held-out texts and their numbers, as for `EquationSource.rows`.
        passes: the most forward passes; a text that would need more is left out.
        seed: of the subsets.
        with_prior: estimate how far the fit's own scores are off, for budgets of further passes.

    Returns:
        `None` where fewer than two texts of two and more tokens were affordable.
    """
    errors, variances, examples = [], [], []
    for index, number in enumerate(numbers):
        text, pair = [texts[index]], None if pairs is None else [pairs[index]]
        tokens = source.content_sizes(text, pair)[0]
        masks = 2 * max(2 * (tokens - 1), MIN_PAIRS)
        if tokens < 2 or masks > passes:
            continue
        passes -= masks
        (rows,) = source.rows(text, pair, [number], seed, masks)
        kept = random_subsets(tokens, masks, [seed, number])[: masks // 2]
        error, variance = _regressed(kept, rows)
        errors.append(error)
        variances.append(variance)
        if not with_prior:
            continue
        contrast = source.contrast_of(rows.target, rows.values.shape[1])
        gradients = source.gradients(text, pair, contrast, STEPS, [seed, number])
        examples.append(example_of(kept, rows, weights)._replace(weights=contrast.numpy(), gradients=gradients))
    if len(errors) < 2:
        return None
    measured, (noise, spread) = np.array(errors), np.sum(variances, axis=0)
    reliability = float(np.clip(1 - noise / spread, 0, 1)) if spread > 0 else 0.0
    prior = estimate_prior(examples)
    if prior is not None:
        prior = replace(prior, mix=learn_mix(examples, prior))
    return Attainable(skill.ratio(measured), skill.interval(measured, seed), reliability, len(measured), prior)


def example_of(kept: Tensor, rows: skill.Rows, weights: Tensor) -> Example:
    """What the fit's own scores miss of the answers for the predicted class.

    Args:
        kept: (P, N) bool, the first half of each pair.
        rows: the answers to all subsets and to the whole text.
        weights: (F, C) float64 of the fit.
    """
    subsets = torch.cat([kept, ~kept, torch.ones_like(kept[:1])]).double()
    scores = torch.linalg.lstsq(subsets, rows.sums.double() @ weights).solution  # (N, C), which the sums are sums of
    scores += (rows.values[-1].double() - scores.sum(0)) / len(scores)
    missed, _ = skill.paired_residuals(weights, rows)
    return Example(kept.numpy() * 2.0 - 1, scores.numpy(), missed[:, rows.target].numpy())


def _regressed(kept: Tensor, rows: skill.Rows) -> tuple[tuple[float, float], tuple[float, float]]:
    """Squared errors of the best scores and of the even spread; variance of estimating the scores, and of the scores.

    With x = ±1 for tokens kept and removed, v(S) - v(N - S) is to be x · phi, where phi is the even spread plus delta,
    and delta adds up to 0. Least squares over the N - 1 dimensions of such deltas leave RSS, whose expectation is the
    error of the best scores times (P - N + 1) / P where errors are independent.

    Args:
        kept: (P, N) bool, the first half of each pair.
        rows: the answers to all subsets and to the whole text.
    """
    x = kept.numpy() * 2.0 - 1
    _, even = (part[:, rows.columns].numpy() for part in skill.paired_residuals(None, rows))  # (P, C)
    basis = np.linalg.svd(np.ones((1, x.shape[1])))[2][1:].T  # (N, N - 1): what adds up to 0
    design = x @ basis
    solution, _, rank, _ = np.linalg.lstsq(design, even, rcond=None)
    residual = even - design @ solution
    freedom = max(len(x) - rank, 1)
    noise = float((residual**2).sum()) / freedom  # of one pair, over all labels
    estimation = noise * float(np.trace(np.linalg.pinv(design.T @ design)))
    return (noise * len(x), float((even**2).sum())), (estimation, float((solution**2).sum()))
