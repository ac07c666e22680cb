# SPDX-License-Identifier: Apache-2.0
"""How far a fit's scores are off on held-out texts: the prior with which a budget of further passes refines them.

By maximum marginal likelihood of the answers to pairs of subsets: given a text's scores they are Student's, for errors
of the scores and noise of the answers are Gaussian and share a variance that is inverse chi-square over texts (type II
maximum likelihood; ours, beyond the paper). The same of scores mixed with integrated gradients, whose factors are those
that fit the answers best, and at what budgets that pays. Axes: N content tokens, P pairs, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import gammaln

from ...explain.refinement import Array, Mix, Prior, answer_covariance, candidates, informative, interactions, refine

STEPS = 2  # of integrated gradients: 4 and 8, at their price, were behind (docs/budget.md)
_BUDGETS = (8, 16, 32, 64)  # that the mix is tried at
_FEWEST, _JUDGED = 5, 4  # texts to estimate from, pairs of a text to judge on
_BENDS = (0.0, 1.0, 10.0, 100.0, 1000.0)
_BOUNDS = np.log([(1e-2, 1e4), (1e-12, 1e6), (0.5, 1e3)])


class Example(NamedTuple):
    """A held-out text: x = ±1 (P, N), scores (N, C) that add up to the whole, and what they miss of y (P,)."""

    x: Array
    scores: Array
    missed: Array
    weights: Array | None = None  # (C,) of the labels in y
    gradients: Array | None = None  # (N,) integrated gradients of it, by `STEPS`

    @property
    def contrasted(self) -> Array:
        """(N,) the scores of y."""
        assert self.weights is not None
        return np.asarray(self.scores @ self.weights)

    def mixed(self, mix: Mix) -> Example:
        """The same, with the mix for scores."""
        assert self.weights is not None and self.gradients is not None
        before = self.contrasted
        moved = mix.mean(before, self.gradients) - (before - before.mean())
        scores = self.scores + np.outer(moved, self.weights) / float(self.weights @ self.weights)
        return self._replace(scores=scores, missed=self.missed - self.x @ moved)


def estimate_prior(examples: Sequence[Example]) -> Prior | None:
    """The likeliest prior; None where nothing is missed or there are fewer than five texts."""
    squares = [float((example.missed**2).mean()) for example in examples]
    if len(examples) < _FEWEST or not max(squares) > 0:
        return None
    start = np.log([4.0, np.median(squares) / 4 + 1e-12, 2.0])
    best: tuple[float, Prior] | None = None
    for bend in _BENDS:
        spectra = [_spectrum(example, bend) for example in examples]

        def loss(logs: Array, spectra: list[tuple[Array, Array]] = spectra) -> float:
            ratio, noise, freedom = np.exp(np.clip(logs, *_BOUNDS.T))
            return -sum(_log_density(squares, noise * (1 + spread / ratio), freedom) for spread, squares in spectra)

        likeliest = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 300, "xatol": 0.02, "fatol": 0.05})
        if best is None or likeliest.fun < best[0]:
            ratio, noise, freedom = np.exp(np.clip(likeliest.x, *_BOUNDS.T)).tolist()
            best = float(likeliest.fun), Prior(ratio=ratio, noise=noise, freedom=freedom, bend=bend)
        start = likeliest.x
    assert best is not None
    return best[1]


def learn_mix(examples: Sequence[Example], plain: Prior) -> Mix | None:
    """The mix of scores and gradients that fits the answers best, and the least budget at which it pays.

    None where an example has no gradients, or it pays at no budget.
    """
    if any(example.gradients is None for example in examples):
        return None
    mix = Mix(STEPS, *mix_factors(examples), least=0, prior=plain)
    mixed = [example.mixed(mix) for example in examples]
    prior = estimate_prior(mixed)
    if prior is None or (least := _least_budget(examples, mixed, plain, prior, mix.passes)) is None:
        return None
    return replace(mix, least=least, prior=prior)


def mix_factors(examples: Sequence[Example]) -> tuple[float, float]:
    """The factors of scores and of gradients that fit the answers best.

    Texts count by the inverse root of how much their answers vary, between each answer and each text alike.
    """
    designs, answers = [], []
    for example in examples:
        scores = example.contrasted
        uneven = example.missed + example.x @ (scores - scores.mean())
        weight = max(float((uneven**2).mean()), 1e-12) ** -0.25
        designs.append(weight * example.x @ candidates(scores, np.asarray(example.gradients)))
        answers.append(weight * uneven)
    of_scores, of_gradients = np.linalg.lstsq(np.concatenate(designs), np.concatenate(answers), rcond=None)[0].tolist()
    return of_scores, of_gradients


def _least_budget(
    examples: Sequence[Example], mixed: Sequence[Example], plain: Prior, prior: Prior, cost: int
) -> int | None:
    """Where the mix pays from, by the log of the error of answers not asked about: the mean of texts plus its standard
    error, summed over budgets.
    """
    gains: dict[int, float] = {}
    for budget in _BUDGETS:
        logs = []
        for example, other in zip(examples, mixed, strict=True):
            if len(example.x) >= budget // 2 + _JUDGED:
                asked = informative(example.x, budget // 2)
                judged = np.setdiff1d(np.arange(len(example.x)), asked)
                before = error_of(example, plain, asked, judged)
                after = error_of(other, prior, asked[: (budget - cost) // 2], judged)
                logs.append(np.log((after + 1e-12) / (before + 1e-12)))
        if len(logs) >= _FEWEST:
            gains[budget] = float(np.mean(logs) + np.std(logs) / len(logs) ** 0.5)
    totals = {budget: sum(gain for other, gain in gains.items() if other >= budget) for budget in gains}
    least = min(totals, key=lambda budget: totals[budget], default=None)
    return None if least is None or totals[least] >= 0 else least


def error_of(example: Example, prior: Prior, asked: Sequence[int], judged: Array) -> float:
    """The squared error of the answers to the pairs `judged`, after refining by those to the pairs `asked`."""
    scores = example.contrasted[:, None]
    answers = example.missed[:, None] + example.x @ scores
    refined = refine(example.x[asked] > 0, answers[asked], scores, scores.sum(0), prior).scores
    return float(((answers - example.x @ refined)[judged] ** 2).sum())


def _spectrum(example: Example, bend: float) -> tuple[Array, Array]:
    """(P,) each: variances that errors of the scores give the answers, along axes on which interactions have variance
    1 and the two are independent, and squares.
    """
    spread, axes = eigh(answer_covariance(example.x, example.scores, bend), interactions(example.x).answers)
    return np.maximum(spread, 0), (example.missed @ axes) ** 2


def _log_density(squares: Array, scales: Array, freedom: float) -> float:
    """Of Student's distribution in P dimensions, where independent axes have the scales squared, (P,)."""
    count = len(squares)
    constant = gammaln((freedom + count) / 2) - gammaln(freedom / 2) - count / 2 * np.log(freedom * np.pi)
    distance = float((squares / scales).sum())
    return float(constant - np.log(scales).sum() / 2 - (freedom + count) / 2 * np.log1p(distance / freedom))
