# SPDX-License-Identifier: Apache-2.0
"""Faithfulness from probabilities: every formula against a case worked out by hand, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhex_nlp.evaluation.metrics import perturbation as p

FULL = [0.9, 0.5]
# five bins a text
CHANGED = [[0.8, 0.7, 0.5, 0.4, 0.1], [0.5, 0.6, 0.5, 0.4, 0.0]]
SHARE_METRICS = [p.average_drop, p.increase_in_confidence, p.average_gain, p.soft_average_drop, p.log_odds]
METRICS = [p.comprehensiveness, p.sufficiency, p.aopc, *SHARE_METRICS]


def close(values, expected):
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    assert np.asarray(values).dtype == np.float64


def test_bins_take_the_ceiling_of_their_share():
    assert p.bin_counts(20) == (1, 1, 2, 4, 10)
    assert p.bin_counts(7) == (1, 1, 1, 2, 4)
    assert p.bin_counts(1) == (1, 1, 1, 1, 1)
    assert p.bin_counts(100, [0.07]) == (7,), "0.07 * 100 is 7.000000000000001 in floats"


def test_bin_masks_remove_the_highest_scores_first_and_ties_in_reading_order():
    without, only = p.bin_masks([0.1, 5.0, -9.0, 0.1, 0.2], [0.2, 0.6, 1.0])
    assert only.astype(int).tolist() == [[0, 1, 0, 0, 0], [1, 1, 0, 0, 1], [1, 1, 1, 1, 1]]
    assert np.array_equal(without, ~only)


@pytest.mark.parametrize("metric", [p.comprehensiveness, p.sufficiency])
def test_comprehensiveness_and_sufficiency_by_hand(metric):
    # 0.1 + 0.2 + 0.4 + 0.5 + 0.8 = 2.0 and 0 - 0.1 + 0 + 0.1 + 0.5 = 0.5
    close(metric(FULL, CHANGED), [2.0 / 5, 0.5 / 5])
    close(metric(FULL, CHANGED, "paper"), [2.0 / 6, 0.5 / 6])
    close(metric(FULL, [0.2, 0.7]), [0.7, -0.2])


def test_aopc_counts_the_step_that_changes_nothing():
    close(p.aopc(FULL, CHANGED), [2.0 / 6, 0.5 / 6])
    close(p.aopc(FULL, CHANGED, "bins"), p.comprehensiveness(FULL, CHANGED))
    # Samek's formula term by term: 1 / (L + 1) sum over k = 0..L
    terms = [[full - value for value in [full, *row]] for full, row in zip(FULL, CHANGED, strict=True)]
    close(p.aopc(FULL, CHANGED), np.mean(terms, axis=1))


def test_log_odds_is_the_log_of_the_ratio_without_over_full():
    close(p.log_odds([0.8, 0.5], [0.2, 0.5]), [math.log(0.25), 0.0])
    close(p.log_odds([0.8], [[0.4, 0.2]]), [(math.log(0.5) + math.log(0.25)) / 2])


def test_average_drop_increase_and_gain_by_hand():
    full, only = [0.8, 0.5, 0.4], [0.6, 0.75, 0.4]
    close(p.average_drop(full, only), [25.0, 0.0, 0.0])  # 0.2 / 0.8; a rise is no negative drop
    close(p.increase_in_confidence(full, only), [0.0, 100.0, 0.0])  # equal is no increase
    close(p.average_gain(full, only), [0.0, 50.0, 0.0])  # 0.25 / 0.5
    close(p.average_drop([0.8], [[0.6, 0.4]]), [37.5])
    close(p.increase_in_confidence([0.5], [[0.6, 0.4]]), [50.0])


def test_nothing_to_drop_or_gain_is_zero():
    close(p.average_drop([0.0], [0.3]), [0.0])
    close(p.average_gain([1.0], [0.3]), [0.0])


def test_soft_masks_keep_in_proportion_to_positive_scores():
    close(p.soft_weights([2.0, -3.0, 1.0, 0.0]), [1.0, 0.0, 0.5, 0.0])
    close(p.soft_weights([-1.0, -2.0]), [0.0, 0.0])
    close(p.soft_average_drop([0.8], [0.6]), [25.0])
    assert "our reading" in (p.soft_average_drop.__doc__ or "")


@pytest.mark.parametrize("metric", METRICS)
def test_bad_values_are_refused(metric):
    with pytest.raises(ValueError, match="at least one text"):
        metric([], [])
    with pytest.raises(ValueError, match="at least one text"):
        metric([0.5], np.zeros((1, 0)))
    with pytest.raises(ValueError, match="must be finite, got 1 of 2 values"):
        metric([0.5, 0.5], [0.5, math.nan])
    with pytest.raises(ValueError, match="full must be finite"):
        metric([math.inf, 0.5], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        metric([0.5, 0.5], [0.5, 0.5, 0.5])


@pytest.mark.parametrize("metric", SHARE_METRICS)
def test_only_probabilities_where_the_formula_needs_them(metric):
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\]"):
        metric([0.5], [1.5])


@pytest.mark.parametrize("bins", [[], [0.0], [1.2], [math.nan]])
def test_bins_that_are_no_shares_are_refused(bins):
    with pytest.raises(ValueError, match="bins must be shares"):
        p.bin_counts(10, bins)


def test_options_out_of_range():
    with pytest.raises(ValueError, match="must be above 0 for log-odds"):
        p.log_odds([0.5], [0.0])
    with pytest.raises(ValueError, match=r"divisor must be one of \['bins', 'paper'\]"):
        p.aopc([0.5], [0.5], "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n must be at least 1"):
        p.bin_counts(0)
    with pytest.raises(ValueError, match="scores must be finite"):
        p.bin_masks([0.1, math.nan])


probability = st.floats(0.01, 0.99)


@given(st.lists(st.tuples(probability, probability), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_drop_and_gain_are_percentages_and_never_both(rows):
    full, only = zip(*rows, strict=True)
    drop, gain, rise = p.average_drop(full, only), p.average_gain(full, only), p.increase_in_confidence(full, only)
    assert ((drop >= 0) & (drop <= 100) & (gain >= 0) & (gain <= 100)).all()
    assert (drop * gain == 0).all()
    assert np.array_equal(rise > 0, gain > 0)


def test_random_scores_come_to_what_chance_gives_on_an_additive_model():
    """f = 0.1 + the mean of the kept weights: removing a random k of n costs k / n of the sum, in expectation."""
    draw = np.random.default_rng(0)
    weights = draw.uniform(0, 0.08, 10)
    counts = np.asarray(p.bin_counts(10))
    texts = 4000
    masks = [p.bin_masks(draw.normal(size=10)) for _ in range(texts)]
    full = np.full(texts, 0.1 + weights.sum())
    comp = p.comprehensiveness(full, [0.1 + without @ weights for without, _ in masks])
    suff = p.sufficiency(full, [0.1 + only @ weights for _, only in masks])
    expected = (counts / 10).mean() * weights.sum()
    assert abs(comp.mean() - expected) < 4 * comp.std() / math.sqrt(texts)
    assert abs(suff.mean() - (weights.sum() - expected)) < 4 * suff.std() / math.sqrt(texts)
    best = p.comprehensiveness(full[:1], [0.1 + p.bin_masks(weights)[0] @ weights])
    assert best[0] > comp.mean() + 3 * comp.std() / math.sqrt(texts)
