# SPDX-License-Identifier: Apache-2.0
"""Writes are the parts of the attention output, as much of it as arrives where the label is read from."""

from __future__ import annotations

import itertools

import pytest
import torch

from helpers.families import FAMILIES, inputs_for, plain_model, train_heads
from helpers.tiny import tiny_bert
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models import attention_hook
from mhex_nlp.models.families import SITES
from mhex_nlp.models.heads import attention_flow as writes

WITH_WRITES = sorted(
    {"albert", "bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie", "eurobert", "gemma2", "gpt2"}
    | {"layoutlm", "llama", "mistral", "mobilebert", "modernbert", "qwen2", "qwen3", "roberta"}
    | {"roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"}
)


@pytest.fixture
def outputs_of_attention(monkeypatch):
    """What each watched layer's attention itself gives: (B, T, A), before W_O."""
    found = []

    def keep(frame, *args, **kwargs):
        before = len(frame.attended)
        output = own(frame, *args, **kwargs)
        if len(frame.attended) > before:
            found.append(output[0].flatten(2))
        return output

    own = attention_hook._attend
    monkeypatch.setattr(attention_hook, "_attend", keep)
    return found


def states_of(model, inputs):
    with torch.no_grad():
        return model(**inputs, output_states=True)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", WITH_WRITES)
def test_writes_add_up_to_the_attention_output(family, implementation, outputs_of_attention, monkeypatch):
    """In the last layer at the pooled position, in earlier ones as weighted by what arrives there."""
    arriving = []
    own = writes.rolled_writes

    def keep(layers, start, place, matrix):
        assert torch.equal(start.argmax(1), place)
        arriving.append(start)
        for layer in reversed(layers[1:]):
            arriving.append((arriving[-1] + (arriving[-1][:, None, None] @ layer.weights()).squeeze(2).mean(1)) / 2)
        return own(layers, start, place, matrix)

    monkeypatch.setattr("mhex_nlp.models.forward.rolled_writes", keep)
    model = get_mhex_model(plain_model(family), MhexConfig(gate=False))
    if not model._supports_sdpa and implementation == "sdpa":
        pytest.skip("transformers has no sdpa attention for this family")
    model.set_attn_implementation(implementation)
    inputs = inputs_for(family)
    output = states_of(model, inputs)
    layers, padding = len(output.head_logits[0]), inputs["attention_mask"] == 0
    assert len(output.writes) == len(outputs_of_attention) == len(arriving) == layers
    last = inputs["attention_mask"].sum(1) - 1
    pooled = last if model._site.pooled_position(model.config) == "last" else torch.zeros_like(last)
    assert torch.equal(arriving[0].argmax(1), pooled)
    for write, given, weights in zip(reversed(output.writes), reversed(outputs_of_attention), arriving, strict=True):
        torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
        assert not weights[padding].any()
        expected = torch.einsum("bt,bta->ba", weights, given.nan_to_num())
        torch.testing.assert_close(write.sum(1), expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)
        assert not write[padding].any()  # nothing is read from padding


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(WITH_WRITES)))
def test_families_without_one_pooled_position_or_open_attention_have_states_alone(family):
    output = states_of(get_mhex_model(plain_model(family), MhexConfig(gate=False)), inputs_for(family))
    assert output.writes == () and output.states


def test_mean_pooling_starts_from_all_real_tokens():
    model = get_mhex_model(plain_model("modernbert", classifier_pooling="mean"), MhexConfig(gate=False))
    assert len(states_of(model, inputs_for("modernbert")).writes) == 3
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.equal(writes.pooled_weights("mean", mask, 2, 3)[0], torch.tensor([[0.5, 0.5, 0], [1 / 3] * 3]))
    assert writes.pooled_weights("last", mask, 2, 3)[0].argmax(1).tolist() == [1, 2]
    assert writes.pooled_weights("first", None, 2, 3)[0].argmax(1).tolist() == [0, 0]


