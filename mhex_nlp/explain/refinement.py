# SPDX-License-Identifier: Apache-2.0
"""Scores of one text refined by further passes over parts of it: a Gaussian posterior whose prior mean they are.

Ours, beyond the paper. With x = ±1 for tokens that are kept and removed, y = v(S) - v(N - S) is taken for

    y(x) = x · (phi0 + delta) + u · sum(x) + b(sum(x) / N) + t(x)

phi0 are the one-pass scores, shifted evenly so that they add up to v(N) - v(empty); delta, what they miss, adds up to 0
and has the prior N(0, s² / ratio · B); u says that texts lose more by their first words than by their last; t are
interactions of three tokens and more, of variance s²: most of it a sum over all triples with random coefficients, the
rest white. Interactions of two cancel in y. The posterior is that of the Shapley values of y, to which delta and t both
contribute: the errors do not forget what interactions do, and once all pairs are asked about the values are exact. s²
is not known for a text: it has a scaled inverse chi-square prior, and errors are Student's.
Where a fit found that it pays (`Mix`), phi0 is a mix of the one-pass scores and of integrated gradients of few steps.
Which pairs are asked about depends on the text's length, the budget and the seed alone.

Axes: N content tokens, P pairs of complementary subsets, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, lgamma
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inputs.subsets import drawn_subsets

Array = NDArray[np.float64]
STEP_PASSES = 3  # of a step of integrated gradients: a forward pass, and a backward pass at twice its price
CANDIDATES = 200  # pairs drawn for each that is chosen among, at the least
_SHARED = 0.4  # of a token's prior variance, the part that does not grow with its score
_SIZE = 0.5  # variance of u, by that of an error of the scores, for a text of one token; falls with the length
_TRIPLES = 0.8  # of s², the interactions of three tokens


@dataclass(frozen=True, slots=True)
class Prior:
    """What a fit's held-out texts said of the errors of its scores (`config.mhex_fit["refinement"]`)."""

    ratio: float = 4.0  # s² by variance of the scores' errors
    noise: float = 0.05  # s², of the answers to a pair, in squared logits of the target
    freedom: float = 2.0  # in how many answers' worth the noise is believed in
    bend: float = 0.0  # variance of b, as `_SIZE`
    mix: Mix | None = None  # None: gradients are not asked for

    @classmethod
    def of(cls, fit: Mapping[str, Any] | None) -> Prior:
        """That of a fit's record, or the usual one."""
        known = dict((fit or {}).get("refinement") or {})
        if mix := known.get("mix"):
            known["mix"] = Mix(**{**mix, "prior": cls(**mix["prior"])})
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Mix:
    """One-pass scores and integrated gradients, mixed as held-out texts' answers had it: a better prior mean.

    Both are taken less their means over the text's tokens, the gradients scaled so that their size (the L2 norm) is the
    geometric mean of both sizes: few steps may miss a text's total by far. (Ours, beyond the paper.)
    """

    steps: int  # of integrated gradients, each of `STEP_PASSES`
    scores: float  # the factor of the one-pass scores
    gradients: float  # that of the gradients
    least: int  # the smallest budget that it pays at
    prior: Prior  # of the errors of what is mixed

    @property
    def passes(self) -> int:
        """What the gradients cost."""
        return STEP_PASSES * self.steps

    def pays(self, tokens: int, budget: int) -> bool:
        """Whether to ask for gradients of a text: not where the budget is small, or buys all answers there are."""
        return budget >= max(self.least, self.passes + 2) and not _all_pairs(tokens, budget // 2)

    def mean(self, scores: Array, gradients: Array) -> Array:
        """(N,) of both, (N,) each."""
        return candidates(scores, gradients) @ np.array([self.scores, self.gradients])


def candidates(scores: Array, gradients: Array) -> Array:
    """(N, 2): what `Mix` weighs."""
    one, other = (values - values.mean() for values in (scores, gradients))
    sizes = np.linalg.norm(one), np.linalg.norm(other)
    return np.stack([one, other * (sizes[0] / sizes[1]) ** 0.5 if sizes[1] > 0 else other], axis=1)


@dataclass(frozen=True, slots=True)
class Posterior:
    """The refined scores (N, C), and how sure they are.

    `covariance` (N, N) is in units of the noise variance, which for a contrast w of the labels, (C,), is
    `noise_of(w)`; the same for all labels, since all were asked about at once.
    """

    scores: Array
    covariance: Array
    gram: Array  # (C, C): the answers' weighted squared residuals
    prior: Prior
    pairs: int
    gradient_passes: int = 0  # what the gradients in the prior's mean cost

    def noise_of(self, contrast: Array) -> float:
        """The scale of the noise variance of w · y: prior and residuals, each by its weight."""
        # the prior's is that of one label less the mean over two and more, whose square is about 1 - 1 / C
        usual = max(1 - 1 / len(contrast), 0.5)
        before = self.prior.freedom * self.prior.noise * float(contrast @ contrast) / usual
        return (before + float(contrast @ self.gram @ contrast)) / (self.prior.freedom + self.pairs)

    @property
    def passes(self) -> int:
        """What was spent."""
        return 2 * self.pairs + self.gradient_passes

    @property
    def freedom(self) -> float:
        """Degrees of freedom of Student's distribution of the errors."""
        return self.prior.freedom + self.pairs


@dataclass(frozen=True, slots=True)
class Sureness:
    """The posterior of the scores of one input, which is a text or one of its `windows`."""

    positions: list[int]  # (N,), of its content tokens in the text
    posterior: Posterior
    windows: int = 1

    def covariance(self, size: int, contrast: Array) -> Array:
        """(size, size): its part in the covariance of the text's scores for a contrast (C,) of the labels."""
        whole = np.zeros((size, size))
        posterior, freedom = self.posterior, self.posterior.freedom
        student = freedom / max(freedom - 2, 0.5)  # the variance of Student's distribution of scale 1
        scale = student * posterior.noise_of(contrast) / self.windows**2
        whole[np.ix_(self.positions, self.positions)] = scale * posterior.covariance
        return whole

    def within(self, places: Sequence[int], windows: int) -> Sureness:
        """That of one of a text's windows, whose token i is the text's token `places[i]`."""
        return Sureness([places[token] for token in self.positions], self.posterior, windows)


@lru_cache(maxsize=4096)
def chosen_pairs(tokens: int, pairs: int, seed: int) -> NDArray[np.bool_]:
    """(P, N) bool: one subset of each pair, so chosen that the answers say most about the scores.

    Greedily D-optimal: of some hundred random pairs always the one whose answer is least known by the others. All pairs
    that there are, once each, where they are no more than `pairs`.
    """
    if tokens < 2:
        return np.zeros((0, tokens), dtype=bool)
    if _all_pairs(tokens, pairs):
        numbers = np.arange(1, 2 ** (tokens - 1))
        return (numbers[:, None] >> np.arange(tokens) & 1).astype(bool)
    count = max(CANDIDATES, 4 * pairs)
    drawn = drawn_subsets(tokens, 2 * count, [seed, tokens])[:count]
    drawn = np.unique(np.where(drawn[:, -1:], ~drawn, drawn), axis=0)  # one of each pair, each pair once
    return drawn[informative((drawn * 2.0 - 1).astype(np.float64), pairs)]


def informative(x: Array, pairs: int) -> list[int]:
    """Which of (P, N) signs to ask about, at most `pairs`: always the one whose answer is least known by the others."""
    tokens = x.shape[1]
    covariance = np.eye(tokens) - (1 - _SIZE) / tokens
    unknown = np.einsum("pi,ij,pj->p", x, covariance, x)
    chosen: list[int] = []
    for _ in range(min(pairs, len(x))):
        best = int(unknown.argmax())
        chosen.append(best)
        known = covariance @ x[best]
        scale = Prior().ratio + x[best] @ known
        covariance -= np.outer(known, known) / scale
        unknown -= (x @ known) ** 2 / scale
        unknown[best] = -np.inf
    return chosen


def refine(kept: NDArray[np.bool_], answers: Array, scores: Array, total: Array, prior: Prior) -> Posterior:
    """The posterior given the answers to pairs; the exact Shapley values where all pairs were asked about.

    Args:
        kept: (P, N) bool, one subset of each pair.
        answers: (P, C), v(S) - v(N - S), contrasted as the scores are.
        scores: (N, C), the one-pass scores.
        total: (C,), v(N) - v(empty).
        prior: of the noise, and of the errors of the scores.
    """
    x = np.asarray(kept * 2.0 - 1, dtype=np.float64)
    if not x.shape[1]:  # a place that is all there is of its text
        return Posterior(scores, np.zeros((0, 0)), np.zeros((scores.shape[1],) * 2), prior, len(x))
    mean = scores + (total - scores.sum(0)) / x.shape[1]
    errors = prior_covariance(mean) / prior.ratio
    triples = interactions(x)
    joint = triples.answers + answer_covariance(x, mean, prior.bend) / prior.ratio  # (P, P), of the answers by s²
    across = errors @ x.T + triples.across  # (N, P), of Shapley values and answers
    residual = answers - x @ mean
    gain = np.linalg.solve(joint, across.T).T
    after = errors + triples.values - gain @ across.T
    if _all_pairs(x.shape[1], len(x)):
        after = np.zeros_like(after)  # all of them, but for rounding
    gram = residual.T @ np.linalg.solve(joint, residual)
    return Posterior(mean + gain @ residual, (after + after.T) / 2, gram, prior, len(x))


def prior_covariance(mean: Array) -> Array:
    """(N, N) B of the prior: larger scores have larger errors; what adds up to something is taken out."""
    size = ((mean - mean.mean(0)) ** 2).sum(1)
    share = size / size.mean() if size.any() else np.ones(len(size))
    centring = np.eye(len(mean)) - 1 / len(mean)
    return np.asarray(centring @ np.diag(_SHARED + (1 - _SHARED) * share) @ centring)


def answer_covariance(x: Array, mean: Array, bend: float = 0.0) -> Array:
    """(P, P) covariance that errors of the scores, u and b give the answers, for `ratio` 1."""
    tokens, size = x.shape[1], x.sum(1)
    covariance = x @ prior_covariance(mean) @ x.T + _SIZE / tokens * np.outer(size, size)
    if not bend:
        return covariance
    bent = size / tokens - (size / tokens) ** 3  # which nothing of the text and all of it do not have
    return covariance + bend * tokens * np.outer(bent, bent)


def _all_pairs(tokens: int, pairs: int) -> bool:
    """Whether there are no more pairs than so many."""
    return tokens < 31 and pairs >= 2 ** (tokens - 1) - 1


class Interactions(NamedTuple):
    """Covariances of t, for s² = 1."""

    answers: Array  # (P, P)
    across: Array  # (N, P), of the Shapley values that t has, less their mean, and the answers
    values: Array  # (N, N), of those values


def interactions(x: Array) -> Interactions:
    """Of answers at (P, N) signs x.

    A triple's x_i x_j x_k has Shapley values of a third for each of its tokens. What is white in y has the values
    sum of a(|S|) y(S) over the subsets S that hold the token, a(s) = (s - 1)! (N - s)! / N!, by the definition of
    Shapley values, where S and its complement are taken together.
    """
    pairs, tokens = x.shape
    logs = np.array([lgamma(s) + lgamma(tokens - s + 1) - lgamma(tokens + 1) for s in range(1, tokens)])
    weight = np.concatenate([[0.0], np.exp(logs)])  # a(s) by s
    sizes = ((x > 0).sum(1)[:, None]).astype(int)
    white = np.where(x > 0, weight[sizes % tokens], -weight[(tokens - sizes) % tokens]).T
    centring = np.eye(tokens) - 1 / tokens
    white_values = centring * (weight.sum() / max(tokens - 1, 1))
    if tokens < 3:
        return Interactions(np.eye(pairs), white, white_values)
    alike, total, count = x @ x.T, x.sum(1, keepdims=True), comb(tokens, 3)
    answers = (alike**3 - (3 * tokens - 2) * alike) / 6 / count
    across = (x * ((total - x) ** 2 - (tokens - 1)) / 6 / count).T
    # a triple of i is one of N - 1 over 2, one of i and j of N - 2: what is shared falls away with the mean
    values = centring * ((comb(tokens - 1, 2) - (tokens - 2)) / 9 / count)
    return Interactions(
        _TRIPLES * answers + (1 - _TRIPLES) * np.eye(pairs),
        _TRIPLES * centring @ across + (1 - _TRIPLES) * white,
        _TRIPLES * values + (1 - _TRIPLES) * white_values,
    )
