# SPDX-License-Identifier: Apache-2.0
"""Normalised AOPC against brute force over all orders, and beam search against the exact bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.games import additive, random_game
from mhex_nlp.evaluation.metrics.games import coalition_values, removal_masks, removal_order
from mhex_nlp.evaluation.metrics.naopc import AopcBounds, aopc_bounds, normalised_aopc, order_aopc


def test_orders_and_the_masks_along_them():
    assert removal_order([0.2, 0.9, -1.0, 0.9]) == (1, 3, 0, 2)
    assert removal_masks((1, 0, 2)).astype(int).tolist() == [[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match="name each of its units once"):
        removal_masks((0, 0, 2))


def test_each_distinct_subset_is_valued_once():
    seen = []

    def value(keep):
        seen.append(len(keep))
        return keep.sum(1)

    assert coalition_values(value, [[1, 0], [1, 1], [1, 0], [0, 0]]).tolist() == [1, 2, 1, 0]
    assert seen == [3]


def test_aopc_of_an_order_by_hand():
    # v = 3 a + b: removing a first leaves 1 then 0 of 4; b first leaves 3 then 0
    value = additive([3.0, 1.0])
    assert order_aopc(value, (0, 1)) == pytest.approx((3 + 4) / 2)
    assert order_aopc(value, (1, 0)) == pytest.approx((1 + 4) / 2)
    bounds = aopc_bounds(value, 2)
    assert (bounds.lo, bounds.hi, bounds.worst, bounds.best, bounds.exact) == (2.5, 3.5, (1, 0), (0, 1), True)


@given(st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_exact_bounds_are_those_of_all_orders(n, seed):
    value = random_game(n, seed)
    every = {order: order_aopc(value, order) for order in itertools.permutations(range(n))}
    bounds = aopc_bounds(value, n)
    assert bounds.lo == pytest.approx(min(every.values()), abs=1e-12)
    assert bounds.hi == pytest.approx(max(every.values()), abs=1e-12)
    assert every[bounds.best] == pytest.approx(bounds.hi, abs=1e-12)
    assert every[bounds.worst] == pytest.approx(bounds.lo, abs=1e-12)
    shares = [normalised_aopc(aopc, bounds) for aopc in every.values()]
    assert all(0 <= share <= 1 for share in shares)
    if n > 1:
        assert max(shares) == pytest.approx(1) and min(shares) == pytest.approx(0)


@given(st.integers(2, 6), st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_beam_search_stays_inside_and_a_wide_one_is_exact(n, seed, width):
    value = random_game(n, seed)
    exact = aopc_bounds(value, n)
    beam = aopc_bounds(value, n, n_exact=0, beam=width)
    assert not beam.exact
    assert exact.lo - 1e-12 <= beam.lo <= beam.hi <= exact.hi + 1e-12
    assert order_aopc(value, beam.best) == pytest.approx(beam.hi)
    wide = aopc_bounds(value, n, n_exact=0, beam=2**n)
    assert (wide.lo, wide.hi) == pytest.approx((exact.lo, exact.hi))


def test_beam_search_is_exact_for_an_additive_model_of_any_length():
    weights = np.random.default_rng(3).normal(size=30)
    bounds = aopc_bounds(additive(weights), 30, beam=1)
    assert bounds.best == removal_order(weights)
    assert bounds.worst == removal_order(weights)[::-1]
    assert normalised_aopc(order_aopc(additive(weights), removal_order(weights)), bounds) == 1.0


def test_known_orders_widen_a_beam():
    value = random_game(7, 5)
    exact = aopc_bounds(value, 7)
    narrow = aopc_bounds(value, 7, n_exact=0, beam=1)
    assert narrow.hi < exact.hi or narrow.lo > exact.lo, "the game must be one that a beam of 1 gets wrong"
    widened = aopc_bounds(value, 7, n_exact=0, beam=1, orders=[exact.best, exact.worst])
    assert (widened.lo, widened.hi) == pytest.approx((exact.lo, exact.hi))


def test_no_order_differs_where_nothing_matters():
    bounds = aopc_bounds(lambda keep: np.full(len(keep), 0.7), 4)
    assert normalised_aopc(0.0, bounds) == 0.0
    assert normalised_aopc(0.3, aopc_bounds(additive([0.3]), 1)) == 0.0


def test_random_orders_come_near_the_middle_of_an_additive_model():
    """An order and its reverse add up to lo + hi there, so the mean over random orders is 1/2."""
    weights = np.random.default_rng(4).uniform(size=8)
    bounds, draw = aopc_bounds(additive(weights), 8), np.random.default_rng(5)
    shares = [normalised_aopc(order_aopc(additive(weights), draw.permutation(8)), bounds) for _ in range(600)]
    assert abs(np.mean(shares) - 0.5) < 4 * np.std(shares) / math.sqrt(len(shares))


@pytest.mark.parametrize(
    ("value", "n", "beam", "message"),
    [
        (additive([]), 0, 5, "n and beam must be at least 1"),
        (additive([1.0, 2.0]), 2, 0, "beam=0"),
        (lambda keep: np.full(len(keep), math.nan), 2, 5, "must be finite, got 4 of 4 values"),
        (lambda keep: keep[:, :1], 2, 5, r"must give \(4,\) for as many subsets, got \(4, 1\)"),
    ],
)
def test_bad_games_are_refused(value, n, beam, message):
    with pytest.raises(ValueError, match=message):
        aopc_bounds(value, n, beam=beam)


def test_values_outside_exact_bounds_are_refused():
    with pytest.raises(ValueError, match="aopc must be finite"):
        normalised_aopc(math.nan, AopcBounds(0, 1, (0,), (0,), True))
    with pytest.raises(ValueError, match="between its exact bounds 0 and 1, got 2"):
        normalised_aopc(2.0, AopcBounds(0, 1, (0,), (0,), True))
    assert normalised_aopc(2.0, AopcBounds(0, 1, (0,), (0,), False)) == 1.0
