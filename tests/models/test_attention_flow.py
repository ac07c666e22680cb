# SPDX-License-Identifier: Apache-2.0
"""Attention flow is the parts of the attention output, as much of it as arrives where the label is read from."""

from __future__ import annotations

import itertools

import pytest
import torch
from transformers import AttentionInterface

from helpers.families import FAMILIES, inputs_for, plain_model, train_heads
from helpers.tiny import tiny_bert
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models import attention_hook
from mhex_nlp.models.families import SITES
from mhex_nlp.models.heads import attention_flow as flows
from mhex_nlp.models.heads.visible_tokens import VisibleTokens

WITH_FLOW = sorted(
    {"albert", "bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie", "eurobert", "gemma2", "gpt2"}
    | {"layoutlm", "llama", "mistral", "mobilebert", "modernbert", "qwen2", "qwen3", "roberta"}
    | {"roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"}
)


@pytest.fixture
def watched(monkeypatch):
    """What each layer's attention is given and gives: (arguments, output (B, T, A) before W_O), in order of depth."""
    seen = []
    attend = attention_hook._attend

    def keep(log, mask, *arguments, **options):
        before = len(log.layers)
        output = attend(log, mask, *arguments, **options)
        if len(log.layers) > before:
            seen.append(((arguments, options), output[0].flatten(2)))
        return output

    monkeypatch.setattr(attention_hook, "_attend", keep)
    return seen


def states_of(model, inputs):
    with torch.no_grad():
        return model(**inputs, output_states=True)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", WITH_FLOW)
def test_the_flow_is_the_gradient_of_the_rolled_out_attention(family, implementation, watched):
    """u[t] is what token t's values add to the attention outputs, weighted by what arrives where the label is read.

    The rollout R is had from transformers' own attention probabilities (`output_attentions`, eager), and u from the
    layer's attention as the linear map that it is of its values: neither from code of ours.
    """
    model = get_mhex_model(plain_model(family), MhexConfig(gate=False))
    if not model._supports_sdpa and implementation == "sdpa":
        pytest.skip("transformers has no sdpa attention for this family")
    inputs = inputs_for(family)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = [probabilities.mean(1) for probabilities in model(**inputs, output_attentions=True).attentions]
    model.set_attn_implementation(implementation)
    output = states_of(model, inputs)
    layers, padding = len(output.head_logits[0]), inputs["attention_mask"] == 0
    assert len(output.attention_flow) == len(watched) == len(maps) == layers
    last = inputs["attention_mask"].sum(1) - 1
    pooled = last if model.mhex_site.pooled_position(model.config) == "last" else torch.zeros_like(last)
    rollout = torch.nn.functional.one_hot(pooled, padding.shape[1]).float()
    for flow, attention, (arguments, given) in zip(
        reversed(output.attention_flow), reversed(maps), reversed(watched), strict=True
    ):
        torch.testing.assert_close(rollout.sum(1), torch.ones(len(rollout)))
        assert not rollout[padding].any()
        expected = torch.einsum("bt,bta->ba", rollout, given.nan_to_num())
        scale = float(expected.abs().max())
        torch.testing.assert_close(flow.sum(1), expected, atol=1e-5 * scale, rtol=1e-4)
        assert not flow[padding].any()  # nothing is read from padding
        for token in (0, 1):
            part = torch.einsum("bt,bta->ba", rollout, output_of_token(arguments, token).nan_to_num())
            torch.testing.assert_close(flow[:, token], part, atol=1e-5 * scale, rtol=1e-4)
        rollout = (rollout + torch.einsum("bs,bst->bt", rollout, attention)) / 2


def output_of_token(arguments, token):
    """(B, T, A): what attention gives when the values of all tokens but one are zero."""
    (function, module, query, key, value, *rest), options = arguments
    alone = torch.zeros_like(value)
    alone[:, :, token] = value[:, :, token]
    with torch.no_grad():
        return function(module, query, key, alone, *rest, **options)[0].flatten(2)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(WITH_FLOW)))
