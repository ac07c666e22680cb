# SPDX-License-Identifier: Apache-2.0
"""What each token writes, through attention, into the place that the label is read from.

A classifier reads its label off one position p: the first token, or a decoder's last. What the last layer's attention
adds there is a sum over source tokens, x[p] = W_O sum_t u[t] + bias, where u[t] joins a_h[p, t] v_h[t] over heads h. An
equivalent matrix on u (W_O is absorbed) is thus the exact split of the same matrix on x[p] by source token: MHEX's
class activation map with source tokens for positions. In earlier layers a token reaches p through other positions s as
well. There the row of p is replaced by the row that attention rollout (Abnar and Zuidema 2020) gives for how much of s
arrives at p later on, R[s]: u[t] = concat over h of (sum_s R[s] a_h[s, t]) v_h[t]. Ours, beyond the paper.

Axes: B texts, T tokens, N attention heads, K of them with keys of their own, D units each, A = N D.
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
class Attended:
    """What one layer's attention was given: query (B, N, T, D), key and value (B, K, T, D), K a divisor of N.

    `seen` is added to the scores, 0 where a token sees another and very negative where not: (B or 1, N or 1, T or 1, T)
    float32. Scores are scaled by `scaling`, then squashed to softcap tanh(score / softcap) where there is a `softcap`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    seen: Tensor
    scaling: float
    softcap: float | None = None

    def weights(self, texts: slice = slice(None)) -> Tensor:
        """(B, N, T, T) float32, rows attend to columns and add up to 1."""
        return self._softmax(self.query[texts], self.key[texts], self._seen(texts))

    def row(self, place: Tensor, texts: slice = slice(None)) -> Tensor:
        """(B, N, T) float32: the weights of one row a text, that of the tokens at `place` (B,) int64."""
        query, seen, place = self.query[texts], self._seen(texts), place[texts]
        batch, heads, tokens, width = query.shape
        query = query.gather(2, place.view(-1, 1, 1, 1).expand(-1, heads, 1, width))
        if seen.shape[2] > 1:
            seen = seen.expand(batch, -1, -1, -1)
            seen = seen.gather(2, place.view(-1, 1, 1, 1).expand(-1, seen.shape[1], 1, tokens))
        return self._softmax(query, self.key[texts], seen).squeeze(2)

    def _softmax(self, query: Tensor, key: Tensor, seen: Tensor) -> Tensor:
        key = self._spread(key)
        if self.softcap is None and query.dtype == torch.float32:
            # scaled and masked within the product: passes over (B, N, T, T) would be the main cost
            batch, heads, rows, width = query.shape
            hidden = seen.expand(batch, heads, -1, -1).flatten(0, 1)
            columns = key.reshape(batch * heads, -1, width).transpose(1, 2)
            scores = torch.baddbmm(hidden, query.reshape(batch * heads, rows, width), columns, alpha=self.scaling)
            return scores.softmax(-1).view(batch, heads, rows, -1)
        scores = (query @ key.transpose(-1, -2)).float().mul_(self.scaling)
        if self.softcap is not None:
            scores = scores.div_(self.softcap).tanh_().mul(self.softcap)
        return scores.add_(seen).softmax(-1)

    def arriving(self, rows: Tensor, texts: slice = slice(None)) -> Tensor:
        """sum_s R[s] a_h[s, t], (B, N, T) float32, for rows R (B, T) of all texts."""
        return (rows[texts, None, None] @ self.weights(texts)).squeeze(2)

    def portions(self) -> list[slice]:
        """The texts, so many at a time that their weights stay in a CPU's cache, where they are read several times."""
        batch, heads, tokens, _ = self.query.shape
        if self.query.device.type != "cpu" or torch.compiler.is_compiling():
            return [slice(None)]
        step = max(1, _CACHED // (heads * tokens * tokens))
        return [slice(start, start + step) for start in range(0, batch, step)]

    def _seen(self, texts: slice) -> Tensor:
        return self.seen if len(self.seen) == 1 else self.seen[texts]

    def _spread(self, each: Tensor) -> Tensor:
        groups = self.query.shape[1] // each.shape[1]
        return each if groups == 1 else each.repeat_interleave(groups, 1)

    def values(self, texts: slice = slice(None)) -> Tensor:
        """(B, T, N, D): one for each head, in the order in which projections lie in memory."""
        return self._spread(self.value[texts]).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Weighed:
    """One layer's attention, of which queries and keys need not be kept any more.

    `weights` as of `Attended`, and `said`, (B, T, N, C) float32: what the matrix of the layer reads off each head's
    values, `None` where nobody reads them.
    """

    weights: Tensor
    said: Tensor | None

    @classmethod
    def of(cls, attended: Attended, matrix: Tensor | None) -> Weighed:
        """The attention of a layer, and what its (C, A) matrix reads."""
        weights = torch.cat([attended.weights(texts) for texts in attended.portions()])
        if matrix is None:
            return cls(weights, None)
        heads, width = attended.query.shape[1], attended.value.shape[-1]
        # (N C, A), a block for each head: one product, where N would each be small
        by_head = torch.block_diag(*matrix.view(-1, heads, width).transpose(0, 1))
        said = apply_matrix(by_head, attended.values().flatten(2))
        return cls(weights, said.unflatten(2, (heads, -1)))

    def arriving(self, rows: Tensor) -> Tensor:
        """As of `Attended`."""
        return (rows[:, None, None] @ self.weights).squeeze(2)

    def read(self, arriving: Tensor) -> Tensor | None:
        """(B, T, C) float32: what the writes that arrive with these weights, (B, N, T), say."""
        if self.said is None:
            return None
        return (arriving.transpose(1, 2)[:, :, None] @ self.said).squeeze(2)


def rolled_writes(
    layers: Sequence[Attended | Weighed],
    start: Tensor,
    place: Tensor | None = None,
    matrix: Callable[[int], Tensor | None] | None = None,
) -> tuple[Tensor | None, ...]:
    """u of each layer, in order of depth: (B, T, A) in the dtype of the values; or what its matrix reads of it.

    From the last layer L down: w_h[t] = sum_s R_l[s] a_h[s, t], u_l[t] = concat over h of w_h[t] v_h[t], and
    R_{l-1} = (R_l + mean over h of w_h) / 2, as in rollout, with R_L = `start`. Summed over t, u_l is the R_l-weighted
    mean of that layer's attention outputs, before W_O.

    Args:
        layers: L of them.
        start: (B, T) float32, where the label is read from: rows that add up to 1, zero on padding.
        place: (B,) int64 where `start` is 1 at a single token a text: the last layer then needs that row alone.
        matrix: of a layer by its number, (C, A), or `None` where nobody reads it: (B, T, C) float32 is found in place
            of u, which then is never held whole.
    """
    arriving = start
    found: list[Tensor | None] = []
    for index in reversed(range(len(layers))):
        layer = layers[index]
        if isinstance(layer, Weighed):
            weights = layer.arriving(arriving)
            read, mean = layer.read(weights), weights.mean(1)
        else:
            reader = None if matrix is None else matrix(index)
            parts, means = [], []
            for texts in layer.portions():
                # (B, N, T)
                weights = layer.arriving(arriving, texts) if found or place is None else layer.row(place, texts)
                means.append(weights.mean(1))
                if matrix is None or reader is not None:
                    values = layer.values(texts)
                    write = (weights.transpose(1, 2)[..., None].to(values.dtype) * values).flatten(2)
                    parts.append(write if reader is None else apply_matrix(reader, write))
            read, mean = torch.cat(parts) if parts else None, torch.cat(means)
        found.append(read)
        arriving = (arriving + mean) / 2
    return tuple(reversed(found))


def pooled_weights(pooled: str | None, mask: Tensor | None, batch: int, tokens: int) -> tuple[Tensor, Tensor | None]:
    """(B, T) float32: where the label is read from, "first", "last" (real token) or "mean" (of the real ones); and
    (B,) int64, the place of it, `None` for "mean".
    """
    real = torch.ones(batch, tokens, dtype=torch.bool) if mask is None else mask
    if pooled == "mean":
        return real / real.sum(1, keepdim=True).clamp(min=1), None
    places = torch.arange(tokens, device=real.device).expand(batch, -1)
    position = (places * real).amax(1) if pooled == "last" else places[:, 0]
    return torch.nn.functional.one_hot(position, tokens).float(), position


def seen_by(attention_mask: Any, real: Tensor | None, query: Tensor, causal: bool, window: int | None) -> Tensor:
    """What is added to attention scores, (B or 1, N or 1, T or 1, T) float32: 0 for seen, very negative for not.

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
        places = torch.arange(query.shape[2], device=query.device)
        apart = places[:, None] - places  # (T, T), positive where the query comes after the key
        hidden = torch.zeros_like(apart, dtype=torch.bool)
        if causal:
            hidden = hidden | (apart < 0)
        if window is not None:
            hidden = hidden | (apart.abs() >= window)
        hidden = hidden[None, None]
        if real is not None:
            hidden = hidden | ~real.to(query.device)[:, None, None]
    return torch.zeros(hidden.shape, device=query.device).masked_fill(hidden, _LOWEST)
