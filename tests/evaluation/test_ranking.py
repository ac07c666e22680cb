# SPDX-License-Identifier: Apache-2.0
"""Rank agreement by hand and against scipy, ties included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhex_nlp.evaluation.metrics.games import leave_one_out
from mhex_nlp.evaluation.metrics.ranking import (
    average_ranks,
    kendall,
    randomisation_similarity,
    rank_agreement,
    spearman,
)

# few distinct values, so that ties are common
numbers = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12)


def test_equal_values_share_the_mean_rank():
    assert average_ranks([10, 20, 20, 5, 20]).tolist() == [2.0, 4.0, 4.0, 1.0, 4.0]


def test_spearman_by_hand():
    # ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    assert spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(0.8)
    assert spearman([1, 2, 3], [9, 4, -1]) == pytest.approx(-1)
    assert spearman([1, 10, 100], [1, 2, 3]) == pytest.approx(1), "ranks, not values"


def test_kendall_by_hand():
    # six pairs, one of them discordant
    assert kendall([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(4 / 6)
    # one tie in the first: 3 pairs, 2 concordant; tau-b divides by sqrt(2 * 3)
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(6))


@given(numbers)
@settings(max_examples=150, deadline=None)
def test_as_scipy_has_it(pairs):
    stats = pytest.importorskip("scipy.stats")
    first, second = zip(*pairs, strict=True)
    assert average_ranks(first).tolist() == stats.rankdata(first).tolist()
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert spearman(first, second) == kendall(first, second) == 0.0
        return
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)
    assert kendall(first, second) == pytest.approx(stats.kendalltau(first, second).statistic, abs=1e-12)


@given(numbers)
@settings(max_examples=50, deadline=None)
def test_symmetric_and_odd(pairs):
    first, second = (np.asarray(side) for side in zip(*pairs, strict=True))
    for measure in (spearman, kendall):
        assert measure(first, second) == pytest.approx(measure(second, first), abs=1e-12)
        assert measure(first, -second) == pytest.approx(-measure(first, second), abs=1e-12)


def test_agreement_with_leave_one_out_scores():
    weights = np.asarray([0.3, -0.1, 0.5, 0.0])
    reference = leave_one_out(lambda keep: keep @ weights, 4)
    np.testing.assert_allclose(reference, weights, atol=1e-12)
    found = rank_agreement([weights, -weights, [1, 2, 3, 4]], [reference] * 3, "kendall")
    assert found.tolist() == pytest.approx([1.0, -1.0, 0.0])
    assert rank_agreement([weights * 7], [reference]).tolist() == pytest.approx([1.0])


def test_random_scores_agree_with_nothing_on_average():
    draw = np.random.default_rng(1)
    found = rank_agreement(draw.normal(size=(2000, 9)), draw.normal(size=(2000, 9)))
    # rho of n = 9 random ranks has variance 1 / 8
    assert abs(found.mean()) < 4 * math.sqrt(1 / 8 / 2000)
    assert found.var() == pytest.approx(1 / 8, rel=0.15)


def test_randomisation_keeps_the_sign():
    maps = [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]
    turned = [[-1.0, -2.0, -3.0], [3.0, 1.0, 2.0]]
    found = randomisation_similarity(maps, [maps, turned])
    assert found.tolist() == pytest.approx(np.asarray([[1.0, 1.0], [-1.0, 1.0]]))
    with pytest.raises(ValueError, match="at least one re-initialisation"):
        randomisation_similarity(maps, [])


def test_what_is_refused():
    with pytest.raises(ValueError, match="at least one text, got none"):
        rank_agreement([], [])
    with pytest.raises(ValueError, match=r"scores\[1\] and references\[1\] must align, got 2 and 3 entries"):
        rank_agreement([[1, 2], [1, 2]], [[1, 2], [1, 2, 3]])
    with pytest.raises(ValueError, match=r"scores\[0\] must have at least two units"):
        rank_agreement([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"references\[0\] must be finite"):
        rank_agreement([[1.0, 2.0]], [[1.0, math.nan]])
    with pytest.raises(ValueError, match="got 'pearson'"):
        rank_agreement([[1.0, 2.0]], [[1.0, 2.0]], "pearson")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="equal lengths of at least two"):
        spearman([1, 2, 3], [1, 2])
