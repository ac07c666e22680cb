# SPDX-License-Identifier: Apache-2.0
"""Budgets whose prior mean is a mix of one-pass scores and integrated gradients: counted, exact, equal in any batch."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from helpers.families import train_heads
from helpers.games import shapley_of_model
from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain import budget as budgets
from mhex_nlp.explain.refinement import Mix, Prior
from mhex_nlp.models import path_gradients
from mhex_nlp.models.perturbed import PerturbedModel

TOKENIZER = tiny_tokenizer()
MIX = Mix(2, 0.4, 0.5, 8, Prior(ratio=20.0, noise=0.02, freedom=3.0, bend=5.0))
TEXT = "the film was good and the plot was very dull"


def with_record(refinement, **options):
    """A fitted model whose record says so of the prior."""
    model = tiny_bert(dropout=0.0, initializer_range=0.3, **options).eval()
    model = train_heads(get_mhex_model(model, MhexConfig(gate=False)))
    with pytest.warns(UserWarning, match="judged on"):
        fit_equivalent_matrices(model, TOKENIZER, texts(60), attainable_texts=0)
    model.mhex_fit.record = {**model.mhex_fit.record, "refinement": refinement}
    return MhexExplainer(model, TOKENIZER)


@pytest.fixture(scope="module")
def explainer():
    return with_record(asdict(Prior(mix=MIX)), num_labels=3)


def without_mix(explainer, text: str, **options):
    """What the explainer says where its record knows no mix."""
    record = explainer.model.mhex_fit.record
    explainer.model.mhex_fit.record = {**record, "refinement": {"ratio": 4.0, "noise": 0.05, "freedom": 2.0}}
    try:
        return explainer(text, **options)
    finally:
        explainer.model.mhex_fit.record = record


def content(e) -> np.ndarray:
    return np.array([token.score for token in e.tokens if not token.special])


def test_gradients_cost_what_is_said(explainer, monkeypatch):
    """16 passes: two steps, three each, and five pairs; the empty text is asked for besides."""
    rows, steps = [], []
    run, gradients = PerturbedModel.run, path_gradients.integrated_gradients
    monkeypatch.setattr(
        PerturbedModel, "run", lambda self, batch, *a, **k: rows.extend(batch) or run(self, batch, *a, **k)
    )
    monkeypatch.setattr(path_gradients, "integrated_gradients", lambda *a: steps.append(a[-1]) or gradients(*a))
    e = explainer(TEXT, budget=16)
    assert steps == [2] and len(rows) == 10 + 1 and e.passes == 17
    assert explainer(TEXT, budget=6) == without_mix(explainer, TEXT, budget=6), "less than it pays at"
    assert explainer(TEXT) == without_mix(explainer, TEXT)
    assert steps == [2]


def test_all_pairs_are_exact_and_need_no_gradients(explainer):
    short = "the film was good and dull"
    e = explainer(short, budget=62)
    truth = shapley_of_model(explainer.model, TOKENIZER, short, e.target.id)
    np.testing.assert_allclose(content(e), truth, atol=1e-5)
    assert e == without_mix(explainer, short, budget=62)


def test_alone_in_a_batch_and_again_it_is_the_same(explainer):
    several = [*texts(5, seed=4), TEXT]
    together = explainer(several, budget=16)
    for e, text in zip(together, several, strict=True):
        np.testing.assert_allclose(explainer(text, budget=16).scores, e.scores, atol=1e-4)
    assert together == explainer(several, budget=16)
    assert content(together[-1]) != pytest.approx(content(without_mix(explainer, TEXT, budget=16)), abs=1e-3)


@pytest.mark.parametrize(
    "options", [{}, {"classes": "all"}, {"target": 2, "foil": 0}, {"text_pair": "and poor acting"}, {"budget": "auto"}]
)
def test_scores_add_up_to_the_logit(explainer, options):
    e = explainer(TEXT, **{"budget": 14, **options})
    plain = explainer(TEXT, **{**options, "budget": 0})
    assert e.base_value + e.sum == pytest.approx(plain.base_value + plain.sum, abs=1e-4)
    assert all(token.error > 0 for token in e.tokens if not token.special)
    if options.get("budget") == "auto":
        assert (e.passes - 1 - MIX.passes) % 2 == 0 and 1 + MIX.passes < e.passes <= 129
    if "classes" in options:
        np.testing.assert_allclose(e.class_scores.sum(1), 0, atol=1e-4)
        np.testing.assert_allclose(e.class_scores[:, e.target.id], e.scores, atol=1e-5)


def test_only_the_contrast_explained_is_moved():
    draw = np.random.default_rng(0)
    scores, weights, gradients = draw.normal(size=(5, 3)), np.array([1.0, -1.0, 0.0]), draw.normal(size=5)
    mixed = budgets._mixed(scores, budgets.Gradients(weights, gradients, 6), MIX)
    before = scores @ weights - (scores @ weights).mean()
    apart = gradients - gradients.mean()
    expected = 0.4 * before + 0.5 * apart * (np.linalg.norm(before) / np.linalg.norm(apart)) ** 0.5
    np.testing.assert_allclose(mixed @ weights, expected)
    for other in ([1.0, 1.0, 0.0], [0.0, 0.0, 1.0]):
        np.testing.assert_allclose(mixed @ np.array(other), scores @ np.array(other))


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_windows_and_other_tasks(problem):
    labels = 1 if problem == "regression" else 2
    explainer = with_record(asdict(Prior(mix=MIX)), num_labels=labels, problem_type=problem)
    e = explainer(TEXT, budget=14)
    plain = explainer(TEXT)
    assert e.base_value + e.sum == pytest.approx(plain.base_value + plain.sum, abs=1e-4)
    windowed = MhexExplainer(explainer.model, TOKENIZER, max_length=10, stride=2)
    long = windowed(" ".join(texts(4)), budget=14)
    assert long.windows > 1 and long.passes == 15 and all(t.error > 0 for t in long.tokens if not t.special)


def test_where_there_are_no_gradients_all_of_the_budget_goes_into_pairs(explainer, monkeypatch):
    monkeypatch.setattr(path_gradients, "integrated_gradients", lambda *arguments: None)
    assert explainer(TEXT, budget=16) == without_mix(explainer, TEXT, budget=16)
