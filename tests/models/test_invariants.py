# SPDX-License-Identifier: Apache-2.0
"""What must hold in every family, on tiny random configs: invariants I1, I2, I3, I6, I7 and I10 of the method."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from helpers.families import FAMILIES, SEED, batch, inputs_for, plain_model, train_heads
from mhex_nlp import AutoMhexModelForSequenceClassification, MhexConfig, get_mhex_model
from mhex_nlp.models.families import find_site

LABELS = torch.tensor([0, 1, 2, 0])
PAD_INVARIANT = [family for family in FAMILIES if find_site(family).pads]


def states(output):
    hidden = output.get("hidden_states")
    hidden = output.get("encoder_hidden_states") if hidden is None else hidden
    assert hidden is not None
    return hidden


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_fresh_injection_changes_no_bit(family, training):
    """I1, in train mode with dropout at equal seed."""
    plain = plain_model(family).train(training)
    model = get_mhex_model(plain)
    outputs = []
    for variant in (plain, model):
        torch.manual_seed(SEED)
        with torch.no_grad():
            outputs.append(variant(**inputs_for(family), output_hidden_states=True))
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert len(states(outputs[0])) == len(states(outputs[1])) >= 4
    for expected, actual in zip(states(outputs[0]), states(outputs[1]), strict=True):
        assert torch.equal(expected, actual)


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_gates_change_the_logits(family):
    """The gate really sits in the path to the prediction; else I1 would prove nothing."""
    plain = plain_model(family)
    model = train_heads(get_mhex_model(plain))
    with torch.no_grad():
        difference = plain(**inputs_for(family)).logits - model(**inputs_for(family)).logits
    assert difference.abs().max() > 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_heads_never_change_the_logits(family):
    """I7: gates off, heads trained."""
    plain = plain_model(family)
    model = train_heads(get_mhex_model(plain, MhexConfig(gate=False)))
    with torch.no_grad():
        output = model(**inputs_for(family))
        assert torch.equal(plain(**inputs_for(family)).logits, output.logits)
        assert torch.equal(model.without_heads()(**inputs_for(family)).logits, output.logits)
    assert output.head_logits.abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_attributions_add_up_to_the_head_logits(family):
    """I2, and zero on padding."""
    model = train_heads(get_mhex_model(plain_model(family)))
    with torch.no_grad():
        output = model(**inputs_for(family), output_attributions=True)
    attributions = output.layer_attributions
    depths = 3
    assert attributions.shape == (4, 12, depths, 3) and attributions.dtype == torch.float32
    assert attributions.isfinite().all() and attributions.abs().max() > 1e-4
    assert not attributions[~batch()["attention_mask"].bool()].any()
    heads = list(model.mhex) if len(model.mhex) == depths else [model.mhex[0]] * depths  # albert shares one
    expected = output.head_logits - torch.stack([head.bias for head in heads])
    tolerance = 1e-5 * (1 + attributions.abs().sum(1))
    assert ((attributions.sum(1) - expected).abs() <= tolerance).all()


@pytest.mark.parametrize("family", PAD_INVARIANT)
def test_padding_changes_no_score(family):
    """I3: a text alone, padded or in another batch."""
    model = train_heads(get_mhex_model(plain_model(family)))
    inputs = inputs_for(family)
    with torch.no_grad():
        together = model(**inputs, output_attributions=True)
        for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
            alone = model(**{k: v[row : row + 1, :length] for k, v in inputs.items()}, output_attributions=True)
            scale = max(1.0, alone.layer_attributions.abs().max().item())
            assert (together.layer_attributions[row, :length] - alone.layer_attributions[0]).abs().max() <= 1e-5 * scale
            assert (together.head_logits[row] - alone.head_logits[0]).abs().max() <= 1e-5 * scale
            assert (together.logits[row] - alone.logits[0]).abs().max() <= 1e-5 * scale


@pytest.mark.parametrize("family", [family for family in FAMILIES if find_site(family).causal])
def test_causal_gates_look_only_back(family):
    """A later token changes no earlier state, gates at work."""
    model = train_heads(get_mhex_model(plain_model(family)))
    ids = batch(rows=(10,))["input_ids"]
    other = ids.clone()
    other[0, 7:] = torch.tensor([50, 51, 52])
    with torch.no_grad():
        first, second = (model(input_ids=i, output_hidden_states=True).hidden_states[-1] for i in (ids, other))
    torch.testing.assert_close(first[:, :7], second[:, :7], rtol=0, atol=1e-6)
    assert (first[:, 7:] - second[:, 7:]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_is_the_same(family, tmp_path):
    """I6: weights, logits and attributions bit-equal; a deepcopy follows its own heads."""
    model = train_heads(get_mhex_model(plain_model(family), MhexConfig(loss_weight=0.7))).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(model) and loaded.mhex_config == MhexConfig(loss_weight=0.7)
    weights, actual = model.state_dict(), loaded.state_dict()
    assert weights.keys() == actual.keys()
    assert all(torch.equal(weights[name], actual[name]) for name in weights)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.mhex.parameters():
            parameter.zero_()
    train_heads(model)
    with torch.no_grad():
        expected = model(**inputs_for(family), output_attributions=True)
        for other in (loaded, copied):
            again = other(**inputs_for(family), output_attributions=True)
            for name in ("logits", "head_logits", "layer_attributions"):
                assert torch.equal(expected[name], again[name]), name
        for parameter in model.mhex.parameters():
            parameter.zero_()
        again = copied(**inputs_for(family), output_attributions=True)
        assert torch.equal(again.head_logits, expected.head_logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_checkpoint_gets_fresh_heads(family, tmp_path):
    plain = plain_model(family)
    plain.save_pretrained(tmp_path)
    model, info = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {name for name in model.state_dict() if name.startswith("mhex.")}
    assert not info["unexpected_keys"]
    for head in model.mhex:
        assert not head.w1.any() and not head.bias.any()
        assert 0.01 < head.w2.std() < 0.03  # normal(0, 0.02), not the family's own scale
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs_for(family)).logits, plain(**inputs_for(family)).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_learns(family):
    """After one step from the start values every head weight has a gradient."""
    model = get_mhex_model(plain_model(family)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        output = model(**inputs_for(family), labels=LABELS)
        output.loss.backward()
        optimizer.step()
    for name, parameter in model.mhex.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    torch.testing.assert_close(output.loss, output.task_loss + 0.3 * output.supervision_loss)


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointing_changes_no_gradient(family):
    """Non-reentrant, padded batch, train mode without dropout, gates at work: the gate needs the mask again."""
    model = train_heads(get_mhex_model(plain_model(family, dropout=False)))
    if not model.supports_gradient_checkpointing:
        pytest.skip(f"transformers offers no gradient checkpointing for {family}")
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        model.train()
        if checkpointing:
            model.activation_checkpointing_enable()
        torch.manual_seed(SEED)
        model(**inputs_for(family), labels=LABELS).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16 autocast"])
def test_scores_are_finite(family, kind):
    """I10."""
    model = train_heads(get_mhex_model(plain_model(family)))
    if kind == "bf16":
        model = model.to(torch.bfloat16)
    inputs = inputs_for(family)
    with (
        torch.no_grad(),
        torch.autocast("cpu", torch.float16, enabled=kind == "fp16 autocast"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            output = model(**inputs, output_attributions=True)
        except RuntimeError as error:
            with pytest.raises(RuntimeError):  # the plain family cannot do it either
                plain_model(family).to(model.dtype)(**inputs)
            pytest.skip(f"plain {family} does not run in {kind} on a CPU: {str(error)[:80]}")
    assert output.layer_attributions.isfinite().all() and output.head_logits.isfinite().all()
    assert output.layer_attributions.dtype == output.head_logits.dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_implementation_stays(family):
    plain = plain_model(family)
    assert get_mhex_model(plain).config._attn_implementation == plain.config._attn_implementation
