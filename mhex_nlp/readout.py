# SPDX-License-Identifier: Apache-2.0
"""Equivalent matrices fitted to the model's own behaviour: one for each depth, read off its states. Pure torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FittedReadout(nn.Module):
    """phi[t, c] = constant[c] + sum over depths of W_depth[c] . state_depth[t]: scores in logits, linear in the states.

    Depths count from 0, the stream entering the first layer, over z of each layer to the last hidden state. The
    matrices are buffers: no optimiser moves them, and they are saved with the model.

    Args:
        depths: those that are read, ascending.
        widths: the width of each one's states.
        num_labels: C.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int], num_labels: int) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.constant: Tensor
        self.register_buffer("constant", torch.zeros(num_labels))
        for depth, width in zip(depths, widths, strict=True):
            self.register_buffer(f"depth_{depth}", torch.zeros(num_labels, width))

    def matrix(self, depth: int) -> Tensor:
        """The equivalent matrix of one depth: (C, H)."""
        return self.get_buffer(f"depth_{depth}")

    def fill(self, weights: Tensor) -> None:
        """Sets everything from (F, C), the constant first, then each depth in order."""
        sizes = [1, *(self.matrix(depth).shape[1] for depth in self.depths)]
        constant, *matrices = weights.split(sizes)
        self.constant.copy_(constant[0])
        for depth, matrix in zip(self.depths, matrices, strict=True):
            self.matrix(depth).copy_(matrix.T)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Scores by depth, which add up to phi.

        Args:
            states: those of all depths, (B, T, H) each.

        Returns:
            (B, T, depths read, C) float32; the constant is in the first.
        """
        scores = [nn.functional.linear(states[d].to(self.constant.dtype), self.matrix(d)).float() for d in self.depths]
        scores[0] = scores[0] + self.constant
        return torch.stack(scores, dim=2)
