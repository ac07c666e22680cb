# SPDX-License-Identifier: Apache-2.0
"""Attention flow by fixed operations alone, for exported graphs: of the attention weights that the model made itself.

The same flow as `attention_flow`, in which all rows are looked at, however long a text is. In a graph no weight is made
twice: what the model multiplies its values with is read again. Only what a fit says is kept, summed over the layers.

Axes: B texts, T tokens, N attention heads, K of them with keys of their own, D units each, A = N D, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .attention_flow import AttentionLog


class WeightsLog(AttentionLog):
    """The weights of each layer's attention in one forward pass, and what a fit reads off its values.

    Args:
        blocks: of each layer, what `head_blocks` made of its matrix, `None` where nothing reads it.
    """

    def __init__(self, blocks: Sequence[Tensor | None]) -> None:
        super().__init__()
        self.blocks = blocks
        self.weights: list[Tensor] = []
        self.scores: list[Tensor | None] = []

    def take(self, weights: Tensor, value: Tensor) -> None:
        """Adds a layer: weights (B, N, T, T), values (B, K, T, D), of which (B, T, N, C) is kept."""
        block = self.blocks[len(self.weights)]
        scores = None
        if block is not None:
            read = nn.functional.linear(value.transpose(1, 2).flatten(2).to(block.dtype), block).float()
            scores = read.unflatten(2, (weights.shape[1], -1))
        self.weights.append(weights)
        self.scores.append(scores)

    def total_flow(self, start: Tensor, first: bool) -> Tensor:
        """What the fit says of the flow of all layers, (B, T, C) float32.

        R of `attention_flow` is carried along times 2 to the power of the layers above, so that it need not be halved.

        Args:
            start: (B, T) float32, where the label is read from.
            first: whether that is the first token alone: only its row of the last layer is then looked at.
        """
        carried, half = start[:, None, None], 1.0  # (B, 1, 1, T)
        parts: list[Tensor] = []
        for index in reversed(range(len(self.weights))):
            weights, scores = self.weights[index].float(), self.scores[index]
            last = index == len(self.weights) - 1
            arriving = weights[:, :, :1] if first and last else carried @ weights  # (B, N, 1, T)
            if scores is not None:
                of_heads = arriving.transpose(1, 3).squeeze(2)  # (B, T, N)
                parts.append((of_heads[..., None] * scores).sum(2) * half)
            carried, half = carried + arriving.mean(1, keepdim=True), half / 2
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def head_blocks(matrix: Tensor, heads: int, shared: int) -> Tensor:
    """(N C, K D) of a (C, A) matrix: what reads each head's values off those of all heads, zero off its own block."""
    labels, width = len(matrix), matrix.shape[1] // heads
    parts = matrix.view(labels, shared, heads // shared, width)  # (C, K, N / K, D)
    blocks = matrix.new_zeros(shared, heads // shared, labels, shared, width)
    blocks.diagonal(dim1=0, dim2=3).copy_(parts.permute(2, 0, 3, 1))
    return blocks.view(heads * labels, shared * width)
