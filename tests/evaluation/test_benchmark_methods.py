# SPDX-License-Identifier: Apache-2.0
"""Every method against its definition, by hand where that can be done."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.families import plain_model, train_heads
from helpers.tiny import tiny_texts, tiny_tokenizer
from mhex_nlp import MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.evaluation.benchmark.attention import (
    attention_maps,
    attention_rollout,
    eager_view,
    last_attention,
    rollout,
)
from mhex_nlp.evaluation.benchmark.gradients import gradient_scores, path_gradients
from mhex_nlp.evaluation.benchmark.methods import DEFAULT_METHODS, METHODS, OWN_METHODS, available_methods
from mhex_nlp.evaluation.model_values import ModelValues

NAMES = {"id2label": {0: "bad", 1: "fair", 2: "good"}}
TEXTS = [("the film was good and lovely", None), ("a very bad film", "the plot was awful ."), ("superb acting", None)]
TARGETS = [0, 1, 2]


def logits_of(values, text, embeddings=None):
    """(C,) of one text, from embeddings where they are given."""
    inputs = {name: value[None] for name, value in text.item.features.items()}
    if embeddings is not None:
        del inputs["input_ids"]
        inputs["inputs_embeds"] = embeddings[None]
    return values.model(**inputs).logits[0]


@pytest.fixture(scope="module")
def values():
    return ModelValues(plain_model("bert", **NAMES), tiny_tokenizer())


@pytest.fixture(scope="module")
def texts(values):
    return [values.of(*pair) for pair in TEXTS]


def test_gradients_are_those_of_autograd(values, texts):
    """By hand: one text at a time, without padding, through inputs_embeds; a pair with its token types among them."""
    gradients = path_gradients(values, texts, TARGETS, [1.0])
    for text, target, gradient in zip(texts, TARGETS, gradients, strict=True):
        embedded = values.model.get_input_embeddings()(text.item.features["input_ids"]).detach().requires_grad_()
        logits = logits_of(values, text, embedded)
        (logits[target] - logits.mean()).backward()
        torch.testing.assert_close(gradient.mean, embedded.grad.double(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(gradient.embedded, embedded.detach().double())
        norm = gradient_scores("gradient_norm", values, [text], [target])[0]
        np.testing.assert_allclose(norm, text.unit_scores(embedded.grad.norm(dim=-1)), rtol=1e-4)
        product = gradient_scores("gradient_x_input", values, [text], [target])[0]
        expected = text.unit_scores((embedded.grad * embedded).sum(-1).detach())
        np.testing.assert_allclose(product, expected, rtol=1e-3, atol=1e-6)
    assert all(parameter.grad is None for parameter in values.model.get_input_embeddings().parameters())


def test_integrated_gradients_are_complete(values, texts):
    """They add up to what the text is worth more than the same text with all its units masked."""
    for text, target, scores in zip(
        texts, TARGETS, gradient_scores("integrated_gradients", values, texts, TARGETS, steps=100), strict=True
    ):
        empty, full = text.value(target, "centred")(np.array([[False] * text.n, [True] * text.n]))
        assert abs(full - empty) > 1e-3
        assert scores.sum() == pytest.approx(full - empty, rel=1e-3)


def test_integrated_gradients_of_words_are_sums_over_their_tokens(values):
    tokens, words = (values.of("superb acting xyz film", unit=unit) for unit in ("tokens", "words"))
    assert tokens.n > words.n == 4
    fine, coarse = gradient_scores("integrated_gradients", values, [tokens, words], [0, 0], steps=10)
    np.testing.assert_allclose(coarse, [fine[0], fine[1], fine[2:-1].sum(), fine[-1]], atol=1e-6)


@pytest.mark.parametrize("family", ["distilbert", "longformer", "gpt2", "modernbert"])
def test_gradients_in_other_families(family):
    """Other names of the embeddings, padding inside, a decoder whose last token stays, a pooled position elsewhere."""
    values = ModelValues(plain_model(family), tiny_tokenizer())
    text = values.of("the film was good", unit="words")
    (scores,) = gradient_scores("integrated_gradients", values, [text], [1], steps=100)
    empty, full = text.value(1, "centred")(np.array([[False] * text.n, [True] * text.n]))
    assert scores.sum() == pytest.approx(full - empty, rel=5e-3, abs=1e-4)


def test_heads_change_nothing_about_the_gradients(values, texts):
    """Heads that only read: the same model, the same gradients, and no hook is left behind."""
    model = get_mhex_model(values.model, {"gate": False})
    beside = ModelValues(model, tiny_tokenizer())
    same = [beside.of(*pair) for pair in TEXTS]
    for one, other in zip(
        gradient_scores("integrated_gradients", beside, same, TARGETS, 5),
        gradient_scores("integrated_gradients", values, texts, TARGETS, 5),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not model.get_input_embeddings()._forward_hooks


def test_rollout_by_hand():
    first = torch.tensor([[0.5, 0.5], [0.2, 0.8]], dtype=torch.float64)
    second = torch.tensor([[1.0, 0.0], [0.6, 0.4]], dtype=torch.float64)
    product = rollout(torch.stack([first, second]))
    # (0.5 second + 0.5 I)(0.5 first + 0.5 I) = [[1, 0], [0.3, 0.7]] [[0.75, 0.25], [0.1, 0.9]]
    torch.testing.assert_close(product, torch.tensor([[0.75, 0.25], [0.295, 0.705]], dtype=torch.float64))


def test_attention_is_the_models_own(values, texts):
    """Last layer, mean of heads, row of [CLS], against the model made eager by hand; rows of rollout add up to 1."""
    eager = plain_model("bert", attn_implementation="eager", **NAMES)
    assert values.model.config._attn_implementation == "sdpa"
    maps = attention_maps(values, texts)
    for text, layers, scores in zip(texts, maps, last_attention(values, texts), strict=True):
        inputs = {name: value[None] for name, value in text.item.features.items()}
        with torch.no_grad():
            weights = eager(**inputs, output_attentions=True).attentions
        assert len(weights) == len(layers)
        np.testing.assert_allclose(scores, text.unit_scores(weights[-1][0].mean(0)[0]), atol=1e-5)
        torch.testing.assert_close(rollout(layers).sum(-1), torch.ones(len(text.tokens), dtype=torch.float64))
    assert attention_rollout(values, texts)[0].shape == (texts[0].n,)


def test_attention_leaves_the_model_as_it_was(values, texts):
    before = values.model.config._attn_implementation
    view, hooked = eager_view(values.model), []
    assert {part.config._attn_implementation for part in view.modules() if hasattr(part, "config")} == {"eager"}
    # while it runs, another pass over the same model meets neither hooks nor another attention
    hook = values.model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: hooked.append(
            (values.model.config._attn_implementation, len(values.model.get_input_embeddings()._forward_hooks))
        )
    )
    last_attention(values, texts)
    path_gradients(values, texts[:1], TARGETS[:1], [1.0])
    values.soft_logits(texts[0].item, torch.ones(1, len(texts[0].item)))
    hook.remove()
    assert len(hooked) > 2 and set(hooked) == {(before, 1)} == {("sdpa", 1)}


def test_leave_one_out_is_its_definition(values, texts):
    (method,) = available_methods(values, None, ["leave_one_out"])
    text = texts[0]
    scores = method.explain(texts, TARGETS)[0]
    value = text.value(TARGETS[0], "centred")
    full = value(np.ones((1, text.n), dtype=bool))[0]
    for unit in range(text.n):
        keep = np.ones((1, text.n), dtype=bool)
        keep[0, unit] = False
        assert scores[unit] == pytest.approx(full - value(keep)[0], abs=1e-9)


def test_mhex_scores_are_the_explainers(values):
    """For the class asked for, texts and pairs mixed, in their order."""
    model = train_heads(get_mhex_model(plain_model("bert", **NAMES)))
    explainer = MhexExplainer(model, tiny_tokenizer())
    with_heads = ModelValues(model, tiny_tokenizer())
    texts = [with_heads.of(*pair) for pair in TEXTS]
    (method,) = available_methods(with_heads, explainer, ["mhex_supervised"])
    for (text, pair), target, made, scores in zip(TEXTS, TARGETS, texts, method.explain(texts, TARGETS), strict=True):
        np.testing.assert_allclose(scores, made.unit_scores(explainer(text, pair, target=target).scores), atol=1e-6)
    with pytest.raises(ValueError, match="got one with other weights"):
        available_methods(values, explainer, ["mhex_supervised"])


def test_fitted_scores_beside_a_plain_model():
    """Heads that only read explain the plain model they share tensors with, by the fit and not by the heads."""
    plain = plain_model("bert", **NAMES)
    model = get_mhex_model(plain, {"gate": False})
    fit_equivalent_matrices(model, tiny_tokenizer(), tiny_texts(24)[0], masks=2)
    values, explainer = ModelValues(plain, tiny_tokenizer()), MhexExplainer(model, tiny_tokenizer())
    notes = []
    methods = available_methods(values, explainer, ["mhex_fitted", "mhex_supervised"], notes=notes)
    assert [method.name for method in methods] == ["mhex_fitted"] and "heads were never trained" in notes[0]
    text = values.of("the film was good")
    (scores,) = methods[0].explain([text], [2])
    np.testing.assert_allclose(scores, text.unit_scores(explainer(text.item.text, target=2).scores), atol=1e-6)


def test_random_depends_on_the_seed_alone(values, texts):
    runs = [available_methods(values, None, ["random"], seed=seed)[0].explain(texts, TARGETS) for seed in (0, 0, 1)]
    assert all((one == other).all() for one, other in zip(runs[0], runs[1], strict=True))
    assert (runs[0][0] != runs[2][0]).any()


def test_what_a_model_cannot_have_is_left_out_and_told(values):
    notes, of_fnet, of_bart = [], [], []
    methods = available_methods(values, None, OWN_METHODS, notes=notes)
    assert [method.name for method in methods] == [name for name in OWN_METHODS if "mhex" not in name]
    assert len(notes) == 2 and all("`mhex fit`" in note for note in notes)
    assert "shapley" not in DEFAULT_METHODS and set(DEFAULT_METHODS) < set(METHODS)
    available_methods(ModelValues(plain_model("fnet"), tiny_tokenizer()), None, ["rollout"], notes=of_fnet)
    assert of_fnet == [
        "rollout was left out: attention needs a model that gives its (T, T) attention weights, which "
        "FNetForSequenceClassification does not.",
    ]
    bart = ModelValues(plain_model("bart"), tiny_tokenizer())
    methods = available_methods(bart, None, OWN_METHODS, notes=of_bart)
    assert [method.name for method in methods] == ["random", "leave_one_out", "shapley"]
    assert "whose decoder sees the tokens a second time" in " ".join(of_bart)


@pytest.mark.parametrize(
    ("names", "budgets", "message"),
    [
        (["magic"], {}, "methods must be some of mhex_fitted, .*, got 'magic'"),
        ([], {}, "methods must be a list of some of"),
        ("random", {}, "got 'random'"),
        (["mhex_fitted"], {}, "the model has no MHEX heads; `mhex fit`"),
        (["integrated_gradients"], {"steps": 0}, "steps must be an integer of at least 1, got 0"),
        (["shapley"], {"permutations": 6}, "permutations must be a multiple of 4, got 6"),
        (["shapley"], {"orders": 4}, "budgets must be some of steps, .*, got 'orders'"),
    ],
)
def test_bad_input(values, names, budgets, message):
    with pytest.raises(ValueError, match=message):
        available_methods(values, None, names, **budgets)
