# SPDX-License-Identifier: Apache-2.0
"""Attention whose weights are kept: of short texts on a CPU, made and used once, for the model and for its flow.

There torch's fused attention takes about as long as its three steps one after the other, and the weights of a short
text take about as much memory as its queries and keys: making them anew would be most of what the flow costs.

Axes: B texts, P places, T tokens, N attention heads, K of them with keys of their own, D units each, C labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .attention_inputs import AttentionInputs
from .layer_flow import LayerFlow
from .merged_rows import MOST_ROWS
from .workspace import Workspace


@dataclass(frozen=True, slots=True)
class KeptWeights(LayerFlow):
    """One layer's attention: weights a_h[s, t], (B, N, T, T) float32, value and `head_scores` as of any layer."""

    weights: Tensor
    value: Tensor | None
    head_scores: Tensor | None = None

    @property
    def by_row(self) -> Tensor:
        """The weights."""
        return self.weights

    def rows(self, positions: Tensor) -> Tensor:
        """(B, N, P, T): the weights of some rows alone, those of the tokens at `positions` (B, P) int64."""
        return self.at(positions)

    def rollout_weights(self, rollout: Tensor, starts: Tensor | None = None) -> Tensor:
        """w_h[t] = sum_s R[s] a_h[s, t], (B, N, P, T), of R (B, P, T); no rows are merged."""
        return rollout[:, None] @ self.weights


def keeps_weights(inputs: AttentionInputs) -> bool:
    """Whether `attend` can and should do it: a short text, float32 on a CPU, no gradient, autocast or trace."""
    tensors = inputs.query, inputs.key, inputs.value
    return (
        all(part is not None and part.device.type == "cpu" and part.dtype == torch.float32 for part in tensors)
        and inputs.query.shape[2] <= MOST_ROWS
        and inputs.softcap is None
        and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.jit.is_tracing())
        and (torch.compiler.is_compiling() or _has_memory(inputs.query))
    )


def _has_memory(tensor: Tensor) -> bool:
    """Whether it has numbers of its own: those of FakeTensorMode, of another class and of torch.func.vmap have none."""
    if type(tensor) is not Tensor:
        return False
    try:
        tensor.data_ptr()
    except RuntimeError:  # of torch.func
        return False
    return True


def attend(inputs: AttentionInputs, workspace: Workspace | None) -> tuple[Tensor, KeptWeights]:
    """What the layer's attention adds up, (B, T, N, D) float32 without gaps, and the weights that it was made with.

    The weights lie in the workspace; without one they are made in one go, as torch.compile does best. Rows that see
    nothing add up to 0, as torch has it.
    """
    (batch, heads, tokens), blind = inputs.size, inputs.visible.blind
    weights = None if workspace is None else workspace.empty((batch, heads, tokens, tokens))
    if weights is None or batch == 1:
        weights = inputs.weights(out=weights)
        output = (weights @ inputs.values()).transpose(1, 2).contiguous()
    else:
        output = _in_blocks(inputs, weights)
    if blind is not None:
        output = output.masked_fill(blind.transpose(1, 2), 0)
    return output, KeptWeights(weights, inputs.value)


def _in_blocks(inputs: AttentionInputs, weights: Tensor) -> Tensor:
    """(B, T, N, D): fills `weights`, and adds up with each block of them while it is in the cache."""
    values, (batch, heads, tokens) = inputs.values(), inputs.size
    output = values.new_empty(batch, tokens, heads, values.shape[3])
    for some_texts, some_heads, rows in inputs.blocks():
        part = inputs.weights(some_texts, some_heads, rows, out=weights[some_texts, some_heads, rows])
        output[some_texts, rows, some_heads] = (part @ values[some_texts, some_heads]).transpose(1, 2)
    return output