@pytest.mark.parametrize("family", ["bert", "gpt2", "modernbert", "gemma2"])
def test_padding_changes_no_write(family):
    model = train_heads(get_mhex_model(plain_model(family)))
    inputs = inputs_for(family)
    together = states_of(model, inputs).writes
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        alone = states_of(model, {name: value[row : row + 1, :length] for name, value in inputs.items()}).writes
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
        writes.Attended(torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 1), values, each.log()[None, None], 1.0)
        for each in weights
    ]
    first, second = writes.rolled_writes(layers, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(second[0, :, 0], torch.tensor([0.75 * 2, 0.25 * 3]))
    arriving = (torch.tensor([1.0, 0.0]) + torch.tensor([0.75, 0.25])) / 2
    torch.testing.assert_close(first[0, :, 0], (arriving @ weights[0]) * torch.tensor([2.0, 3.0]))


def test_grouped_queries_and_softcap():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 5, 3), torch.randn(2, 2, 5, 3)
    seen = torch.zeros(2, 1, 1, 5)
    seen[1, ..., 3:] = torch.finfo(torch.float32).min
    found = writes.Attended(query, key, value, seen, 0.5, softcap=2.0)
    for text in range(2):
        for head in range(4):
            scores = 2.0 * torch.tanh(query[text, head] @ key[text, head // 2].T * 0.5 / 2.0) + seen[text, 0]
            torch.testing.assert_close(found.weights()[text, head], scores.softmax(-1))
            assert torch.equal(found.values()[text, :, head], value[text, head // 2])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 2])
def test_what_is_seen_without_a_mask_of_four_axes(causal, window):
    """Flash attention is told which tokens are real, whether it is causal and how wide its window is."""
    query, real = torch.zeros(2, 1, 4, 1), torch.tensor([[True] * 4, [True, True, True, False]])
    seen = writes.seen_by(None, real, query, causal, window) == 0
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
    found = writes.Attended(query, key, key, seen, 0.5, softcap)
    place = torch.tensor([4, 2])
    for text in range(2):
        torch.testing.assert_close(found.row(place)[text], found.weights()[text, :, place[text]])
    scores = query @ key.repeat_interleave(2, 1).transpose(-1, -2) * 0.5
    expected = ((scores if softcap is None else softcap * torch.tanh(scores / softcap)) + seen).softmax(-1)
    torch.testing.assert_close(found.weights(), expected)
    start = torch.nn.functional.one_hot(place, 5).float()
    layers = [found, found]
    for one, other in zip(writes.rolled_writes(layers, start), writes.rolled_writes(layers, start, place), strict=True):
        torch.testing.assert_close(one, other)


def test_a_weighed_layer_says_what_its_writes_say():
    """One head's values read by its part of the matrix, with masked tokens, grouped keys and a layer nobody reads."""
    torch.manual_seed(2)
    layers = []
    for _ in range(3):
        query, key, value = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 5, 3), torch.randn(2, 2, 5, 3)
        seen = torch.where(torch.arange(5) < torch.tensor([[[[5]]], [[[3]]]]), 0.0, torch.finfo(torch.float32).min)
        layers.append(writes.Attended(query, key, value, seen, 0.5))
    matrices = [torch.randn(3, 12), None, torch.randn(3, 12)]
    start, place = torch.nn.functional.one_hot(torch.tensor([0, 2]), 5).float(), torch.tensor([0, 2])
    weighed = [writes.Weighed.of(layer, matrix) for layer, matrix in zip(layers, matrices, strict=True)]
    raw = writes.rolled_writes(layers, start, place)
    read = writes.rolled_writes(layers, start, place, matrices.__getitem__)
    for chosen in ([*weighed[:2], layers[2]], weighed):
        found = writes.rolled_writes(chosen, start, place, matrices.__getitem__)
        assert found[1] is None and read[1] is None
        for layer in (0, 2):
            torch.testing.assert_close(read[layer], raw[layer] @ matrices[layer].T)
            torch.testing.assert_close(found[layer], read[layer])
