# SPDX-License-Identifier: Apache-2.0
"""Rank agreement by hand and against independent formulas, ties included."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhex_nlp.evaluation.metrics.games import leave_one_out
from mhex_nlp.evaluation.metrics.ranking import (
    kendall,
    randomisation_similarity,
    rank_agreement,
    spearman,
)

# few distinct values, so that ties are common
numbers = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12)


def average_ranks(values):
    """One more than the values below, and half of the others that are equal."""
    return [1 + sum(other < value for other in values) + (values.count(value) - 1) / 2 for value in values]


def tau_b(first, second):
    """Over all pairs: concordant less discordant, over the geometric mean of those not tied on a side."""
    signs = [
        ((one[0] > other[0]) - (one[0] < other[0]), (one[1] > other[1]) - (one[1] < other[1]))
        for one, other in itertools.combinations(list(zip(first, second, strict=True)), 2)
    ]
    return sum(a * b for a, b in signs) / math.sqrt(sum(abs(a) for a, _ in signs) * sum(abs(b) for _, b in signs))


def test_equal_values_share_the_mean_rank():
    assert average_ranks([10, 20, 20, 5, 20]) == [2.0, 4.0, 4.0, 1.0, 4.0]
    # ranks 2 4 4 1 4 against 1 2 3 4 5, centred: -1 1 1 -2 1 and -2 -1 0 1 2
    assert spearman([10, 20, 20, 5, 20], [1, 2, 3, 4, 5]) == pytest.approx(1 / math.sqrt(8 * 10))


def test_spearman_by_hand():
    # ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    assert spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(0.8)
    assert spearman([1, 2, 3], [9, 4, -1]) == pytest.approx(-1)
    assert spearman([1, 10, 100], [1, 2, 3]) == pytest.approx(1), "ranks, not values"


def test_scores_that_order_nothing_agree_with_nothing():
    assert spearman([1, 1, 1], [1, 2, 3]) == kendall([1, 2, 3], [2, 2, 2]) == 0.0
    assert spearman([0.0, -0.0], [1, 2]) == 0.0


def test_two_units_are_ordered_alike_or_not():
    assert (spearman([1, 2], [3, 9]), kendall([1, 2], [3, 9])) == pytest.approx((1, 1))
    assert (spearman([1, 2], [9, 3]), kendall([1, 2], [9, 3])) == pytest.approx((-1, -1))


def test_kendall_by_hand():
    # six pairs, one of them discordant
    assert kendall([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(4 / 6)
    # one tie in the first: 3 pairs, 2 concordant; tau-b divides by sqrt(2 * 3)
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(6))


@given(numbers)
@settings(max_examples=150, deadline=None)
def test_correlations_are_their_formulas(pairs):
    first, second = zip(*pairs, strict=True)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert spearman(first, second) == kendall(first, second) == 0.0
        return
    pearson = np.corrcoef(average_ranks(first), average_ranks(second))[0, 1]
    assert spearman(first, second) == pytest.approx(pearson, abs=1e-12)
    assert kendall(first, second) == pytest.approx(tau_b(first, second), abs=1e-12)


@pytest.mark.parametrize("measure", [spearman, kendall])
@given(pairs=numbers)
@settings(max_examples=50, deadline=None)
def test_symmetric_and_odd(measure, pairs):
    first, second = (np.asarray(side) for side in zip(*pairs, strict=True))
    assert measure(first, second) == pytest.approx(measure(second, first), abs=1e-12)
    assert measure(first, -second) == pytest.approx(-measure(first, second), abs=1e-12)


def test_agreement_with_leave_one_out_scores():
    weights = np.asarray([0.3, -0.1, 0.5, 0.0])
    reference = leave_one_out(lambda keep: keep @ weights, 4)
    np.testing.assert_allclose(reference, weights, atol=1e-12)
    agreements = rank_agreement([weights, -weights, [1, 2, 3, 4]], [reference] * 3, "kendall")
    assert agreements.tolist() == pytest.approx([1.0, -1.0, 0.0])
    assert rank_agreement([weights * 7], [reference]).tolist() == pytest.approx([1.0])


def test_random_scores_agree_with_nothing_on_average():
    draw = np.random.default_rng(1)
    agreements = rank_agreement(draw.normal(size=(2000, 9)), draw.normal(size=(2000, 9)))
    # rho of n = 9 random ranks has variance 1 / 8
    assert abs(agreements.mean()) < 4 * math.sqrt(1 / 8 / 2000)
    assert agreements.var() == pytest.approx(1 / 8, rel=0.15)


def test_randomisation_keeps_the_sign():
    maps = [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]
    turned = [[-1.0, -2.0, -3.0], [3.0, 1.0, 2.0]]
    agreements = randomisation_similarity(maps, [maps, turned])
    assert agreements.tolist() == pytest.approx(np.asarray([[1.0, 1.0], [-1.0, 1.0]]))
    with pytest.raises(ValueError, match="at least one re-initialisation"):
        randomisation_similarity(maps, [])


@pytest.mark.parametrize(
    ("scores", "references", "message"),
    [
        ([], [], "at least one text, got none"),
        (
            [[1, 2], [1, 2]],
            [[1, 2], [1, 2, 3]],
            r"scores\[1\] and references\[1\] must align, got 2 and 3 entries",
        ),
        ([[1.0]], [[1.0]], r"scores\[0\] must have at least two units"),
        ([[1.0, 2.0]], [[1.0, math.nan]], r"references\[0\] must be finite"),
    ],
)
def test_what_is_refused(scores, references, message):
    with pytest.raises(ValueError, match=message):
        rank_agreement(scores, references)


def test_other_correlations_and_lengths_are_refused():
    with pytest.raises(ValueError, match="got 'pearson'"):
        rank_agreement([[1.0, 2.0]], [[1.0, 2.0]], "pearson")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="equal lengths of at least two"):
        spearman([1, 2, 3], [1, 2])
