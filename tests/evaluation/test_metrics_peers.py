# SPDX-License-Identifier: Apache-2.0
"""Metrics against public libraries or their definition, and what random scores and an even spread must come to.

AUPRC, token F1, Spearman and Kendall stand beside their own tests (test_plausibility.py, test_ranking.py).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from helpers.games import random_game
from mhex_nlp.evaluation.metrics.classification import accuracy, f1
from mhex_nlp.evaluation.metrics.games import removal_order
from mhex_nlp.evaluation.metrics.naopc import order_aopc
from mhex_nlp.evaluation.metrics.perturbation import aopc, bin_masks, comprehensiveness, sufficiency
from mhex_nlp.evaluation.metrics.ranking import rank_agreement
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.explain import skill

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25)


def f1_of_class(rows, label):
    """2 * right / (predicted + true)."""
    right = rows.count((label, label))
    return 2 * right / sum((said == label) + (true == label) for said, true in rows)


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_accuracy_and_f1_by_counting(rows):
    said, true = (list(side) for side in zip(*rows, strict=True))
    assert accuracy(said, true) == pytest.approx(sum(a == b for a, b in rows) / len(rows))
    classes = sorted({*said, *true})
    by_class = [f1_of_class(rows, label) for label in classes]
    assert f1(said, true, "macro") == pytest.approx(np.mean(by_class))
    weighted = sum(score * true.count(label) for score, label in zip(by_class, classes, strict=True)) / len(rows)
    assert f1(said, true, "weighted") == pytest.approx(weighted)
    halves = [(int(a > 1), int(b > 1)) for a, b in rows]
    expected = f1_of_class(halves, 1) if any(1 in pair for pair in halves) else 0.0
    assert f1(*zip(*halves, strict=True), "binary") == pytest.approx(expected)


def test_binary_f1_is_of_the_positive_class_alone():
    assert f1([1, 0, 0], [1, 1, 0], "binary", positive=0) == pytest.approx(2 / 3)
    assert f1([1, 1], [1, 1], "binary") == 1.0
    assert f1([0, 0], [0, 0], "binary") == 0.0, "the positive class does not occur"
    assert f1([3, 3], [3, 3], "binary", positive=3) == 1.0
    with pytest.raises(ValueError, match=r"average='binary' must have two classes at most, got \[0, 1, 2\]"):
        f1([0, 1], [2, 1], "binary")
    with pytest.raises(ValueError, match="average must be one of .*got 'micro'"):
        f1([0], [0], "micro")  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", [accuracy, f1])
def test_class_ids_that_do_not_align_are_refused(measure):
    with pytest.raises(ValueError, match=r"must be \(B,\) both, got \(2,\) and \(1,\)"):
        measure([0, 1], [0])
    with pytest.raises(ValueError, match="predictions must not be empty"):
        measure([], [])


def test_rank_agreement_text_by_text_as_scipy_has_it():
    draw = np.random.default_rng(0)
    one, other = ([draw.integers(0, 6, size) for size in (3, 9, 40)] for _ in range(2))
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_agreement(one, other), expected, atol=1e-12)
    expected = [stats.kendalltau(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_agreement(one, other, "kendall"), expected, atol=1e-12)


def test_a_curve_s_area_as_scikit_learn_has_it():
    """AOPC over even steps is f(x) less the mean of the curve, which `auc` gives but for half its two end points."""
    curve = np.random.default_rng(0).uniform(size=9)  # f(x), then after each of 8 steps
    area = metrics.auc(np.arange(9), curve) + (curve[0] + curve[-1]) / 2
    assert aopc([curve[0]], [curve[1:]])[0] == pytest.approx(curve[0] - area / 9)


def test_shapley_values_as_shap_has_them():
    shap = pytest.importorskip("shap", reason="shap's exact explainer enumerates all subsets")
    table = np.random.default_rng(0).normal(size=2**6)

    def value(keep):
        return table[np.asarray(keep).astype(int) @ (1 << np.arange(6))]

    exact = shap.explainers.Exact(value, np.zeros((1, 6)))(np.ones((1, 6))).values[0]
    sampled = sampled_shapley(value, 6, permutations=8000, seed=0).values
    np.testing.assert_allclose(sampled, exact, atol=0.05)


@pytest.mark.parametrize("metric", ["comprehensiveness", "sufficiency"])
def test_a_random_explainer_scores_as_random(metric):
    """The mean over random scores is the mean over all 120 orders of a game of five units, within sampling error."""
    value, n, bins = random_game(5, seed=3), 5, (0.2, 0.4, 0.6)
    full = value(np.ones((1, n), dtype=bool))

    def measured(scores):
        without, only = bin_masks(scores, bins)
        if metric == "comprehensiveness":
            return comprehensiveness(full, value(without)[None])[0]
        return sufficiency(full, value(only)[None])[0]

    every = np.array([measured(-np.array(order, dtype=float)) for order in itertools.permutations(range(n))])
    draw = np.random.default_rng(0)
    random = np.array([measured(draw.random(n)) for _ in range(4000)])
    assert abs(random.mean() - every.mean()) < 4 * every.std() / math.sqrt(len(random))
    assert every.min() < random.mean() < every.max() and random.std() == pytest.approx(every.std(), rel=0.1)


def test_random_orders_have_the_mean_aopc_of_all_orders():
    value, n = random_game(5, seed=4), 5
    every = np.array([order_aopc(value, order) for order in itertools.permutations(range(n))])
    draw = np.random.default_rng(1)
    random = np.array([order_aopc(value, removal_order(draw.random(n))) for _ in range(3000)])
    assert abs(random.mean() - every.mean()) < 4 * every.std() / math.sqrt(len(random))


def rows(n, seed):
    """A text of n tokens with one feature a token, values of a game of its own, the whole set last."""
    draw = np.random.default_rng(seed)
    half = draw.random((6, n)) < 0.5
    kept = np.concatenate([half, ~half, np.ones((1, n), dtype=bool)])
    worth = torch.from_numpy(draw.normal(size=(n, 2)))
    mask = torch.from_numpy(kept).double()
    return skill.Rows(mask, mask @ worth, mask.sum(1), 0), worth


def test_an_even_spread_has_skill_0_and_the_truth_skill_1():
    text, worth = rows(7, seed=0)
    total = text.values[-1]
    for even in (total / 7, torch.zeros(2), torch.full((2,), 3.0)):  # what it misses of the whole is spread evenly
        assert skill.skill(even.double().expand(7, 2), [text]) == pytest.approx(0.0, abs=1e-12)
    assert skill.skill(worth, [text]) == pytest.approx(1.0)
    assert skill.skill(-worth, [text]) < 0, "worse than knowing nothing"
