# SPDX-License-Identifier: Apache-2.0
"""The attainable skill of made-up models whose answers to subsets are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mhex_nlp.explain.refinement import Prior, answer_covariance, interactions
from mhex_nlp.explain.skill import Rows
from mhex_nlp.inputs.removal import random_subsets
from mhex_nlp.training.fitting.attainable import attainable
from mhex_nlp.training.fitting.error_prior import Example, estimate_prior, learn_mix

TOKENS = 10


class Game:
    """Stands in for the rows of a model: a text's answers are its tokens' worth and noise of each subset."""

    def __init__(self, noise: float, pairs: float = 0.0) -> None:
        self.noise, self.pairs, self.passes = noise, pairs, 0

    def content_sizes(self, texts: Any, pairs: Any) -> list[int]:
        return [TOKENS]

    def contrast_of(self, target: int, labels: int) -> torch.Tensor:
        return torch.ones(labels, dtype=torch.float64)

    def gradients(self, texts: Any, pairs: Any, contrast: Any, steps: int, seed: Any) -> None:
        return None

    def rows(self, texts: Any, pairs: Any, numbers: Any, seed: int, masks: int) -> Any:
        draw = np.random.default_rng(numbers)
        kept = random_subsets(TOKENS, masks, [seed, numbers[0]]).double()
        worth, together = draw.normal(size=TOKENS), draw.normal(size=(TOKENS, TOKENS)) * self.pairs
        answers = kept @ torch.from_numpy(worth) + torch.einsum("si,ij,sj->s", kept, torch.from_numpy(together), kept)
        answers[:-1] += torch.from_numpy(draw.normal(size=masks)) * self.noise
        self.passes += masks
        yield Rows(kept, answers[:, None], kept.sum(1), 0)


def measure(game: Game, texts: int = 200, passes: int = 100_000) -> Any:
    weights = torch.zeros(TOKENS, 1, dtype=torch.float64)  # a fit that knows nothing
    return attainable(game, weights, ["text"] * texts, None, range(texts), passes=passes, seed=0)


@pytest.mark.parametrize("pairs", [0.0, 1.0])
def test_answers_that_add_up_are_attained_whole(pairs):
    """Interactions of pairs too: differences of complements hold them in full."""
    result = measure(Game(0.0, pairs), texts=5)
    assert result.skill == pytest.approx(1) and result.reliability == pytest.approx(1) and result.texts == 5


def test_noise_cannot_be_attained_however_well_it_was_fitted():
    """Without the count of degrees of freedom this would read a quarter of the noise as skill."""
    result = measure(Game(noise=1e6))
    assert abs(result.skill) < 0.05 and result.reliability < 0.1


def test_the_share_of_noise_is_found():
    """Each difference has the variance 2 of noise; what tokens add to it is known from the draws."""
    draw = [np.random.default_rng([number]).normal(size=TOKENS) for number in range(200)]
    signal = []
    for number, worth in enumerate(draw):
        x = random_subsets(TOKENS, 36, [0, number])[:18].numpy() * 2.0 - 1
        signal.append(((x @ (worth - worth.mean())) ** 2).mean())
    expected = np.mean(signal) / (np.mean(signal) + 2)
    result = measure(Game(noise=1.0))
    assert result.skill == pytest.approx(expected, abs=0.03)
    assert result.interval[0] < expected < result.interval[1] and 0.5 < result.reliability < 0.95


def test_no_more_passes_than_allowed():
    game = Game(noise=0.1)
    assert measure(game, passes=100).texts == 2 and game.passes == 72
    assert measure(Game(0.1), passes=40) is None


def test_the_prior_of_a_fits_errors_is_found():
    """Texts drawn from a prior give that prior back."""
    draw, true = np.random.default_rng(0), Prior(ratio=8.0, noise=0.2, freedom=6.0)
    examples = []
    for _ in range(300):
        x = random_subsets(TOKENS, 40, draw.integers(0, 2**30, 2).tolist())[:20].numpy() * 2.0 - 1
        scores = draw.normal(size=(TOKENS, 2))
        noise = true.noise * true.freedom / draw.chisquare(true.freedom)
        covariance = answer_covariance(x, scores) / true.ratio + interactions(x).answers
        examples.append(Example(x, scores, draw.multivariate_normal(np.zeros(len(x)), covariance * noise)))
    prior = estimate_prior(examples)
    assert prior.ratio == pytest.approx(true.ratio, rel=0.25)
    assert prior.noise == pytest.approx(true.noise, rel=0.15)
    assert prior.freedom == pytest.approx(true.freedom, rel=0.4)
    assert estimate_prior(examples[:4]) is None


def made_up_texts(useful: bool, count: int = 40) -> list[Example]:
    """Whose true scores are a mix of the scores and gradients, or of the scores alone, and errors of the same size."""
    draw, examples = np.random.default_rng(1), []
    for _ in range(count):
        x = random_subsets(TOKENS, 48, draw.integers(0, 2**30, 2).tolist())[:24].numpy() * 2.0 - 1
        scores, gradients = (row - row.mean() for row in draw.normal(size=(2, TOKENS)))
        gradients *= np.linalg.norm(scores) / np.linalg.norm(gradients)
        error = draw.normal(size=TOKENS) * 0.2
        truth = 0.7 * scores + 0.6 * gradients * useful + error - error.mean()
        missed = x @ (truth - scores) + draw.normal(size=len(x)) * 0.3
        weights = np.array([0.5, -0.5])
        both = np.stack([scores, -scores], axis=1)
        examples.append(Example(x, both, missed, weights, gradients))
    return examples


def test_the_mix_is_what_the_answers_say():
    examples = made_up_texts(useful=True)
    mix = learn_mix(examples, estimate_prior(examples))
    assert (mix.scores, mix.gradients) == (pytest.approx(0.7, abs=0.1), pytest.approx(0.6, abs=0.1))
    assert mix.least == 8 and mix.passes == 6 and mix.prior.ratio > 3 * estimate_prior(examples).ratio
    for mixed, example in zip([e.mixed(mix) for e in examples], examples, strict=True):
        answers = example.missed + example.x @ example.contrasted
        np.testing.assert_allclose(mixed.missed + mixed.x @ mixed.contrasted, answers)


def test_gradients_that_say_nothing_are_not_asked_for():
    examples = made_up_texts(useful=False)
    exact = [e._replace(scores=0.7 * e.scores, missed=e.missed + 0.3 * e.x @ e.contrasted) for e in examples]
    assert learn_mix(exact, estimate_prior(exact)) is None
    assert learn_mix([exact[0]._replace(gradients=None), *exact[1:]], estimate_prior(exact)) is None


def test_answers_that_bend_with_the_size_are_told_from_errors():
    draw, examples = np.random.default_rng(2), []
    for _ in range(60):
        x = random_subsets(TOKENS, 48, draw.integers(0, 2**30, 2).tolist())[:24].numpy() * 2.0 - 1
        share = x.mean(1)
        missed = 5 * draw.normal() * (share - share**3) + draw.normal(size=len(x)) * 0.3
        examples.append(Example(x, draw.normal(size=(TOKENS, 1)), missed))
    assert estimate_prior(examples).bend >= 10
