# SPDX-License-Identifier: Apache-2.0
"""What a layer's attention was given, from which its weights are made anew, as many at a time as stay in a CPU's cache.

Axes: B texts, P places, T tokens, N attention heads, K of them with keys of their own, D units each, C labels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .half_stored import HalfStored
from .layer_flow import LayerFlow
from .merged_rows import MOST_ROWS, MergedRows
from .visible_tokens import VisibleTokens

_CACHED = 2**18  # attention weights that are looked at in one go on a CPU: 1 MB
_HELD = 2**26  # elsewhere: 256 MB
_LEAST_ROWS = 32  # that are multiplied in one go: with fewer, reading the keys would be the main cost
_NARROW = 256  # a window that is no wider is looked at row by row: nothing outside it is read
_ALL = slice(None)


@dataclass(frozen=True, slots=True)
class AttentionInputs(LayerFlow):
    """What one layer's attention was given: query (B, N, T, D), key and value (B, K, T, D), K a divisor of N.

    Scores are scaled by `scaling`, then squashed to softcap tanh(score / softcap) where there is a `softcap`; `visible`
    hides tokens. Where a matrix reads the layer's flow, what it reads off each head's values, `head_scores`
    (B, N, T, C) float32, may take the place of the values. With `halves` it is to be `restored` first.
    """

    query: Tensor
    key: Tensor
    value: Tensor | None
    visible: VisibleTokens
    scaling: float
    softcap: float | None = None
    window: int | None = None
    head_scores: Tensor | None = None
    halves: tuple[HalfStored, HalfStored, HalfStored | None] | None = None

    @property
    def by_row(self) -> Tensor:
        """The queries."""
        return self.query

    def weights(
        self,
        texts: slice = _ALL,
        heads: slice = _ALL,
        rows: slice = _ALL,
        columns: slice = _ALL,
        out: Tensor | None = None,
    ) -> Tensor:
        """(B, N, R, T) float32, rows attend to columns; those of all columns add up to 1. In `out` where given."""
        bias = self.visible.bias(self.key.shape[2], self.query.device, texts, rows, columns)
        bias = bias if bias is None or bias.shape[1] == 1 else bias[:, heads]
        query = self.query if texts is heads is rows is _ALL else self.query[texts, heads, rows]
        return self._softmax(query, self._keys(texts, heads, columns), bias, out)

    def rows(self, positions: Tensor) -> Tensor:
        """(B, N, P, T) float32: the weights of some rows alone, those of the tokens at `positions` (B, P) int64."""
        bias = self.visible.bias(self.key.shape[2], self.query.device, _ALL, positions)
        return self._softmax(self.at(positions), self._keys(_ALL, _ALL, _ALL), bias)

    def _keys(self, texts: slice, heads: slice, columns: slice) -> Tensor:
        """(B, N, T, D), those shared by a group of heads repeated for each."""
        groups = self.query.shape[1] // self.key.shape[1]
        if groups == 1:
            return self.key if texts is heads is columns is _ALL else self.key[texts, heads, columns]
        return self.key[texts, :, columns].repeat_interleave(groups, 1)[:, heads]

    def _softmax(self, query: Tensor, key: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
        if self.softcap is None and query.dtype == key.dtype == torch.float32:
            # scaled and masked within the product: passes over (B, N, R, T) would be the main cost
            batch, heads, rows, _ = query.shape
            queries, columns = query.flatten(0, 1), key.flatten(0, 1)
            hidden = query.new_zeros(1) if bias is None else bias.expand(batch, heads, -1, -1).flatten(0, 1)
            products = queries, columns.transpose(1, 2)
            scores = torch.baddbmm(hidden, *products, beta=int(bias is not None), alpha=self.scaling)
            return torch.softmax(scores.view(batch, heads, rows, key.shape[2]), -1, out=out)
        scores = (query.to(key.dtype) @ key.transpose(-1, -2)).float().mul_(self.scaling)
        if self.softcap is not None:
            scores = scores.div_(self.softcap).tanh_().mul(self.softcap)
        return torch.softmax(scores if bias is None else scores.add_(bias), -1, out=out)

    def rollout_weights(self, rollout: Tensor, starts: Tensor | None = None) -> Tensor:
        """w_h[t] = sum_s R[s] a_h[s, t], (B, N, P, T) float32.

        Args:
            rollout: R, (B, P, T) float32.
            starts: (B, G), of the runs of neighbours whose rows may be merged where P is 1; row by row without, and
                where a token sees but its neighbourhood, of which little is read anyway.
        """
        if starts is None or self._narrow:
            return self._weighted_rows(rollout)
        merged = MergedRows(rollout.squeeze(1), starts)
        queries = self.query.transpose(1, 2)  # as projections lie in memory
        means = merged.means(queries.flatten(2)).unflatten(2, queries.shape[2:]).transpose(1, 2)
        visible = VisibleTokens(merged.bias(self.visible, self.query.device))
        return replace(self, query=means, visible=visible, window=None)._weighted_rows(merged.mass[:, None])

    @property
    def _narrow(self) -> bool:
        return self.window is not None and self.window <= _NARROW

    def _weighted_rows(self, rollout: Tensor) -> Tensor:
        """As `rollout_weights`, row by row: R has one weight for each query, (B, P, R)."""
        reach = self.window if self._narrow else None
        blocks = list(self.blocks(reach))
        if len(blocks) == 1:
            return rollout[:, None] @ self.weights()
        total = rollout.new_zeros(*self.query.shape[:2], rollout.shape[1], self.key.shape[2])
        for texts, heads, rows in blocks:
            columns = _ALL if reach is None else slice(max(0, rows.start - reach), rows.stop + reach)
            total[texts, heads, :, columns] += rollout[texts, None, :, rows] @ self.weights(texts, heads, rows, columns)
        return total

    def blocks(self, reach: int | None = None) -> Iterator[tuple[slice, slice, slice]]:
        """Texts, heads and rows whose weights stay in a CPU's cache together, where they are read several times.

        Args:
            reach: how far from its row a column may be, without it anywhere.
        """
        (batch, heads, rows, _), width = self.query.shape, self.key.shape[2]
        if torch.compiler.is_compiling() and rows <= MOST_ROWS:
            yield _ALL, _ALL, slice(0, rows)
            return
        held = _CACHED if self.query.device.type == "cpu" else _HELD
        width = width if reach is None else min(width, 2 * reach + _LEAST_ROWS)
        height = min(rows, max(_LEAST_ROWS, held // (heads * width)))
        steps = max(1, held // (heads * rows * width)), min(heads, max(1, held // (height * width))), height
        axes = zip((batch, heads, rows), steps, strict=True)
        slices = [[slice(start, min(start + step, size)) for start in range(0, size, step)] for size, step in axes]
        yield from itertools.product(*slices)

    def stored(self, short: Tensor | None) -> AttentionInputs:
        """The same layer until its flow is followed, float32 queries, keys and head scores in half precision.

        Args:
            short: (S,) int64, texts that are kept as they are.
        """
        if self.query.dtype != torch.float32 or self.key.dtype != torch.float32:
            return replace(self, query=_own_memory(self.query), key=_own_memory(self.key))
        halves = HalfStored.of(self.query, short), HalfStored.of(self.key, short)
        scores = None if self.head_scores is None else HalfStored.of(self.head_scores, short)
        layer = replace(self, query=halves[0].half, key=halves[1].half, head_scores=None)
        return replace(layer, halves=(*halves, scores))

    def restored(self) -> AttentionInputs:
        """As it was before `stored`, but for rounding."""
        if self.halves is None:
            return self
        query, key, scores = (None if half is None else half.restored() for half in self.halves)
        assert query is not None and key is not None
        return replace(self, query=query, key=key, head_scores=scores, halves=None)


def _own_memory(values: Tensor) -> Tensor:
    """A copy, where this is a view that keeps more alive, as of a projection to queries, keys and values at once."""
    if torch.compiler.is_compiling() or values.untyped_storage().nbytes() <= values.nbytes:
        return values
    return values.clone()
