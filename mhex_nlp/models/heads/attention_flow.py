# SPDX-License-Identifier: Apache-2.0
"""Attention flow: how much of each token arrives, through attention, at the position that the label is read from.

A classifier reads its label off one position p: the first token, or a decoder's last. What the last layer's attention
adds there is a sum over source tokens, x[p] = W_O sum_t u[t] + bias, where u[t] joins a_h[p, t] v_h[t] over heads h:
value-weighted attention. An equivalent matrix on u (W_O is absorbed) is thus the exact split of the same matrix on x[p]
by source token: MHEX's class activation map with source tokens for positions. In earlier layers a token reaches p
through other positions s as well. There the row of p is replaced by the row that attention rollout (Abnar and Zuidema
2020) gives for how much of s arrives at p later on, R[s]: u[t] = concat over h of (sum_s R[s] a_h[s, t]) v_h[t]. Ours,
beyond the paper.

Where labels are read at several positions of a text, each has a row R of its own, and all go through one pass.

Axes: B texts, P places, T tokens, N attention heads, K of them with keys of their own, D units each, A = N D, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .readout import apply_matrix

_CACHED = 2**18  # attention weights that are looked at in one go on a CPU: 1 MB
_LOWEST = torch.finfo(torch.float32).min


@dataclass(frozen=True, slots=True)
class AttentionInputs:
    """What one layer's attention was given: query (B, N, T, D), key and value (B, K, T, D), K a divisor of N.

    `bias` is added to the scores, 0 where a token sees another and very negative where not: (B or 1, N or 1, T or 1, T)
    float32. Scores are scaled by `scaling`, then squashed to softcap tanh(score / softcap) where there is a `softcap`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor
    scaling: float
    softcap: float | None = None

    def weights(self, texts: slice = slice(None)) -> Tensor:
        """(B, N, T, T) float32, rows attend to columns and add up to 1."""
        return self._softmax(self.query[texts], self.key[texts], self._bias_of(texts))

    def rows(self, positions: Tensor, texts: slice = slice(None)) -> Tensor:
        """(B, N, P, T) float32: the weights of some rows alone, those of the tokens at `positions` (B, P) int64."""
        query, bias, index = self.query[texts], self._bias_of(texts), positions[texts, None, :, None]
        batch, heads, tokens, width = query.shape
        query = query.gather(2, index.expand(-1, heads, -1, width))
        if bias.shape[2] > 1:
            bias = bias.expand(batch, -1, -1, -1)
            bias = bias.gather(2, index.expand(-1, bias.shape[1], -1, tokens))
        return self._softmax(query, self.key[texts], bias)

    def _softmax(self, query: Tensor, key: Tensor, bias: Tensor) -> Tensor:
        key = self._spread(key)
        if self.softcap is None and query.dtype == torch.float32:
            # scaled and masked within the product: passes over (B, N, T, T) would be the main cost
            batch, heads, rows, width = query.shape
            hidden = bias.expand(batch, heads, -1, -1).flatten(0, 1)
            columns = key.reshape(batch * heads, -1, width).transpose(1, 2)
            scores = torch.baddbmm(hidden, query.reshape(batch * heads, rows, width), columns, alpha=self.scaling)
            return scores.softmax(-1).view(batch, heads, rows, key.shape[2])
        scores = (query @ key.transpose(-1, -2)).float().mul_(self.scaling)
        if self.softcap is not None:
            scores = scores.div_(self.softcap).tanh_().mul(self.softcap)
        return scores.add_(bias).softmax(-1)

    def rollout_weights(self, rollout: Tensor, texts: slice = slice(None)) -> Tensor:
        """w_h[t] = sum_s R[s] a_h[s, t], (B, N, P, T) float32, for the rollout R (B, P, T) of all texts."""
        return rollout[texts, None] @ self.weights(texts)

    def cache_chunks(self) -> list[slice]:
        """The texts, so many at a time that their weights stay in a CPU's cache, where they are read several times."""
        batch, heads, tokens, _ = self.query.shape
        if self.query.device.type != "cpu" or torch.compiler.is_compiling():
            return [slice(None)]
        step = max(1, _CACHED // (heads * tokens * tokens))
        return [slice(start, start + step) for start in range(0, batch, step)]

    def _bias_of(self, texts: slice) -> Tensor:
        return self.bias if len(self.bias) == 1 else self.bias[texts]

    def _spread(self, shared: Tensor) -> Tensor:
        """(B, K, T, D), one for each group of heads, repeated for each head: (B, N, T, D)."""
        groups = self.query.shape[1] // shared.shape[1]
        return shared if groups == 1 else shared.repeat_interleave(groups, 1)

    def values(self, texts: slice = slice(None)) -> Tensor:
        """(B, T, N, D): one for each head, in the order in which projections lie in memory."""
        return self._spread(self.value[texts]).transpose(1, 2)

    def flow(
        self, rollout: Tensor, position: Tensor | None, matrix: Tensor | None, needed: bool
    ) -> tuple[Tensor | None, Tensor]:
        """u[t] = concat over h of w_h[t] v_h[t], or what a matrix reads of it; and the mean over heads of w.

        w_h[t] = sum_s R[s] a_h[s, t].

        Args:
            rollout: R, (B, T) float32, or (B, P, T) for several places of a text.
            position: (B,), or (B, P), int64 where R is 1 at this token alone: only that row of the attention is made.
            matrix: (C, A); u is then read chunk by chunk and never held whole.
            needed: `False` where nothing reads this layer's u.

        Returns:
            (B, T, A) in the dtype of the values, or (B, T, C) float32 with a matrix, or `None`; and (B, T) float32. For
            places each has an axis P after B.
        """
        if rollout.dim() == 2:
            rollout = rollout[:, None]
            position = None if position is None else position[:, None]
            flow, passed_on = self._flow(rollout, position, matrix, needed, places=False)
            return flow, passed_on.squeeze(1)
        return self._flow(rollout, position, matrix, needed, places=True)

    def _flow(
        self, rollout: Tensor, positions: Tensor | None, matrix: Tensor | None, needed: bool, places: bool
    ) -> tuple[Tensor | None, Tensor]:
        flows, means = [], []
        for texts in self.cache_chunks():
            weights = self.rollout_weights(rollout, texts) if positions is None else self.rows(positions, texts)
            means.append(weights.mean(1))  # of (B, N, P, T)
            if not needed:
                continue
            if places and matrix is not None:
                # the matrix first: what it reads is much narrower than the values, and the same for all places
                by_head = matrix.view(len(matrix), weights.shape[1], -1).permute(1, 2, 0)  # (N, D, C)
                read = (self._spread(self.value[texts]).to(matrix.dtype) @ by_head).float()  # (B, N, T, C)
                flows.append(_read_by_head(weights, read.transpose(1, 2)))
                continue
            values = self.values(texts)
            weights = weights.permute(0, 2, 3, 1)[..., None].to(values.dtype)  # (B, P, T, N, 1)
            flow = (weights * values[:, None] if places else weights[:, 0] * values).flatten(-2)
            flows.append(flow if matrix is None else apply_matrix(matrix, flow))
        return torch.cat(flows) if flows else None, torch.cat(means)


def _head_scores(matrix: Tensor, values: Tensor) -> Tensor:
    """(B, T, N, C) float32: what the blocks of a (C, A) matrix read off each head's values (B, T, N, D)."""
    heads, width = values.shape[2:]
    # (N C, A), a block for each head: one product, where N would each be small
    by_head = torch.block_diag(*matrix.view(-1, heads, width).transpose(0, 1))
    return apply_matrix(by_head, values.flatten(2)).unflatten(2, (heads, -1))


def _read_by_head(weights: Tensor, head_scores: Tensor) -> Tensor:
    """sum_h w_h[p, t] s_h[t]: (B, P, T, C) float32 from (B, N, P, T) and (B, T, N, C)."""
    return (weights.permute(0, 3, 2, 1) @ head_scores).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """One layer's attention, of which queries and keys need not be kept any more.

    `weights` (B, N, T, T) float32, rows attend to columns and add up to 1; `head_scores` (B, T, N, C) float32: what the
    matrix of the layer reads off each head's values, `None` where nothing reads them.
    """

    weights: Tensor
    head_scores: Tensor | None

    @classmethod
    def of(cls, inputs: AttentionInputs, matrix: Tensor | None) -> AttentionWeights:
        """The attention of a layer, and what its (C, A) matrix reads."""
        weights = torch.cat([inputs.weights(texts) for texts in inputs.cache_chunks()])
        if matrix is None:
            return cls(weights, None)
        return cls(weights, _head_scores(matrix, inputs.values()))

    def flow(self, rollout: Tensor) -> tuple[Tensor | None, Tensor]:
        """What the matrix reads of u, (B, T, C) float32, `None` without one; and the mean over heads of w, (B, T).

        w_h[t] = sum_s R[s] a_h[s, t] for the rollout R (B, T), or (B, P, T): each then has an axis P after B.
        """
        rows = rollout if rollout.dim() == 3 else rollout[:, None]
        weights = rows[:, None] @ self.weights  # (B, N, P, T)
        read = None if self.head_scores is None else _read_by_head(weights, self.head_scores)
        means = weights.mean(1)
        if rollout.dim() == 3:
            return read, means
        return None if read is None else read.squeeze(1), means.squeeze(1)


class AttentionLog:
    """What each layer's attention was given in one forward pass, in order of depth.

    Args:
        flow_matrix: what reads the flow of a layer by its number, (C, A), or `None` where nothing does; without this
            function the flow itself is wanted.
    """

    def __init__(self, flow_matrix: Callable[[int], Tensor | None] | None = None) -> None:
        self.flow_matrix = flow_matrix
        self.layers: list[AttentionInputs | AttentionWeights] = []
        self.in_layer = False  # while the attention function of a layer runs
        self._biases: dict[Any, tuple[Any, Tensor]] = {}

    def add(self, inputs: AttentionInputs) -> None:
        """Adds a layer; the one before it, which is not the last then, is weighed where that takes less memory.

        On a CPU what all layers were given would push the model's weights out of the caches.
        """
        query = inputs.query
        if self.layers and getattr(self.layers[-1], "query", None) is query:
            return  # asked for a second time, as when one attention function failed
        small = query.shape[2] <= 2 * query.shape[3] and query.dtype == torch.float32 and query.device.type == "cpu"
        if self.layers and small and self.flow_matrix is not None and not torch.compiler.is_compiling():
            before = self.layers[-1]
            assert isinstance(before, AttentionInputs)
            self.layers[-1] = AttentionWeights.of(before, self.flow_matrix(len(self.layers) - 1))
        self.layers.append(inputs)

    def bias(self, attention_mask: Any, real: Tensor | None, query: Tensor, causal: bool, window: int | None) -> Tensor:
        """`attention_bias`, once for all layers that are given the same mask, with one row where all rows are alike."""
        kind = (id(attention_mask), causal, window)
        if kind not in self._biases:
            bias = attention_bias(attention_mask, real, query, causal, window)
            # Elsewhere than on a CPU the answer would have to be waited for, and a full bias costs little.
            looks = bias.device.type == "cpu" and not torch.compiler.is_compiling()
            if looks and bool((bias == bias[:, :, :1]).all()):
                bias = bias[:, :, :1]
            self._biases[kind] = (attention_mask, bias)  # the mask is kept, or its id could be given to another
        return self._biases[kind][1]


def attention_flow(
    layers: Sequence[AttentionInputs | AttentionWeights],
    start: Tensor,
    position: Tensor | None = None,
    matrix: Callable[[int], Tensor | None] | None = None,
) -> tuple[Tensor | None, ...]:
    """u of each layer, in order of depth: (B, T, A) in the dtype of the values; or what its matrix reads of it.

    From the last layer L down: w_h[t] = sum_s R_l[s] a_h[s, t], u_l[t] = concat over h of w_h[t] v_h[t], and
    R_{l-1} = (R_l + mean over h of w_h) / 2, as in rollout, with R_L = `start`. Summed over t, u_l is the R_l-weighted
    mean of that layer's attention outputs, before W_O.

    Args:
        layers: L of them.
        start: (B, T) float32, where the label is read from: rows that add up to 1, zero on padding; or (B, P, T), a row
            for each of several places, and the results have an axis P after B.
        position: (B,), or (B, P), int64 where `start` is 1 at a single token: the last layer then needs those rows
            alone.
        matrix: of a layer by its number, (C, A), or `None` where nothing reads it: the results are (B, T, C) float32 in
            place of u, which then is never held whole.
    """
    rollout = start
    flows: list[Tensor | None] = []
    for index in reversed(range(len(layers))):
        layer = layers[index]
        if isinstance(layer, AttentionWeights):
            flow, passed_on = layer.flow(rollout)
        else:
            reader = None if matrix is None else matrix(index)
            row = None if flows else position
            flow, passed_on = layer.flow(rollout, row, reader, needed=matrix is None or reader is not None)
        flows.append(flow)
        rollout = (rollout + passed_on) / 2
    return tuple(reversed(flows))


def pooled_weights(pooled: str | None, mask: Tensor | None, batch: int, tokens: int) -> tuple[Tensor, Tensor | None]:
    """Where the label is read from: "first", "last" (real token) or "mean" (of the real ones).

    Args:
        pooled: one of these.
        mask: (B, T) bool, `None` where every token is real.
        batch, tokens: B and T.

    Returns:
        (B, T) float32, rows that add up to 1; and (B,) int64, the position of the one token, `None` for "mean".
    """
    real = torch.ones(batch, tokens, dtype=torch.bool) if mask is None else mask
    if pooled == "mean":
        return real.float() / real.sum(1, keepdim=True).clamp(min=1), None
    positions = torch.arange(tokens, device=real.device).expand(batch, -1)
    position = (positions * real).amax(1) if pooled == "last" else positions[:, 0]
    return torch.nn.functional.one_hot(position, tokens).float(), position


def attention_bias(attention_mask: Any, real: Tensor | None, query: Tensor, causal: bool, window: int | None) -> Tensor:
    """What is added to attention scores, (B or 1, N or 1, T or 1, T) float32: 0 where seen, very negative where not.

    Args:
        attention_mask: what the attention function was given; only a 4-D tensor, bool or additive, says it all.
        real: (B, T) bool, `None` for all; counts where there is no such mask (flash attention, or nothing to hide).
        query: (B, N, T, D).
        causal: without a 4-D mask, tokens see themselves and earlier ones alone.
        window: without a 4-D mask, tokens see only those nearer than this.
    """
    if isinstance(attention_mask, Tensor) and attention_mask.dim() == 4:
        if attention_mask.dtype != torch.bool:
            return attention_mask.float().clamp(min=_LOWEST)
        hidden = ~attention_mask
    else:
        positions = torch.arange(query.shape[2], device=query.device)
        apart = positions[:, None] - positions  # (T, T), positive where the query comes after the key
        hidden = torch.zeros_like(apart, dtype=torch.bool)
        if causal:
            hidden = hidden | (apart < 0)
        if window is not None:
            hidden = hidden | (apart.abs() >= window)
        hidden = hidden[None, None]
        if real is not None:
            hidden = hidden | ~real.to(query.device)[:, None, None]
    return torch.zeros(hidden.shape, dtype=torch.float32, device=query.device).masked_fill(hidden, _LOWEST)