def test_families_without_one_pooled_position_or_open_attention_have_states_alone(family):
    output = states_of(get_mhex_model(plain_model(family), MhexConfig(gate=False)), inputs_for(family))
    assert output.attention_flow == () and output.states


def test_mean_pooling_starts_from_all_real_tokens():
    model = get_mhex_model(plain_model("modernbert", classifier_pooling="mean"), MhexConfig(gate=False))
    assert len(states_of(model, inputs_for("modernbert")).attention_flow) == 3
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.equal(flows.pooled_weights("mean", mask, 2, 3)[0], torch.tensor([[0.5, 0.5, 0], [1 / 3] * 3]))
    assert flows.pooled_weights("last", mask, 2, 3)[0].argmax(1).tolist() == [1, 2]
    assert flows.pooled_weights("first", None, 2, 3)[0].argmax(1).tolist() == [0, 0]


@pytest.mark.parametrize("family", ["bert", "gpt2", "modernbert", "gemma2"])
def test_padding_changes_no_write(family):
    model = train_heads(get_mhex_model(plain_model(family)))
    inputs = inputs_for(family)
    together = states_of(model, inputs).attention_flow
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        alone = states_of(model, {name: value[row : row + 1, :length] for name, value in inputs.items()}).attention_flow
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], other[row, :length], atol=1e-5, rtol=1e-4)


def test_nobody_else_is_watched():
    """Looking at one model leaves other models, and its own other calls, as they were."""
    plain = tiny_bert().eval()
    model = get_mhex_model(plain, MhexConfig(gate=False))
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 3]])}
    with torch.no_grad():
        before = plain(**inputs).logits
        model(**inputs, output_states=True)
        assert torch.equal(plain(**inputs).logits, before)
        assert torch.equal(model(**inputs).logits, before)
        assert torch.equal(model(**inputs, output_states=True).logits, before)


def test_states_that_are_kept_are_not_what_heads_overwrite():
    """Heads blank padding in z, and with evidence clamp it at zero."""
    inputs = inputs_for("bert")
    padding = inputs["attention_mask"] == 0
    for state in states_of(train_heads(get_mhex_model(plain_model("bert"))), inputs).states[1:-1]:
        assert (state < 0).any() and state[padding].all()


