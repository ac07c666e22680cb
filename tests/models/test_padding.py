# SPDX-License-Identifier: Apache-2.0
"""Which tokens are real, what is padded with what, and that a recomputed layer sees the same mask."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from helpers.families import plain_model, train_heads
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models.families import SITES
from mhex_nlp.models.padding import TokenMask, equal_lengths_only, token_mask

CONFIG = SimpleNamespace(pad_token_id=1, eos_token_id=3)
IDS = torch.tensor([[5, 6, 7, 8], [5, 6, 1, 1], [5, 1, 7, 1]])


@pytest.mark.parametrize(
    ("family", "takes_mask", "expected"),
    [
        ("bert", True, None),
        ("fnet", False, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]]),
        ("llama", True, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]),  # up to the last token that is not padding
    ],
)
def test_without_an_attention_mask_the_pad_id_says_what_is_real(family, takes_mask, expected):
    mask = token_mask({"input_ids": IDS}, CONFIG, SITES[family], takes_mask)
    assert mask.tokens == 4
    assert mask.real is None if expected is None else mask.real.int().tolist() == expected


def test_an_attention_mask_goes_before_the_pad_id():
    given = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1]])
    mask = token_mask({"input_ids": IDS, "attention_mask": given}, CONFIG, SITES["llama"], True)
    assert torch.equal(mask.real, given.bool())
    whole = token_mask({"input_ids": IDS, "attention_mask": torch.ones(3, 4)}, CONFIG, SITES["llama"], True)
    assert whole.real is None
    longer = torch.cat([torch.ones(3, 2), given], dim=1)  # with a cache it covers the past as well
    assert torch.equal(
        token_mask({"input_ids": IDS, "attention_mask": longer}, CONFIG, SITES["bert"], True).real, mask.real
    )
    with pytest.raises(ValueError, match=r"attention_mask must be \(batch, tokens\).*got \(1, 3, 4\)"):
        token_mask({"input_ids": IDS, "attention_mask": given[None]}, CONFIG, SITES["bert"], True)


def test_a_layer_that_pads_its_tokens_gets_a_longer_mask():
    state, real = torch.zeros(3, 6, 2), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    assert TokenMask().of_layer(state) is None and TokenMask(None, 6).of_layer(state) is None
    assert TokenMask(None, 4).of_layer(state).int().tolist() == [[1, 1, 1, 1, 0, 0]] * 3
    assert (
        torch.equal(TokenMask(real, 4).of_layer(state)[:, :4], real)
        and not TokenMask(real, 4).of_layer(state)[:, 4:].any()
    )
    assert TokenMask(real, 4).cut(state).shape == (3, 4, 2) and TokenMask(real).cut(state).shape == state.shape


@pytest.mark.parametrize(
    ("family", "pad", "ends", "expected"),
    [("bert", 1, [0, 0], False), ("convbert", 1, [0, 0], True), ("bart", 1, [1, 2], False), ("bart", 3, [1, 1], True)],
)
def test_texts_of_one_length_share_a_batch_where_padding_would_change_the_model(family, pad, ends, expected):
    assert equal_lengths_only(CONFIG, SITES[family], pad, ends) is expected


@pytest.mark.parametrize("family", ["bert", "longformer"])
def test_gradient_checkpointing_recomputes_gates_with_the_mask_of_the_pass(family):
    """longformer pads T inside: without an attention mask the recomputed gate must still pool over the tokens given."""
    gradients = []
    for checkpointing in (False, True):
        model = train_heads(get_mhex_model(plain_model(family, dropout=False), MhexConfig(gate=True))).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(5, 90, (2, 9), generator=generator)
        model(input_ids=ids, labels=torch.tensor([0, 1])).loss.backward()
        gradients.append([parameter.grad for parameter in model.mhex.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
