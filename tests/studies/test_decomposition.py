# SPDX-License-Identifier: Apache-2.0
"""DecompX and ALTI against the real pass: what is decomposed adds up, with gates and without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from helpers.tiny import WORDS, tiny_bert, tiny_mhex, tiny_tokenizer
from mhex_nlp.evaluation.model_values import ModelValues
from studies.budget.decomposition import (
    alti,
    contributions,
    decomposed_logits,
    decomposed_states,
    decompx,
    forward_pass,
    transformed_vectors,
)
from studies.budget.methods import LABELS, ONCE, Counted

TEXT = "the film was a superb plot and very dull acting"
MAKERS = {
    "plain": tiny_bert,
    "heads": lambda **config: tiny_mhex(gate=False, **config),
    "gates": lambda **config: tiny_mhex(gate=True, **config),
}


def drawn(kind: str, **config: int):
    """The text of a model all of whose weights are random, biases and gates among them."""
    model = MAKERS[kind](dropout=0.0, **config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return ModelValues(model, tiny_tokenizer()).of(TEXT)


@pytest.fixture(params=MAKERS)
def text(request):
    return drawn(request.param, num_labels=3, id2label=None, label2id=None)


def test_decomposed_vectors_add_up_to_the_states(text):
    run = forward_pass(text)
    depths = list(decomposed_states(run))
    assert len(depths) == len(run.states) == 3
    for parts, state in zip(depths, run.states, strict=True):
        assert parts.shape == (len(state), len(state), 32)
        torch.testing.assert_close(parts.sum(1), state, atol=1e-4, rtol=1e-4)
    assert (depths[0].norm(dim=-1) > 0).equal(torch.eye(len(run.states[0]), dtype=torch.bool))
    assert (depths[1].norm(dim=-1) > 1e-3).all()


def test_shares_and_bias_add_up_to_the_logits(text):
    run = forward_pass(text)
    shares, bias = decomposed_logits(text.owner.model, run)
    everything = text.logits(np.ones((1, text.n), dtype=bool))[0]
    np.testing.assert_allclose(shares.sum(0) + bias, everything, atol=1e-4)
    np.testing.assert_allclose(run.logits, everything, atol=1e-4)
    for target in range(3):
        scores, template = decompx(text, target), shares[text.fixed].sum(0) + bias
        whole = scores.sum() + float(template[target] - template.mean())
        assert whole == pytest.approx(float(text.explained(target)(np.ones((1, text.n), dtype=bool))[0]), abs=1e-4)


def test_gates_take_part():
    text = drawn("gates")
    run = forward_pass(text)
    assert all(gate.shape == (1, 32) and (gate - 1).abs().max() > 0.05 for gate in run.gates)
    assert not text.owner.model.mhex[0].activation._forward_hooks


def test_transformed_vectors_explain_the_attention_block(text):
    """T_i(x_j) and the biases that no token owns give what the block gives."""
    run, outputs = forward_pass(text), []
    hooks = [
        layer.attention.output.LayerNorm.register_forward_hook(lambda module, args, output: outputs.append(output[0]))
        for layer in run.layers
    ]
    forward_pass(text)
    for hook in hooks:
        hook.remove()
    for depth, output in enumerate(outputs):
        transformed, whole = transformed_vectors(run, depth)
        torch.testing.assert_close(whole, output, atol=1e-4, rtol=1e-4)
        attention = run.layers[depth].attention.output
        x = transformed.sum(1) + attention.LayerNorm.bias
        bias = attention.dense.bias * run.gates[depth]
        rest = (whole - x) / attention.LayerNorm.weight  # the dense bias, centred and scaled
        along = torch.cosine_similarity(rest, (bias - bias.mean()).expand_as(rest), dim=-1)
        torch.testing.assert_close(along, torch.ones(len(rest)), atol=1e-4, rtol=0)
        rows = contributions(transformed, whole)
        assert (rows >= 0).all()
        torch.testing.assert_close(rows.sum(1), torch.ones(len(rows)))


def test_contributions_by_hand():
    """y = (3, 1), its parts (3, 0) and (0, 1) and one that leads away."""
    output = torch.tensor([[3.0, 1.0]] * 3)
    transformed = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]] * 3)
    torch.testing.assert_close(contributions(transformed, output), torch.tensor([[0.75, 0.25, 0.0]] * 3))
    away = contributions(-transformed[:, :2].repeat(1, 2, 1)[:, :3] * 2, output)
    torch.testing.assert_close(away, torch.eye(3))


def test_without_values_nothing_comes_from_other_tokens():
    text = drawn("gates")
    with torch.no_grad():
        for name, parameter in text.owner.model.named_parameters():
            if "attention.self.value" in name or name.endswith("bias"):
                parameter.zero_()
    np.testing.assert_allclose(decompx(text, 1), 0, atol=1e-7)
    np.testing.assert_allclose(alti(text), 0, atol=1e-7)


def test_scores_follow_the_one_token_that_is_attended_to():
    """Attention of the last layer reads the token "superb" alone; both methods say so, one pass and no mask."""
    text = drawn("plain", num_hidden_layers=1)
    (unit,) = [index for index, group in enumerate(text.units) if text.tokens[group[0]].piece == "superb"]
    run = forward_pass(text)
    weights = torch.zeros_like(run.attention[0])
    weights[..., text.units[unit][0]] = 1
    forced = type(run)(run.layers, run.states, (weights,), run.gates, run.logits)
    shares, _ = decomposed_logits(text.owner.model, forced)
    contributed = contributions(*transformed_vectors(forced, 0))[0]
    content = ~text.fixed
    assert shares.abs()[content].max(0).indices.eq(unit).all()
    assert contributed[content].argmax() == unit and (contributed[content] > 0).sum() == 1


def test_in_the_study_both_cost_no_further_pass():
    text = drawn("gates")
    target = text.predicted()
    for name, scores in (("decompx", decompx(text, target)), ("alti", alti(text))):
        value = Counted(text.explained(target))
        np.testing.assert_array_equal(ONCE[name](text, value, 1, 0), scores)
        assert value.passes == 0 and name in LABELS and scores.shape == (text.n,)


def test_another_architecture_is_refused():
    config = DistilBertConfig(vocab_size=len(WORDS), dim=32, n_layers=1, n_heads=2, hidden_dim=32)
    text = ModelValues(DistilBertForSequenceClassification(config).eval(), tiny_tokenizer()).of(TEXT)
    with pytest.raises(ValueError, match="for BERT alone, got a model of type 'distilbert'"):
        alti(text)
