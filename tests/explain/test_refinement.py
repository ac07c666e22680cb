# SPDX-License-Identifier: Apache-2.0
"""The posterior of refined scores: the textbook's, the exact one where everything was asked, and honest errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from helpers.games import shapley_of_table
from mhex_nlp.explain.refinement import Prior, chosen_pairs, prior_covariance, refine


def all_values(tokens: int, seed: int, labels: int = 2):
    """v of every subset, by bits: worth of tokens, of pairs and triples of them, and a little of everything."""
    draw = np.random.default_rng(seed)
    kept = (np.arange(2**tokens)[:, None] >> np.arange(tokens) & 1).astype(float)
    together, triple = draw.normal(size=(labels, tokens, tokens)), kept[:, :1] * kept[:, 1:2] * kept[:, -1:]
    values = kept @ draw.normal(size=(tokens, labels)) + np.einsum("si,cij,sj->sc", kept, together, kept) / tokens
    return values + triple + 0.1 * draw.normal(size=values.shape)


def answers_of(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    bits = kept.astype(int) @ (1 << np.arange(kept.shape[1]))
    return values[bits] - values[len(values) - 1 - bits]


def shapley_of_answers(everything: np.ndarray) -> np.ndarray:
    """(N, P): Shapley values of the answers to all pairs, less an even share of the whole, by their definition."""
    pairs, tokens = everything.shape
    columns = []
    for pair in np.eye(pairs):
        values, bits = np.zeros(2**tokens), everything.astype(int) @ (1 << np.arange(tokens))
        values[bits] = pair
        columns.append(shapley_of_table(values, tokens))
    return np.stack(columns, axis=1)


def covariance_of_answers(kept: np.ndarray, mean: np.ndarray, prior: Prior) -> np.ndarray:
    """By s²: errors of the scores, the size of what is kept, all triples with coefficients alike, and white noise."""
    x, tokens = kept * 2.0 - 1, kept.shape[1]
    errors = x @ prior_covariance(mean) @ x.T + 0.5 / tokens * np.outer(x.sum(1), x.sum(1))
    triples = np.stack([x[:, list(three)].prod(1) for three in itertools.combinations(range(tokens), 3)], axis=1)
    return errors / prior.ratio + 0.8 * triples @ triples.T / triples.shape[1] + 0.2 * np.eye(len(x))


@pytest.mark.parametrize("tokens", [2, 3, 5, 8])
def test_a_text_that_was_asked_about_whole_gets_its_shapley_values(tokens):
    values = all_values(tokens, seed=tokens)
    kept = chosen_pairs(tokens, 2**tokens, seed=0)
    assert len(kept) == 2 ** (tokens - 1) - 1 == len(np.unique(np.concatenate([kept, ~kept]), axis=0)) / 2
    start = np.random.default_rng(0).normal(size=(tokens, 2))
    result = refine(kept, answers_of(values, kept), start, values[-1] - values[0], Prior())
    np.testing.assert_allclose(result.scores, shapley_of_table(values, tokens), atol=1e-9)
    assert not result.covariance.any()


def test_more_passes_come_closer_to_the_shapley_values():
    tokens = 10
    values = all_values(tokens, seed=1)
    truth, total = shapley_of_table(values, tokens), values[-1] - values[0]
    start = truth + np.random.default_rng(0).normal(size=truth.shape) * np.abs(truth).mean()
    errors = []
    for pairs in (4, 16, 64, 256, 511):
        kept = chosen_pairs(tokens, pairs, seed=0)
        refined = refine(kept, answers_of(values, kept), start, total, Prior(ratio=3.0))
        errors.append(float(np.abs(refined.scores - truth).mean()))
        np.testing.assert_allclose(refined.scores.sum(0), total, atol=1e-9)
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-9


def test_the_posterior_is_that_of_all_answers_and_their_shapley_values():
    """The textbook's conditional Gaussian over the answers to all pairs, triple by triple, read by the definition."""
    draw, prior, tokens = np.random.default_rng(0), Prior(ratio=4.0), 6
    start, total = draw.normal(size=(tokens, 2)), draw.normal(size=2)
    everything, asked = chosen_pairs(tokens, 31, seed=0), [3, 8, 11, 20, 30]
    answers = draw.normal(size=(5, 2))
    result = refine(everything[asked], answers, start, total, prior)
    x, operator, mean = everything * 2.0 - 1, shapley_of_answers(everything), start + (total - start.sum(0)) / tokens
    among = covariance_of_answers(everything, mean, prior)
    gain = among[:, asked] @ np.linalg.inv(among[np.ix_(asked, asked)])
    expected = x @ mean + gain @ (answers - x[asked] @ mean)
    np.testing.assert_allclose(result.scores, operator @ expected + total / tokens, atol=1e-10)
    left = among - gain @ among[asked]
    np.testing.assert_allclose(result.covariance, operator @ left @ operator.T, atol=1e-10)


