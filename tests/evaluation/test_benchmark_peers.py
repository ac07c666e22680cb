# SPDX-License-Identifier: Apache-2.0
"""The peers of the extra `bench`: additive games, captum against our own integrated gradients, captum's metrics."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from helpers.extras import needs
from helpers.families import plain_model
from helpers.games import additive
from helpers.tiny import tiny_tokenizer
from mhex_nlp.evaluation.benchmark import peers
from mhex_nlp.evaluation.benchmark.captum_metrics import infidelity, sensitivity_max
from mhex_nlp.evaluation.benchmark.gradients import gradient_scores
from mhex_nlp.evaluation.benchmark.methods import available_methods
from mhex_nlp.evaluation.model_values import ModelValues

WEIGHTS = np.array([2.0, -1.0, 0.5, 0.0, 3.0, -0.25, 1.0, -2.0])


def shifted(keep):
    return additive(WEIGHTS)(keep) + 5.0


@pytest.fixture(scope="module")
def values():
    return ModelValues(plain_model("bert"), tiny_tokenizer())


@pytest.mark.parametrize(
    ("game", "module", "tolerance"),
    [
        (peers.kernel_shap_game, "shap", 1e-6),
        (peers.permutation_shap_game, "shap", 1e-9),
        (peers.lime_game, "lime", 0.1),  # lime's ridge shrinks
    ],
)
def test_an_additive_game_is_recovered(game, module, tolerance):
    needs(module)
    state = np.random.get_state()[1].copy()
    scores = game(shifted, len(WEIGHTS), seed=3)
    np.testing.assert_allclose(scores, WEIGHTS, atol=tolerance)
    assert (game(shifted, len(WEIGHTS), seed=3) == scores).all()
    assert (np.random.get_state()[1] == state).all()  # the caller's own draws go on as if nothing had happened


def test_captum_agrees_with_our_integrated_gradients(values):
    """Same baseline, rule and steps; a pair of texts among them."""
    needs("captum")
    texts = [values.of("the film was good and lovely"), values.of("a very bad film", "the plot was awful .")]
    ours = gradient_scores("integrated_gradients", values, texts, [0, 2], steps=12)
    for one, other in zip(peers.captum_integrated_gradients(values, texts, [0, 2], steps=12), ours, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_every_peer_explains_our_units(values):
    needs("captum", "lime", "shap")
    text = values.of("superb acting xyz film", unit="words")
    names = ["captum_integrated_gradients", "shap", "kernel_shap", "lime"]
    methods = available_methods(values, None, names, kernel_samples=20, lime_samples=20, shap_evaluations=20)
    assert [method.name for method in methods] == names
    empty, full = text.value(1, "centred")(np.array([[False] * text.n, [True] * text.n]))
    scores = {method.name: method.explain([text], [1])[0] for method in methods}
    assert all(row.shape == (text.n,) for row in scores.values())
    for name in ("shap", "kernel_shap"):  # both are efficient
        assert scores[name].sum() == pytest.approx(full - empty, abs=1e-6)


def test_a_missing_library_is_named(values, monkeypatch):
    def gone(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(ImportError, match=r"lime is not installed; pip install 'mhex_nlp\[bench\]' installs it"):
        available_methods(values, None, ["lime"])
    notes = []
    methods = available_methods(values, None, ["random", "lime"], notes=notes)
    assert [method.name for method in methods] == ["random"] and "lime was left out: lime is not installed" in notes[0]


def test_infidelity_is_the_squared_error_over_subsets(values):
    """0 for exact scores of a game that adds up; what is missing, squared, for others."""
    needs("captum")
    text = values.of("good film")
    assert text.n == 2
    value = text.value(1, "centred")
    none, first, second, both = value(np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool))
    drops = {(1, 0): both - second, (0, 1): both - first, (1, 1): both - none}
    scores = np.array([0.3, -0.2])
    errors = {subset: (np.dot(subset, scores) - drop) ** 2 for subset, drop in drops.items()}
    expected = 0.25 * errors[1, 0] + 0.25 * errors[0, 1] + 0.5 * errors[1, 1]  # each size as likely
    assert infidelity(text, 1, scores, samples=4000) == pytest.approx(expected, rel=0.05)
    assert infidelity(text, 1, scores, samples=50) == infidelity(text, 1, scores, samples=50)
    with pytest.raises(ValueError, match=r"scores must be \(2,\)"):
        infidelity(text, 1, [1.0])


def test_sensitivity_grows_with_the_radius(values):
    needs("captum")
    text = values.of("the film was good")
    near, far = (sensitivity_max(text, 1, radius=radius, samples=4) for radius in (1e-4, 0.1))
    assert 0 < near < far
    assert sensitivity_max(text, 1, radius=0.1, samples=4) == far
    assert sensitivity_max(text, 1, "integrated_gradients", samples=2, steps=4) > 0
    with pytest.raises(ValueError, match="method must be one of gradient_norm"):
        sensitivity_max(text, 1, "lime")
