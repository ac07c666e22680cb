# SPDX-License-Identifier: Apache-2.0
"""Methods of the study: scores of a text's units from at most so many ablations, and the subsets that they asked about.

Axes: N units, S subsets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from mhex_nlp.explain.context.estimate import chosen_subsets, estimate
from mhex_nlp.explain.refinement import Prior, chosen_pairs, refine

from .data import Table

BUDGETS = (0, 8, 16, 32, 64)
LASSO_ALPHA = 0.01  # ContextCite's, on standardised columns and answers


class Answer(NamedTuple):
    scores: np.ndarray  # (N,)
    asked: np.ndarray  # numbers of subsets
    errors: np.ndarray | None = None


Method = Callable[[Table, int, int], Answer | None]  # of a text, a budget and a seed; `None`: there is none


def numbers(kept: np.ndarray) -> np.ndarray:
    """(S,) of (S, N) bool: the rows of a table."""
    return kept @ (1 << np.arange(kept.shape[1]))


def posterior(table: Table, kept: np.ndarray, attention: np.ndarray | None) -> Answer:
    """Scores of `estimate.py` from these subsets."""
    asked = numbers(kept)
    prior = None if attention is None else attention[:, None]
    result = estimate(kept, table.values[asked][:, None], table.values[-1:], prior)
    return Answer(result.scores[:, 0], asked, None if result.errors is None else result.errors[:, 0])


def ours(table: Table, budget: int, seed: int) -> Answer | None:
    """As `ContextExplainer`."""
    if budget == 0:
        return Answer(table.attention, np.zeros(0, dtype=int))
    return posterior(table, chosen_subsets(table.attention, budget, seed), table.attention)


def without_attention(table: Table, budget: int, seed: int) -> Answer | None:
    return posterior(table, chosen_subsets(table.attention, budget, seed), None) if budget else None


def pairs_alone(table: Table, budget: int, seed: int) -> Answer | None:
    """No unit is left out alone."""
    pairs = chosen_pairs(table.units, budget // 2, seed)
    kept = np.concatenate([pairs, ~pairs, np.zeros((1, table.units), dtype=bool)])
    return posterior(table, kept, table.attention) if budget else None


def random_subsets(table: Table, budget: int, seed: int) -> Answer | None:
    """LASSO's subsets, read by our posterior."""
    return posterior(table, _random(table, budget, seed), table.attention) if budget else None


def differences_of_pairs(table: Table, budget: int, seed: int) -> Answer | None:
    """The classifiers' posterior (`refinement.py`), which starts from attention here."""
    if budget == 0:
        return None
    pairs = chosen_pairs(table.units, budget // 2, seed)
    first, second, total = numbers(pairs), numbers(~pairs), table.values[-1] - table.values[0]
    start = table.attention / table.attention.sum() * total
    answers = (table.values[first] - table.values[second])[:, None]
    result = refine(pairs, answers, start[:, None], np.array([total]), Prior(noise=1.0, ratio=1.0))
    return Answer(result.scores[:, 0], np.concatenate([first, second, [0]]))


def lasso(table: Table, budget: int, seed: int) -> Answer | None:
    """ContextCite's surrogate (Cohen-Wang et al. 2024): LASSO on subsets in which each unit is kept by chance a half.

    It may ask once more than the budget, as ours asks about the empty prompt besides.
    """
    if budget == 0:
        return None
    kept = _random(table, budget + 1, seed)
    asked = numbers(kept)
    x, y = kept.astype(float), table.values[asked]
    scale, height = x.std(0) + 1e-8, y.std() + 1e-8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = Lasso(alpha=LASSO_ALPHA).fit((x - x.mean(0)) / scale, (y - y.mean()) / height)
    return Answer(fitted.coef_ / scale * height, asked)


def leave_one_out(table: Table, budget: int, seed: int) -> Answer | None:
    """Of as many units as the budget allows, in random order; the others get 0."""
    if budget == 0:
        return None
    left_out = np.random.default_rng([seed, 2]).permutation(table.units)[:budget]
    asked = 2**table.units - 1 - (1 << left_out)
    scores = np.zeros(table.units)
    scores[left_out] = table.values[-1] - table.values[asked]
    return Answer(scores, asked)


def drawn(table: Table, budget: int, seed: int) -> Answer | None:
    return Answer(np.random.default_rng([seed, 3]).random(table.units), np.zeros(0, dtype=int)) if not budget else None


def _random(table: Table, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).random((count, table.units)) < 0.5


METHODS: dict[str, Method] = {"ours": ours, "LASSO": lasso, "leave one out": leave_one_out, "random": drawn}
VARIANTS: dict[str, Method] = {
    "ours": ours,
    "no attention": without_attention,
    "complement pairs alone": pairs_alone,
    "random subsets": random_subsets,
    "differences of pairs (`refinement.py`)": differences_of_pairs,
}