def test_no_passes_leave_the_scores_but_for_their_sum():
    start = np.random.default_rng(0).normal(size=(6, 2))
    result = refine(np.zeros((0, 6), dtype=bool), np.zeros((0, 2)), start, start.sum(0), Prior(noise=0.5))
    np.testing.assert_allclose(result.scores, start)
    assert result.noise_of(np.array([0.5, -0.5])) == pytest.approx(0.5)


def test_intervals_hold_what_they_promise():
    """Of games drawn from the prior itself nine in ten intervals hold the true score, at every budget."""
    draw, prior, tokens = np.random.default_rng(0), Prior(ratio=5.0, noise=0.3, freedom=4.0), 7
    contrast, everything = np.array([0.5, -0.5]), chosen_pairs(7, 63, seed=0)
    operator, bits = shapley_of_answers(everything), 1 << np.arange(tokens)
    place = {int(number): row for row, number in enumerate(everything @ bits)}
    for pairs in (2, 8, 32):
        held, kept = [], chosen_pairs(tokens, pairs, seed=0)
        kept = np.where(kept[:, -1:], ~kept, kept)  # as `everything` has them
        rows = [place[int(number)] for number in kept @ bits]
        for _ in range(400):
            start = draw.normal(size=tokens)
            start -= start.mean()
            scores = np.stack([start, -start], axis=1)
            noise = prior.noise * prior.freedom / draw.chisquare(prior.freedom)
            root = np.linalg.cholesky(covariance_of_answers(everything, scores, prior) * noise)
            answers = (everything * 2.0 - 1) @ start + root @ draw.normal(size=len(everything))
            of_labels = np.stack([answers[rows], -answers[rows]], axis=1)
            result = refine(kept, of_labels, scores, np.zeros(2), prior)
            half = stats.t.ppf(0.95, result.freedom) * np.sqrt(result.covariance.diagonal() * result.noise_of(contrast))
            held.append(np.abs(result.scores[:, 0] - operator @ answers) <= half + 1e-9)
        assert np.mean(held) == pytest.approx(0.9, abs=0.025)


def test_chosen_pairs_say_more_than_random_ones_and_depend_on_length_budget_and_seed_alone():
    tokens, pairs = 16, 16
    kept = chosen_pairs(tokens, pairs, seed=0)
    assert kept.shape == (pairs, tokens) and len(np.unique(kept, axis=0)) == pairs
    chosen_pairs.cache_clear()
    assert np.array_equal(kept, chosen_pairs(tokens, pairs, seed=0))
    assert not np.array_equal(kept, chosen_pairs(tokens, pairs, seed=1))
    random = np.random.default_rng(0).random((pairs, tokens)) < 0.5
    left = [
        np.trace(refine(choice, np.zeros((pairs, 1)), np.zeros((tokens, 1)), np.zeros(1), Prior()).covariance)
        for choice in (kept, random)
    ]
    assert left[0] < 0.9 * left[1]
