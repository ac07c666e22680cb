# SPDX-License-Identifier: Apache-2.0
"""The posterior of refined scores: the textbook's, the exact one where everything was asked, and honest errors."""

from __future__ import annotations

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


def test_the_mean_and_covariance_are_the_textbooks():
    """(X'X / s² + B⁺ ratio / s²)⁻¹ on the space of what adds up to 0, by coordinates of that space."""
    draw = np.random.default_rng(0)
    tokens, kept = 7, chosen_pairs(7, 5, seed=3)
    x, answers, start, total = (
        kept * 2.0 - 1,
        draw.normal(size=(5, 3)),
        draw.normal(size=(tokens, 3)),
        draw.normal(size=3),
    )
    prior = Prior(ratio=4.0)
    result = refine(kept, answers, start, total, prior)
    mean = start + (total - start.sum(0)) / tokens
    basis = np.linalg.svd(np.ones((1, tokens)))[2][1:].T
    z, inner = x @ basis, basis.T @ prior_covariance(mean) @ basis
    covariance = np.linalg.inv(z.T @ z + prior.ratio * np.linalg.inv(inner))
    np.testing.assert_allclose(result.covariance, basis @ covariance @ basis.T, atol=1e-10)
    np.testing.assert_allclose(result.scores, mean + basis @ covariance @ z.T @ (answers - x @ mean), atol=1e-10)


def test_no_passes_leave_the_scores_but_for_their_sum():
    start = np.random.default_rng(0).normal(size=(6, 2))
    result = refine(np.zeros((0, 6), dtype=bool), np.zeros((0, 2)), start, start.sum(0), Prior(noise=0.5))
    np.testing.assert_allclose(result.scores, start)
    assert result.noise_of(np.array([0.5, -0.5])) == pytest.approx(0.5)


def test_intervals_hold_what_they_promise():
    """On texts drawn from the prior itself nine in ten intervals hold the true score, at every budget."""
    draw, prior, tokens = np.random.default_rng(0), Prior(ratio=5.0, noise=0.3, freedom=4.0), 12
    contrast = np.array([0.5, -0.5])
    for pairs in (2, 8, 32):
        held = []
        kept = chosen_pairs(tokens, pairs, seed=0)
        x = kept * 2.0 - 1
        for _ in range(400):
            start = draw.normal(size=tokens)
            start -= start.mean()
            scores = np.stack([start, -start], axis=1)
            noise = prior.noise * prior.freedom / draw.chisquare(prior.freedom)
            root = np.linalg.cholesky(prior_covariance(scores) * noise / prior.ratio + 1e-12 * np.eye(tokens))
            truth = start + root @ draw.normal(size=tokens)
            answers = x @ truth + draw.normal(size=pairs) * noise**0.5
            result = refine(kept, np.stack([answers, -answers], axis=1), scores, np.zeros(2), prior)
            half = stats.t.ppf(0.95, result.freedom) * np.sqrt(result.covariance.diagonal() * result.noise_of(contrast))
            held.append(np.abs(result.scores[:, 0] - truth) <= half + 1e-9)
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
