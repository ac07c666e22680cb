# SPDX-License-Identifier: Apache-2.0
"""Attention as explanation: the last layer's weights, and rollout over all layers (Abnar and Zuidema 2020).

Axes: B texts, L layers, T tokens of a text. Scores are never negative and do not know the class.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from ...models.eval_mode import eval_view
from ...models.families import SITES
from ...models.heads.attention_flow import pooled_weights
from ..metrics.arrays import Floats, as_finite
from ..model_values import ModelValues, TextValues


def attention_maps(values: ModelValues, texts: Sequence[TextValues]) -> list[Tensor]:
    """The attention weights of each text, averaged over heads: (L, T, T) float64, rows attend to columns.

    A view of the model of `values`, which made the texts, runs with "eager" attention, the only one that gives weights.
    """
    kind = type(values.model).__name__
    if values.model.config.is_encoder_decoder:
        raise ValueError(f"attention needs a model without a decoder beside its encoder, got {kind}.")
    by_text: dict[int, Tensor] = {}
    model = eager_view(values.model)
    with torch.no_grad():
        for batch, inputs in values.batches([text.item for text in texts]):
            length = inputs["input_ids"].shape[1]
            maps = getattr(model(**inputs, output_attentions=True, return_dict=True), "attentions", None)
            if not maps or any(layer is None or layer.ndim != 4 or layer.shape[2] != length for layer in maps):
                raise ValueError(
                    f"attention needs a model that gives its (T, T) attention weights, which {kind} does not."
                )
            if any(layer.shape[3] != length for layer in maps):
                raise ValueError(f"attention needs every token to attend to every other, which {kind} does not do.")
            stacked = torch.stack([layer.float().mean(1) for layer in maps], dim=1)  # (B, L, T, T)
            for row, index in enumerate(batch):
                tokens = len(texts[index].item)
                weights = as_finite(stacked[row, :, :tokens, :tokens].cpu(), "attention weights")
                by_text[index] = torch.from_numpy(weights)
    return [by_text[index] for index in range(len(texts))]


def last_attention(values: ModelValues, texts: Sequence[TextValues]) -> list[Floats]:
    """How much the pooled position attends to each token in the last layer, mean over heads."""
    return [_pooled(values, text, maps[-1]) for text, maps in zip(texts, attention_maps(values, texts), strict=True)]


def attention_rollout(values: ModelValues, texts: Sequence[TextValues]) -> list[Floats]:
    """The pooled position's row of `rollout`."""
    return [
        _pooled(values, text, rollout(maps)) for text, maps in zip(texts, attention_maps(values, texts), strict=True)
    ]


def rollout(maps: Tensor) -> Tensor:
    """A_L ... A_1 with A = 0.5 W + 0.5 I, where W are the weights of a layer (Abnar and Zuidema 2020, eq. 1).

    Of (L, T, T) maps, first layer first, a (T, T) one; rows of each add up to 1.
    """
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype)
    product = identity
    for layer in maps:
        product = (0.5 * layer + 0.5 * identity) @ product
    return product


def eager_view(model: Any) -> Any:
    """A view of the model with "eager" attention, in configs of its own.

    transformers gives no weights under sdpa or flash attention, whatever `output_attentions` says.
    """
    view = eval_view(model)
    copies: dict[int, Any] = {}  # one for all, so that parts of a config stay its parts
    for module in view.modules():
        if isinstance(getattr(module, "config", None), PretrainedConfig):
            module.config = copy.deepcopy(module.config, copies)
    view.set_attn_implementation("eager")
    return view


def _pooled(values: ModelValues, text: TextValues, attended: Tensor) -> Floats:
    """Unit scores off (T, T): the row of the position that the classifier reads, or the mean row where it pools all."""
    config = values.model.config
    site = SITES.get(config.model_type)
    if site is None:
        raise ValueError(
            f"attention needs the position that the classifier reads, which is not known for the family "
            f"{config.model_type!r}; register_site makes it known."
        )
    # a table row that names no position belongs to a family that reads its first token
    where, _ = pooled_weights(site.pooled_position(config) or "first", None, 1, len(attended))
    row = where[0].to(attended) @ attended
    return text.unit_scores(row.numpy())
