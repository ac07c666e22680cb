# SPDX-License-Identifier: Apache-2.0
"""The state that labels are read off: the last linear layer makes the model's own logits of it, in every family."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from helpers.families import FAMILIES, batch, plain_model, train_heads
from helpers.tiny import tiny_tokenizer
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models.batches import InputBatcher
from mhex_nlp.models.label_states import label_states

TOKENIZER = tiny_tokenizer()


def items() -> list[Any]:
    made = batch()
    rows = [ids[seen.bool()] for ids, seen in zip(made["input_ids"], made["attention_mask"], strict=True)]
    parts = [SimpleNamespace(features={"input_ids": row}) for row in rows]
    return [SimpleNamespace(inputs=(part,)) for part in parts] + [SimpleNamespace(inputs=(parts[0], parts[1]))]


def read(model: Any, batch_tokens: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    return label_states(model, InputBatcher(model, TOKENIZER), items(), batch_tokens)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_makes_the_logits_of_the_state(family: str) -> None:
    model = plain_model(family)
    states, logits = read(model)
    assert states.dtype == torch.float32 and len(states) == 5
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m.in_features == states.shape[1]]
    layer = next(layer for layer in reversed(layers) if layer.out_features == 3)
    torch.testing.assert_close(layer(states), logits, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        alone = torch.cat([model(input_ids=item.inputs[0].features["input_ids"][None]).logits for item in items()[:4]])
    torch.testing.assert_close(logits[:4], alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(states[4], states[:2].mean(0), msg="of windows the mean")


def test_heads_and_modes_change_nothing() -> None:
    """The model is in training mode, has heads with gates, and keeps no hook."""
    model = train_heads(get_mhex_model(plain_model("gpt2"), MhexConfig(gate=True))).eval()
    states, logits = read(model)
    again, _ = read(model.train(), batch_tokens=12)
    torch.testing.assert_close(states, again, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.score(states), logits)
    assert model.training and not model.score._forward_hooks


def test_logits_of_no_linear_layer_are_refused() -> None:
    model = plain_model("bert")
    model.classifier = nn.Sequential(model.classifier, nn.Tanh())
    with pytest.raises(ValueError, match="logits are the output of a linear layer, .* BertForSequenceClassification"):
        read(model)
