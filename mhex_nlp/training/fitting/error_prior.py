# SPDX-License-Identifier: Apache-2.0
"""How far a fit's scores are off on held-out texts: the prior with which a budget of further passes refines them.

By maximum marginal likelihood of the answers to pairs of subsets: given a text's scores they are Student's, for errors
of the scores and noise of the answers are Gaussian and share a variance that is inverse chi-square over texts (type II
maximum likelihood; ours, beyond the paper). Axes: N content tokens, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import gammaln

from ...explain.refinement import Array, Prior, answer_covariance, interactions

_BOUNDS = np.log([(1e-2, 1e4), (1e-12, 1e6), (0.5, 1e3)])


class Example(NamedTuple):
    """A held-out text: x = ±1 (P, N), scores (N, C) that add up to the whole, and what they miss of y (P,)."""

    x: Array
    scores: Array
    missed: Array


def estimate_prior(examples: Sequence[Example]) -> Prior | None:
    """The likeliest prior; None where nothing is missed or there are fewer than five texts."""
    squares = [float((example.missed**2).mean()) for example in examples]
    if len(examples) < 5 or not max(squares) > 0:
        return None
    spectra = [_spectrum(example) for example in examples]

    def loss(logs: Array) -> float:
        ratio, noise, freedom = np.exp(np.clip(logs, *_BOUNDS.T))
        return -sum(_log_density(squares, noise * (1 + spread / ratio), freedom) for spread, squares in spectra)

    start = np.log([4.0, np.median(squares) / 4 + 1e-12, 2.0])
    best = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 300, "xatol": 0.02, "fatol": 0.05})
    ratio, noise, freedom = np.exp(np.clip(best.x, *_BOUNDS.T)).tolist()
    return Prior(ratio=ratio, noise=noise, freedom=freedom)


def _spectrum(example: Example) -> tuple[Array, Array]:
    """(P,) each: variances that errors of the scores give the answers, along axes on which interactions have variance
    1 and the two are independent, and squares.
    """
    spread, axes = eigh(answer_covariance(example.x, example.scores), interactions(example.x).answers)
    return np.maximum(spread, 0), (example.missed @ axes) ** 2


def _log_density(squares: Array, scales: Array, freedom: float) -> float:
    """Of Student's distribution in P dimensions, where independent axes have the scales squared, (P,)."""
    count = len(squares)
    constant = gammaln((freedom + count) / 2) - gammaln(freedom / 2) - count / 2 * np.log(freedom * np.pi)
    distance = float((squares / scales).sum())
    return float(constant - np.log(scales).sum() / 2 - (freedom + count) / 2 * np.log1p(distance / freedom))
