# SPDX-License-Identifier: Apache-2.0
"""The attention of one layer, as far as its flow is followed: what weights, however they are made, bring along.

Axes: B texts, P places, T tokens, N attention heads, K of them with keys of their own, D units each, A = N D, C labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_LABELS = 4  # read off values at once: products of fewer take longer, up to twice


class LayerFlow(ABC):
    """One layer's attention; a frozen dataclass in each of its forms.

    Attributes:
        value: (B, K, T, D), K a divisor of N; `None` where it is not needed.
        head_scores: (B, N, T, C) float32, which may take its place: what a matrix reads off each head's values.
    """

    __slots__ = ()
    value: Tensor | None
    head_scores: Tensor | None

    @property
    @abstractmethod
    def by_row(self) -> Tensor:
        """(B, N, T, ...): what each row of the attention is, or is made of."""

    @property
    def size(self) -> tuple[int, int, int]:
        """B, N and T."""
        batch, heads, tokens, _ = self.by_row.shape
        return batch, heads, tokens

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.by_row.device

    def at(self, positions: Tensor) -> Tensor:
        """(B, N, P, ...) of `by_row`, at the tokens at `positions` (B, P) int64."""
        _, heads, _, width = self.by_row.shape
        return self.by_row.gather(2, positions[:, None, :, None].expand(-1, heads, -1, width))

    @abstractmethod
    def rows(self, positions: Tensor) -> Tensor:
        """(B, N, P, T) float32: the weights of some rows alone, those of the tokens at `positions` (B, P) int64."""

    @abstractmethod
    def rollout_weights(self, rollout: Tensor, starts: Tensor | None = None) -> Tensor:
        """w_h[t] = sum_s R[s] a_h[s, t], (B, N, P, T) float32.

        Args:
            rollout: R, (B, P, T) float32.
            starts: (B, G), of the runs of neighbours whose rows may be merged where P is 1; row by row without.
        """

    def restored(self) -> Self:
        """As it was before parts of it were stored otherwise, but for rounding."""
        return self

    def read_by(self, matrix: Tensor | None) -> Self:
        """The same layer without its values: with what a (C, A) matrix reads off them, or nothing without one."""
        assert self.value is not None
        scores = None if matrix is None else _head_scores(matrix, self.value, self.size[1])
        return replace(self, value=None, head_scores=scores)  # type: ignore[type-var]  # those that are made are dataclasses

    def values(self) -> Tensor:
        """(B, N, T, D): one for each head."""
        assert self.value is not None
        groups = self.size[1] // self.value.shape[1]
        return self.value if groups == 1 else self.value.repeat_interleave(groups, 1)

    def flow(
        self, rollout: Tensor, positions: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """u[t] = concat over h of w_h[t] v_h[t], or what a matrix reads of it; and the mean over heads of w.

        Args:
            rollout: R, (B, P, T) float32.
            positions: (B, P) int64 where R is 1 at this token alone: only those rows of the attention are made.
            starts: of the runs of neighbours whose rows may be merged.

        Returns:
            (B, P, T, A) in the dtype of the values, or (B, P, T, C) float32, or `None`; and (B, P, T) float32.
        """
        weights = self.rollout_weights(rollout, starts) if positions is None else self.rows(positions)  # (B, N, P, T)
        flow = None
        if self.head_scores is not None:
            flow = _read_by_head(weights, self.head_scores)
        elif self.value is not None:
            values = self.values().transpose(1, 2)  # (B, T, N, D), as projections lie in memory
            flow = (weights.permute(0, 2, 3, 1)[..., None].to(values.dtype) * values[:, None]).flatten(-2)
        return flow, weights.mean(1)


def _head_scores(matrix: Tensor, value: Tensor, heads: int) -> Tensor:
    """(B, N, T, C) float32: what the blocks of a (C, A) matrix read off each head's values, (B, K, T, D)."""
    batch, shared, tokens, width = value.shape
    if matrix.shape[1] != heads * width:
        raise ValueError(f"fitted matrices for flow of {matrix.shape[1]} units got flow of {heads * width}.")
    blocks = matrix.view(len(matrix), heads, width).transpose(0, 1)  # (N, C, D)
    if len(matrix) < _LEAST_LABELS:
        blocks = functional.pad(blocks, (0, 0, 0, _LEAST_LABELS - len(matrix)))
    # texts joined, whose values lie one after the other in memory: a product for each head, of all tokens
    values = value.transpose(0, 1).reshape(shared, batch * tokens, width).to(matrix.dtype)
    scores = torch.bmm(blocks.reshape(shared, -1, width), values.transpose(1, 2)).float()
    scores = scores.view(heads, -1, batch, tokens)[:, : len(matrix)]  # (N, C, B, T)
    return scores.permute(2, 0, 3, 1)


def _read_by_head(weights: Tensor, head_scores: Tensor) -> Tensor:
    """sum_h w_h[p, t] s_h[t]: (B, P, T, C) float32 from (B, N, P, T) and (B, N, T, C)."""
    if weights.shape[2] == 1:  # products of matrices would be one a token
        return (weights.transpose(2, 3) * head_scores).sum(1)[:, None]
    # of other strides torch multiplies one token after the other
    rows, columns = weights.permute(0, 3, 2, 1).contiguous(), head_scores.transpose(1, 2).contiguous()
    return (rows @ columns).transpose(1, 2)
