# SPDX-License-Identifier: Apache-2.0
"""Sampled Shapley values: games whose values are known, the axioms, and what the reliability says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.games import random_game
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley, spearman_brown


def exact_shapley(value, n):
    """The mean marginal contribution over all n! orders."""
    total = np.zeros(n)
    for order in itertools.permutations(range(n)):
        keep = np.zeros((n + 1, n), dtype=bool)
        for step, unit in enumerate(order):
            keep[step + 1 :, unit] = True
        total[list(order)] += np.diff(value(keep))
    return total / math.factorial(n)


def glove(keep):
    """Unit 0 holds a left glove, 1 and 2 a right one; a pair is worth 1. Shapley: 2/3, 1/6, 1/6."""
    return (keep[:, 0] & (keep[:, 1] | keep[:, 2])).astype(float)


def test_the_glove_game():
    estimate = sampled_shapley(glove, 3, permutations=6000, seed=1)
    np.testing.assert_allclose(exact_shapley(glove, 3), [2 / 3, 1 / 6, 1 / 6])
    np.testing.assert_allclose(estimate.values, [2 / 3, 1 / 6, 1 / 6], atol=0.02)
    assert estimate.subsets == 8, "each distinct subset is valued once"


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.booleans(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_an_additive_game_is_recovered_exactly(weights, antithetic, seed):
    estimate = sampled_shapley(
        lambda keep: 0.5 + keep @ np.asarray(weights), len(weights), permutations=4, antithetic=antithetic, seed=seed
    )
    np.testing.assert_allclose(estimate.values, weights, atol=1e-9)
    np.testing.assert_allclose(estimate.halves, [weights, weights], atol=1e-9)


@given(st.integers(1, 6), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_efficiency_holds_for_any_game_and_sample(n, seed, antithetic):
    value = random_game(n, seed, "normal")
    estimate = sampled_shapley(value, n, permutations=8, antithetic=antithetic, seed=seed)
    ends = value(np.asarray([[True] * n, [False] * n]))
    assert estimate.values.sum() == pytest.approx(ends[0] - ends[1], abs=1e-9)
    np.testing.assert_allclose(estimate.halves.mean(0), estimate.values, atol=1e-12)


def test_symmetric_units_and_dummies():
    def value(keep):  # units 1 and 2 alike, 3 does nothing
        return 2.0 * keep[:, 0] + keep[:, 1] * keep[:, 2] + 0.0 * keep[:, 3]

    estimate = sampled_shapley(value, 4, permutations=4, seed=2)
    assert estimate.values[1] == pytest.approx(estimate.values[2], abs=1e-12), (
        "an order and its reverse share pairs evenly"
    )
    np.testing.assert_allclose(estimate.values, [2.0, 0.5, 0.5, 0.0], atol=1e-12)


def test_antithetic_orders_are_exact_for_pairs_and_plain_ones_are_not():
    couple = np.triu(np.random.default_rng(6).normal(size=(6, 6)), 1)

    def value(keep):
        return np.einsum("si,ij,sj->s", keep, couple, keep)

    exact = (couple + couple.T).sum(1) / 2
    estimate = sampled_shapley(value, 6, permutations=4)
    np.testing.assert_allclose(estimate.values, exact, atol=1e-9)
    np.testing.assert_allclose(estimate.halves, [exact, exact], atol=1e-9, err_msg="a half must hold whole pairs")
    assert np.abs(sampled_shapley(value, 6, permutations=4, antithetic=False).values - exact).max() > 0.01


def test_more_orders_come_nearer_to_all_orders():
    value = random_game(6, 8, "normal")
    exact = exact_shapley(value, 6)
    errors = [
        np.mean([np.abs(sampled_shapley(value, 6, permutations=count, seed=s).values - exact).mean() for s in range(8)])
        for count in (4, 400)
    ]
    assert errors[1] < errors[0] / 5, errors


def test_seeds():
    value = random_game(7, 9, "normal")
    one, again, other = (sampled_shapley(value, 7, permutations=8, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.values, again.values) and np.array_equal(one.halves, again.halves)
    assert not np.array_equal(one.values, other.values)


def test_halves_are_samples_of_their_own():
    estimate = sampled_shapley(random_game(8, 3, "normal"), 8, permutations=8, seed=0)
    assert np.abs(estimate.halves[0] - estimate.halves[1]).max() > 1e-3
    assert -1 <= estimate.reliability < 1
    assert estimate.corrected == spearman_brown(estimate.reliability)


def test_reliability_grows_with_the_sample_and_is_corrected_for_length():
    value = random_game(8, 10, "normal")
    few, many = (
        np.mean([sampled_shapley(value, 8, permutations=count, seed=s).reliability for s in range(6)])
        for count in (8, 4096)
    )
    assert many > 0.9 > 0.6 > few, (few, many)
    assert spearman_brown(0.8) == pytest.approx(1.6 / 1.8)
    assert spearman_brown(-0.4) == -0.4 and spearman_brown(-1.0) == -1.0 and spearman_brown(1.0) == 1.0
    single = sampled_shapley(lambda keep: keep[:, 0] * 2.0, 1, permutations=4)
    assert (single.values.tolist(), single.reliability, single.corrected) == ([2.0], None, None)


@pytest.mark.parametrize(
    ("value", "n", "options", "message"),
    [
        (glove, 0, {}, "n must be at least 1"),
        (glove, 3, {"permutations": 6}, "multiple of 4 when antithetic, got 6"),
        (glove, 3, {"permutations": 3, "antithetic": False}, "multiple of 2, got 3"),
        (
            lambda keep: np.full(len(keep), math.inf),
            3,
            {"permutations": 4},
            "value function's result must be finite",
        ),
    ],
)
def test_what_is_refused(value, n, options, message):
    with pytest.raises(ValueError, match=message):
        sampled_shapley(value, n, **options)


def test_a_reliability_out_of_range_is_refused():
    with pytest.raises(ValueError, match="reliability must be in"):
        spearman_brown(1.5)