def test_rollout_by_hand():
    """Two layers, one head, two tokens: the second layer's row of token 0 is (0.75, 0.25)."""
    weights = [torch.tensor([[0.5, 0.5], [0.2, 0.8]]), torch.tensor([[0.75, 0.25], [0.9, 0.1]])]
    values = torch.tensor([[[[2.0], [3.0]]]])  # (B, K, T, D)
    layers = [
        flows.AttentionInputs(
            torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 1), values, VisibleTokens(matrix.log()[None, None]), 1.0
        )
        for matrix in weights
    ]
    first, second = flows.attention_flow(layers, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(second[0, :, 0], torch.tensor([0.75 * 2, 0.25 * 3]))
    arriving = (torch.tensor([1.0, 0.0]) + torch.tensor([0.75, 0.25])) / 2
    torch.testing.assert_close(first[0, :, 0], (arriving @ weights[0]) * torch.tensor([2.0, 3.0]))


def test_grouped_queries_and_softcap():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 5, 3), torch.randn(2, 2, 5, 3)
    seen = torch.zeros(2, 1, 1, 5)
    seen[1, ..., 3:] = torch.finfo(torch.float32).min
    attention = flows.AttentionInputs(query, key, value, VisibleTokens(seen), 0.5, softcap=2.0)
    for text in range(2):
        for head in range(4):
            scores = 2.0 * torch.tanh(query[text, head] @ key[text, head // 2].T * 0.5 / 2.0) + seen[text, 0]
            torch.testing.assert_close(attention.weights()[text, head], scores.softmax(-1))
            assert torch.equal(attention.values()[text, head], value[text, head // 2])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 2])
def test_what_is_seen_without_a_mask_of_four_axes(causal, window):
    """Flash attention is told which tokens are real, whether it is causal and how wide its window is."""
    real = torch.tensor([[True] * 4, [True, True, True, False]])
    visible = VisibleTokens.of(None, real, torch.device("cpu"), causal, window)
    seen = visible.bias(4, torch.device("cpu"), slice(None), slice(None)) == 0
    for text, one, other in itertools.product(range(2), range(4), range(4)):
        expected = bool(real[text, other]) and (not causal or other <= one)
        expected = expected and (window is None or abs(one - other) < window)
        assert bool(seen.expand(2, 1, 4, 4)[text, 0, one, other]) is expected


def test_pooled_positions():
    assert SITES["bert"].pooled_position(None) == "first" and SITES["llama"].pooled_position(None) == "last"
    assert SITES["t5"].pooled_position(None) is None


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_one_row_is_that_row_of_all(rows, softcap):
    torch.manual_seed(1)
    query, key = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 5, 3)
    seen = torch.where(torch.rand(2, 1, rows, 5) < 0.3, torch.finfo(torch.float32).min, 0.0)
    seen[..., 0] = 0
    attention = flows.AttentionInputs(query, key, key, VisibleTokens(seen), 0.5, softcap)
    position = torch.tensor([4, 2])
    for text in range(2):
        rows = attention.rows(position[:, None])[text, :, 0]
        torch.testing.assert_close(rows, attention.weights()[text, :, position[text]])
    scores = query @ key.repeat_interleave(2, 1).transpose(-1, -2) * 0.5
    expected = ((scores if softcap is None else softcap * torch.tanh(scores / softcap)) + seen).softmax(-1)
    torch.testing.assert_close(attention.weights(), expected)
    start = torch.nn.functional.one_hot(position, 5).float()
    layers = [attention, attention]
    for one, other in zip(
        flows.attention_flow(layers, start), flows.attention_flow(layers, start, position), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_weighed_layer_says_what_its_writes_say():
    """One head's values read by its part of the matrix, with masked tokens, grouped keys and a layer nobody reads."""
    torch.manual_seed(2)
    layers = []
    for _ in range(3):
        query, key, value = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 5, 3), torch.randn(2, 2, 5, 3)
        seen = torch.where(torch.arange(5) < torch.tensor([[[[5]]], [[[3]]]]), 0.0, torch.finfo(torch.float32).min)
        layers.append(flows.AttentionInputs(query, key, value, VisibleTokens(seen), 0.5))
    matrices = [torch.randn(3, 12), None, torch.randn(3, 12)]
    start, position = torch.nn.functional.one_hot(torch.tensor([0, 2]), 5).float(), torch.tensor([0, 2])
    weighed = [layer.read_by(matrix) for layer, matrix in zip(layers, matrices, strict=True)]
    raw = flows.attention_flow(layers, start, position)
    read = flows.attention_flow(layers, start, position, matrices.__getitem__)
    for chosen in ([*weighed[:2], layers[2]], weighed):
        mixed = flows.attention_flow(chosen, start, position, matrices.__getitem__)
        assert mixed[1] is None and read[1] is None
        for layer in (0, 2):
            torch.testing.assert_close(read[layer], raw[layer] @ matrices[layer].T)
            torch.testing.assert_close(mixed[layer], read[layer])


def test_the_wrapped_lookup_can_be_taken_off(monkeypatch):
    """The lookup is transformers' own again, and the next pass that follows attention wraps it and reads the same."""
    monkeypatch.setattr(AttentionInterface, "get_interface", AttentionInterface.get_interface)
    attention_hook.unwatch_attention()
    plain = AttentionInterface.get_interface
    assert plain.__module__.startswith("transformers.")
    model = get_mhex_model(tiny_bert().eval(), MhexConfig(gate=False))
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]])}
    first = states_of(model, inputs)
    wrapped = AttentionInterface.get_interface
    assert wrapped is not plain and wrapped.__wrapped__ is plain
    attention_hook.watch_attention("sdpa")
    assert AttentionInterface.get_interface is wrapped, "once for the process"
    attention_hook.unwatch_attention()
    assert AttentionInterface.get_interface is plain
    again = states_of(model, inputs)
    for one, other in zip(first.attention_flow, again.attention_flow, strict=True):
        assert torch.equal(one, other)
