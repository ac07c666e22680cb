# SPDX-License-Identifier: Apache-2.0
"""Shapley values of a context's units from a few ablations: a posterior over games whose prior goes by attention.

Ours, beyond the papers. With x = ±1 for units that are there and gone, a game is taken for

    v(x) = b0 + sum_i b_i x_i + pairs + triples + rest

b_i has a prior mean proportional to the attention a_i that the span pays to the unit, at a scale that is not known
before (ContextCite's LASSO, Cohen-Wang et al. 2024, starts from zero), and a variance that grows with a_i; the
interactions of two and of three units are sums over all of them with random coefficients; the rest is white. How large
interactions and rest are by the b_i is chosen by their likelihood. Shapley values are linear in v: their posterior is
Gaussian too, and they are exact once all subsets are asked about. Scores of a span add up to v(all) - v(none).
`refinement.py`, for classifiers, looks at differences of complements alone, in which interactions of two cancel: for 8
to 64 ablations of a language model that throws away too much (docs/context.md).

Axes: N units, S ablations, M = S + 1 answers with that to the whole, C spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, lgamma
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from ..refinement import chosen_pairs

Array = NDArray[np.float64]
Kept = NDArray[np.bool_]

_BY_ATTENTION = 0.6  # of the b_i's variance, the part that goes by attention
_PAIRS, _TRIPLES, _REST = (0.1, 0.3, 1.0), 0.1, (0.02, 0.1, 0.3)  # variances by that of the b_i together
_VAGUE = 100.0  # the same, of b0 and of the scale of attention
_FEWEST = 8  # ablations that a rank correlation is given for
_ENUMERATED = 12  # units whose subsets are all looked at


@dataclass(frozen=True, slots=True)
class Estimate:
    """Scores (N, C), their standard deviations, and the rank correlation (C,) with held-out ablations."""

    scores: Array
    errors: Array | None
    lds: tuple[float | None, ...]


def chosen_subsets(attention: Array, budget: int, seed: int) -> Kept:
    """(S, N) bool: the ablations to ask about, and last the prompt without any unit, which is not in the budget.

    Complement pairs that together say most (`refinement.chosen_pairs`), in which interactions of two cancel; for one
    ablation in eight a single unit is left out instead, those with the most attention (N,) first. Once the budget is
    half of all subsets, every unit alone and left out alone comes first, which Shapley values weigh most. All subsets
    where they are no more than the budget, none for a budget of 0.
    """
    units = len(attention)
    nothing = np.zeros((1, units), dtype=bool)
    if budget == 0:
        return nothing[:0]
    proper = 2**units - 2 if units <= _ENUMERATED else None
    if proper is not None and budget >= proper:
        return np.concatenate([_numbered(np.arange(1, proper + 1), units), nothing])
    alone = np.eye(units, dtype=bool)
    singles = max(budget // 8, 1)
    singles += (budget - singles) % 2
    asked, pairs = alone[:0], chosen_pairs(units, (budget - singles) // 2, seed)
    if proper is not None and units > 3 and budget >= 2 ** (units - 1):
        asked, pairs = np.concatenate([alone, ~alone]), chosen_pairs(units, 2 ** (units - 1) - 2, seed)
        pairs = pairs[(pairs.sum(1) > 1) & (pairs.sum(1) < units - 1)][: (budget - len(asked)) // 2]
    asked = np.concatenate([asked, pairs, ~pairs])
    order = np.argsort(-attention, kind="stable")
    further = [~alone[order]]
    if proper is not None:  # few units: what is left out alone may stand in the pairs already
        further.append(_numbered(np.random.default_rng([seed, units]).permutation(proper) + 1, units))
    known = {row.tobytes() for row in asked}
    new = list({row.tobytes(): row for row in np.concatenate(further) if row.tobytes() not in known}.values())
    return np.concatenate([asked, np.array(new[: budget - len(asked)]).reshape(-1, units), nothing]).astype(bool)


def estimate(kept: Kept, answers: Array, whole: Array, attention: Array | None) -> Estimate:
    """The posterior of the Shapley values.

    Args:
        kept: (S, N) bool, S at least 1.
        answers: (S, C), v of these subsets.
        whole: (C,), v of all units.
        attention: (N, C), of each span to each unit; `None` where it is not known.
    """
    units = kept.shape[1]
    x = np.concatenate([np.ones((1, units)), kept * 2.0 - 1])
    values = np.concatenate([whole[None], answers])
    columns = [
        _estimate_span(x, values[:, span], np.ones(units) if attention is None else attention[:, span])
        for span in range(len(whole))
    ]
    scores, errors, lds = zip(*columns, strict=True)
    return Estimate(np.stack(scores, 1), np.stack(errors, 1), lds)


class _Covariances(NamedTuple):
    """Of a game, where the b_i together have variance 1."""

    answers: Array  # (M, M)
    across: Array  # (N, M), of Shapley values and answers
    values: Array  # (N,), variances of the Shapley values


def _estimate_span(x: Array, values: Array, attention: Array) -> tuple[Array, Array, float | None]:
    """Scores (N,), errors (N,) and the cross-validated rank correlation of one span."""
    count = len(values)
    best: tuple[float, _Covariances, float] | None = None
    for pairs in _PAIRS:
        for rest in _REST:
            game = covariances(x, attention, pairs, rest)
            lower = np.linalg.cholesky(game.answers)
            variance = float((np.linalg.solve(lower, values) ** 2).sum()) / count
            likelihood = -count / 2 * np.log(max(variance, 1e-300)) - np.log(np.diag(lower)).sum()
            if best is None or likelihood > best[0]:
                best = likelihood, game, variance
    assert best is not None
    _, game, variance = best
    gain = np.linalg.solve(game.answers, game.across.T).T  # (N, M)
    left = np.maximum(game.values - (gain * game.across).sum(1), 0)
    if x.shape[1] <= _ENUMERATED and count == 2 ** x.shape[1]:
        left = np.zeros_like(left)  # all subsets were asked about: nothing but rounding
    return gain @ values, np.sqrt(left * variance), _cross_validated(x, values, game)


def _cross_validated(x: Array, values: Array, game: _Covariances) -> float | None:
    """Spearman correlation of answers and of what scores say of them that were estimated without these.

    A pair of complements is held out together; the whole and the empty prompt never are.
    """
    folds: dict[bytes, list[int]] = {}
    for row in range(1, len(x)):
        if abs(x[row].sum()) < x.shape[1]:
            folds.setdefault((x[row] * x[row, 0]).tobytes(), []).append(row)
    held_out = [row for fold in folds.values() for row in fold]
    if len(held_out) < _FEWEST:
        return None
    predicted = np.zeros(len(x))
    for fold in folds.values():
        rest = np.setdiff1d(np.arange(len(x)), fold)
        scores = game.across[:, rest] @ np.linalg.solve(game.answers[np.ix_(rest, rest)], values[rest])
        predicted[fold] = (x[fold] > 0) @ scores
    if np.ptp(predicted[held_out]) == 0 or np.ptp(values[held_out]) == 0:
        return None
    return float(spearmanr(predicted[held_out], values[held_out]).statistic)


def covariances(x: Array, attention: Array, pairs: float, rest: float) -> _Covariances:
    """Of answers at (M, N) signs x and of the Shapley values; `pairs` and `rest`: their variances.

    In signs, x_i has the Shapley value 2 for i, interactions of even order none, x_i x_j x_k 2/3 for each of the three.
    White noise has sum over S of ±a(|S|) v(S), by the definition of Shapley values.
    """
    units = x.shape[1]
    share = attention / attention.mean() if attention.mean() > 0 else np.ones(units)
    weight = 1 - _BY_ATTENTION + _BY_ATTENTION * share
    alike, along = x @ x.T, x @ share / units
    orders = {1: 1.0, 2: comb(units, 2) or 1.0, 3: comb(units, 3) or 1.0}
    two, three = (alike**2 - units) / 2, (alike**3 - (3 * units - 2) * alike) / 6
    answers = (x * weight) @ x.T / units + pairs * two / orders[2] + _TRIPLES * three / orders[3]
    answers += _VAGUE * (1 + np.outer(along, along)) + rest * np.eye(len(x))
    others = ((x.sum(1, keepdims=True) - x) ** 2 - (units - 1)) / 2  # of a unit: the sum over pairs of the others
    white, white_variance = _of_white_noise(x)
    across = 2 * weight * x / units + 2 * _VAGUE * np.outer(along, share) / units
    across += 2 / 3 * _TRIPLES / orders[3] * others * x + rest * white
    values = 4 * weight / units + 4 * _VAGUE * (share / units) ** 2
    values += 4 / 9 * _TRIPLES * comb(units - 1, 2) / orders[3] + rest * white_variance
    return _Covariances(answers, across.T, values)


def _of_white_noise(x: Array) -> tuple[Array, float]:
    """(M, N): the weight of each answer in each Shapley value, a(s) = (s - 1)! (N - s)! / N!; all squared, summed."""
    units = x.shape[1]

    def log_weight(size: int) -> float:
        return lgamma(size) + lgamma(units - size + 1) - lgamma(units + 1)

    weight = np.array([0.0, *(np.exp(log_weight(size)) for size in range(1, units + 1)), 0.0])
    size = (x > 0).sum(1, keepdims=True)
    # each weight stands for the subsets of that size that hold the unit, and for those that it would come to
    total = 2 * sum(np.exp(np.log(comb(units - 1, s - 1)) + 2 * log_weight(s)) for s in range(1, units + 1))
    return np.where(x > 0, weight[size], -weight[size + 1]), float(total)


def _numbered(numbers: NDArray[np.int64], units: int) -> Kept:
    """(S, N) bool: the subsets whose units are the bits of these numbers."""
    return (numbers[:, None] >> np.arange(units) & 1).astype(bool)
