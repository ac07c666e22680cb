# SPDX-License-Identifier: Apache-2.0
"""Parameter randomisation: what is drawn anew, what stays bit-identical, and what comes back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from helpers.families import plain_model, train_heads
from helpers.tiny import tiny_bert, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.evaluation.metrics.randomisation import parameter_randomisation, randomised
from mhex_nlp.evaluation.metrics.ranking import spearman

TOKENIZER = tiny_tokenizer()
TEXTS = [
    "the film was good and the plot was bad",
    "a very dull film , it was awful",
    "lovely music and superb acting .",
]


@pytest.fixture(scope="module")
def model():
    """Heads as after training, a fit, and a backbone in which no weight stands at its start value."""
    plain = tiny_bert(dropout=0.0, num_labels=3, id2label=None, label2id=None).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    model = train_heads(get_mhex_model(plain, MhexConfig(gate=True)))
    fit_equivalent_matrices(model, TOKENIZER, tiny_texts(30)[0], masks=4, progress=False)
    return model


def snapshot(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def ours(name):
    return name.startswith(("mhex.", "mhex_fit."))


def test_the_backbone_starts_anew_and_heads_and_fit_stay(model):
    before = snapshot(model)
    with randomised(model, "backbone", seed=1):
        inside = snapshot(model)
    assert changed(before, inside) == {name for name in before if not ours(name) and "position_ids" not in name}
    norms = [name for name in before if "LayerNorm.weight" in name]
    assert norms and all(torch.equal(inside[name], torch.ones_like(inside[name])) for name in norms)
    assert not inside["classifier.bias"].any() and not inside["bert.encoder.layer.0.output.dense.bias"].any()
    assert inside["classifier.weight"].std() == pytest.approx(0.02, rel=0.3)
    assert not changed(before, snapshot(model)), "everything is back"


def test_layers_alone(model):
    before = snapshot(model)
    with randomised(model, "layers", seed=1):
        inside = snapshot(model)
    assert changed(before, inside) == {name for name in before if ".encoder.layer." in name and not ours(name)}
    assert not changed(before, snapshot(model))


def test_heads_and_fitted_matrices_keep_their_scale(model):
    before = snapshot(model)
    with randomised(model, "heads", seed=1):
        inside = snapshot(model)
    assert changed(before, inside) == {name for name in before if ours(name)}
    for name in ("mhex.0.w1", "mhex_fit.depth_1"):
        old, new = before[name].square().mean().sqrt(), inside[name].square().mean().sqrt()
        assert float(new) == pytest.approx(float(old), rel=0.2), name
        assert abs(spearman(before[name].flatten().numpy(), inside[name].flatten().numpy())) < 0.4
    assert not changed(before, snapshot(model))


@pytest.mark.parametrize("part", ["backbone", "heads"])
def test_seeds_are_repeatable_and_touch_no_other_generator(model, part):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = []
    for seed in (1, 1, 2):
        with randomised(model, part, seed):
            drawn.append(snapshot(model))
    assert not changed(drawn[0], drawn[1]) and changed(drawn[0], drawn[2])
    assert torch.equal(torch.rand(3), expected)


def test_weights_come_back_after_an_error(model):
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="stop"), randomised(model):
        raise RuntimeError("stop")
    assert not changed(before, snapshot(model))


@pytest.mark.parametrize("family", ["albert", "distilbert", "gpt2", "modernbert", "t5", "roberta-prelayernorm"])
@pytest.mark.parametrize("part", ["backbone", "layers", "heads"])
def test_other_families(family, part):
    model = train_heads(get_mhex_model(plain_model(family), MhexConfig()))
    before = snapshot(model)
    with randomised(model, part):
        inside = changed(before, snapshot(model))
    assert inside and all(ours(name) == (part == "heads") for name in inside)
    assert not changed(before, snapshot(model))


@pytest.mark.parametrize("aggregation", ["mean", "fitted"])
def test_similarities_by_hand(model, aggregation):
    """Content tokens, and the class of the unchanged model even where the changed one predicts another."""
    explainer = MhexExplainer(model, TOKENIZER, aggregation=aggregation, changed_weights="note")
    similarities = parameter_randomisation(explainer, TEXTS, "backbone", seeds=(3, 4))
    assert similarities.shape == (2, 3)
    for row, seed in enumerate((3, 4)):
        for column, text in enumerate(TEXTS):
            before = explainer(text)
            with randomised(model, "backbone", seed):
                after = explainer(text, target=before.target.id)
            assert after.target.id == before.target.id
            assert similarities[row, column] == pytest.approx(spearman(before.scores[1:-1], after.scores[1:-1]))


@pytest.mark.parametrize("aggregation", ["mean", "fitted"])
def test_random_heads_order_the_tokens_at_random(model, aggregation):
    explainer = MhexExplainer(model, TOKENIZER, aggregation=aggregation)
    similarities = parameter_randomisation(explainer, TEXTS, "heads", seeds=range(60))
    # draws are independent, texts under one draw are not
    error = similarities.mean(1).std(ddof=1) / math.sqrt(len(similarities))
    assert abs(similarities.mean()) < 4 * error < 0.4


def test_texts_of_several_classes_keep_their_order(model):
    explainer = MhexExplainer(model, TOKENIZER)
    texts = tiny_texts(12, seed=3)[0]
    together = parameter_randomisation(explainer, texts, "layers", seeds=[0])
    assert len({explainer(text).target.id for text in texts}) > 1
    alone = [parameter_randomisation(explainer, [text], "layers", seeds=[0])[0, 0] for text in texts]
    np.testing.assert_allclose(together[0], alone, atol=0.1)


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        (TEXTS, {"part": "embeddings"}, ValueError, "part must be one of .*got 'embeddings'"),
        ([], {}, ValueError, "at least one entry each, got 0 and 3"),
        (TEXTS, {"seeds": ()}, ValueError, "at least one entry each, got 3 and 0"),
        ("the film", {}, TypeError, "sequence of texts, got the single text"),
        ([TEXTS[0], "good"], {}, ValueError, r"texts\[1\] must have at least two content tokens to be ordered, got 1"),
    ],
)
def test_what_is_refused(model, texts, options, error, message):
    with pytest.raises(error, match=message):
        parameter_randomisation(MhexExplainer(model, TOKENIZER), texts, **options)


def test_models_that_cannot_be_drawn_anew_are_refused():
    with pytest.raises(ValueError, match="must have MHEX heads"), randomised(tiny_bert()):
        pass
    extra = get_mhex_model(tiny_bert(), MhexConfig())
    extra.bert.pooler.extra = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="got bert.pooler.extra.weight: merge adapters first"), randomised(extra):
        pass
