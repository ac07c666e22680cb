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

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .half_stored import HalfStored, short_texts
from .merged_rows import MOST_ROWS, MergedRows, run_starts
from .visible_tokens import VisibleTokens

_CACHED = 2**18  # attention weights that are looked at in one go on a CPU: 1 MB
_HELD = 2**26  # elsewhere: 256 MB
_LEAST_ROWS = 32  # that are multiplied in one go: with fewer, reading the keys would be the main cost
_NARROW = 256  # a window that is no wider is looked at row by row: nothing outside it is read
_ALL = slice(None)


@dataclass(frozen=True, slots=True)
class AttentionInputs:
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

    def weights(self, texts: slice = _ALL, heads: slice = _ALL, rows: slice = _ALL, columns: slice = _ALL) -> Tensor:
        """(B, N, R, T) float32, rows attend to columns; those of all columns add up to 1."""
        bias = self.visible.bias(self.key.shape[2], self.query.device, texts, rows, columns)
        bias = bias if bias is None or bias.shape[1] == 1 else bias[:, heads]
        return self._softmax(self.query[texts, heads, rows], self._keys(texts, heads, columns), bias)

    def rows(self, positions: Tensor) -> Tensor:
        """(B, N, P, T) float32: the weights of some rows alone, those of the tokens at `positions` (B, P) int64."""
        index = positions[:, None, :, None].expand(-1, self.query.shape[1], -1, self.query.shape[3])
        bias = self.visible.bias(self.key.shape[2], self.query.device, _ALL, positions)
        return self._softmax(self.query.gather(2, index), self._keys(_ALL, _ALL, _ALL), bias)

    def _keys(self, texts: slice, heads: slice, columns: slice) -> Tensor:
        """(B, N, T, D), those shared by a group of heads repeated for each."""
        groups = self.query.shape[1] // self.key.shape[1]
        if groups == 1:
            return self.key[texts, heads, columns]
        return self.key[texts, :, columns].repeat_interleave(groups, 1)[:, heads]

    def _softmax(self, query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
        if self.softcap is None and query.dtype == key.dtype == torch.float32:
            # scaled and masked within the product: passes over (B, N, R, T) would be the main cost
            batch, heads, rows, _ = query.shape
            queries, columns = query.flatten(0, 1), key.flatten(0, 1)
            hidden = query.new_zeros(1) if bias is None else bias.expand(batch, heads, -1, -1).flatten(0, 1)
            products = queries, columns.transpose(1, 2)
            scores = torch.baddbmm(hidden, *products, beta=int(bias is not None), alpha=self.scaling)
            return scores.softmax(-1).view(batch, heads, rows, key.shape[2])
        scores = (query.to(key.dtype) @ key.transpose(-1, -2)).float().mul_(self.scaling)
        if self.softcap is not None:
            scores = scores.div_(self.softcap).tanh_().mul(self.softcap)
        return (scores if bias is None else scores.add_(bias)).softmax(-1)

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
        blocks = list(self._blocks(reach))
        if len(blocks) == 1:
            return rollout[:, None] @ self.weights()
        total = rollout.new_zeros(*self.query.shape[:2], rollout.shape[1], self.key.shape[2])
        for texts, heads, rows in blocks:
            columns = _ALL if reach is None else slice(max(0, rows.start - reach), rows.stop + reach)
            total[texts, heads, :, columns] += rollout[texts, None, :, rows] @ self.weights(texts, heads, rows, columns)
        return total

    def _blocks(self, reach: int | None) -> Iterator[tuple[slice, slice, slice]]:
        """Texts, heads and rows whose weights stay in a CPU's cache together, where they are read several times.

        Args:
            reach: how far from its row a column may be.
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

    def read_by(self, matrix: Tensor | None) -> AttentionInputs:
        """The same layer without its values: with what a (C, A) matrix reads off them, or nothing without one."""
        assert self.value is not None
        scores = None if matrix is None else _head_scores(matrix, self.value, self.query.shape[1])
        return replace(self, value=None, head_scores=scores)

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

    def values(self) -> Tensor:
        """(B, T, N, D): one for each head, in the order in which projections lie in memory."""
        assert self.value is not None
        return self.value.repeat_interleave(self.query.shape[1] // self.value.shape[1], 1).transpose(1, 2)

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
            values = self.values()
            flow = (weights.permute(0, 2, 3, 1)[..., None].to(values.dtype) * values[:, None]).flatten(-2)
        return flow, weights.mean(1)


def _head_scores(matrix: Tensor, value: Tensor, heads: int) -> Tensor:
    """(B, N, T, C) float32: what the blocks of a (C, A) matrix read off each head's values, (B, K, T, D)."""
    batch, shared, tokens, width = value.shape
    if matrix.shape[1] != heads * width:
        raise ValueError(f"fitted matrices for flow of {matrix.shape[1]} units got flow of {heads * width}.")
    blocks = matrix.view(len(matrix), shared, -1, width).permute(1, 3, 2, 0).flatten(2)  # (K, D, N / K * C)
    # texts joined, whose values lie one after the other in memory: a product for each head, of all tokens
    values = value.transpose(0, 1).reshape(shared, batch * tokens, width).to(matrix.dtype)
    scores = torch.bmm(values, blocks).float().view(shared, batch, tokens, heads // shared, -1)
    return scores.permute(1, 0, 3, 2, 4).flatten(1, 2)


def _read_by_head(weights: Tensor, head_scores: Tensor) -> Tensor:
    """sum_h w_h[p, t] s_h[t]: (B, P, T, C) float32 from (B, N, P, T) and (B, N, T, C)."""
    if weights.shape[2] == 1:  # products of matrices would be one a token
        return (weights.transpose(2, 3) * head_scores).sum(1)[:, None]
    # of other strides torch multiplies one token after the other
    rows, columns = weights.permute(0, 3, 2, 1).contiguous(), head_scores.transpose(1, 2).contiguous()
    return (rows @ columns).transpose(1, 2)


def _own_memory(values: Tensor) -> Tensor:
    """A copy, where this is a view that keeps more alive, as of a projection to queries, keys and values at once."""
    if torch.compiler.is_compiling() or values.untyped_storage().nbytes() <= values.nbytes:
        return values
    return values.clone()


class AttentionLog:
    """What each layer's attention was given in one forward pass, in order of depth.

    Args:
        flow_matrix: what reads the flow of a layer by its number, (C, A), or `None` where nothing does; without this
            function the flow itself is wanted.
        merges: whether texts of more than `MOST_ROWS` tokens will be read by merged rows; their queries and keys are
            then kept in 16 bits.
    """

    def __init__(self, flow_matrix: Callable[[int], Tensor | None] | None = None, *, merges: bool = False) -> None:
        self.flow_matrix, self.merges = flow_matrix, merges
        self.layers: list[AttentionInputs] = []
        self.in_layer = False  # while the attention function of a layer runs
        self._visible: dict[Any, tuple[Any, VisibleTokens]] = {}
        self._short: Tensor | None = None
        self._last: Callable[[], Any] = lambda: None

    def add(self, inputs: AttentionInputs) -> None:
        """Adds a layer: in place of its values, what the matrix reads off them, which is far smaller."""
        query = inputs.query
        if self._last() is query:
            return  # asked for a second time, as when one attention function failed
        # torch.compile cannot trace weak references
        self._last = (lambda: query) if torch.compiler.is_compiling() else weakref.ref(query)
        if self.flow_matrix is not None:
            inputs = inputs.read_by(self.flow_matrix(len(self.layers)))
        if not self.merges or query.shape[2] <= MOST_ROWS:
            self.layers.append(inputs)
            return
        if not self.layers:
            self._short = short_texts(inputs.visible.real)
        self.layers.append(inputs.stored(self._short))

    def visible(
        self, attention_mask: Any, real: Tensor | None, device: torch.device, causal: bool, window: int | None
    ) -> VisibleTokens:
        """`VisibleTokens.of`, once for all layers that are given the same mask."""
        kind = (id(attention_mask), causal, window)
        if kind not in self._visible:
            visible = VisibleTokens.of(attention_mask, real, device, causal, window)
            self._visible[kind] = (attention_mask, visible)  # the mask is kept, or its id could be given to another
        return self._visible[kind][1]


def attention_flow(
    layers: Sequence[AttentionInputs],
    start: Tensor,
    position: Tensor | None = None,
    matrix: Callable[[int], Tensor | None] | None = None,
) -> tuple[Tensor | None, ...]:
    """u of each layer, in order of depth: (B, T, A) in the dtype of the values; or what its matrix reads of it.

    From the last layer L down: w_h[t] = sum_s R_l[s] a_h[s, t], u_l[t] = concat over h of w_h[t] v_h[t], and
    R_{l-1} = (R_l + mean over h of w_h) / 2, as in rollout, with R_L = `start`. Summed over t, u_l is the R_l-weighted
    mean of that layer's attention outputs, before W_O. In texts of more than `MOST_ROWS` tokens that are read from one
    place, neighbours share rows a_h[s], so many in all (`merged_rows`); several places are read row by row.

    Args:
        layers: L of them.
        start: (B, T) float32, where the label is read from: rows that add up to 1, zero on padding; or (B, P, T), a row
            for each of several places, and the results have an axis P after B.
        position: (B,), or (B, P), int64 where `start` is 1 at a single token: the last layer then needs those rows
            alone.
        matrix: of a layer by its number, (C, A), or `None` where nothing reads it: the results are (B, T, C) float32 in
            place of u, which then is never held whole.
    """
    places = start.dim() == 3
    rollout = start if places else start[:, None]
    rows = position if position is None or places else position[:, None]
    starts = None
    if not places and start.shape[1] > MOST_ROWS:
        starts = run_starts(layers[-1].visible.real, start)
    flows: list[Tensor | None] = []
    for index in reversed(range(len(layers))):
        layer = layers[index].restored()
        if matrix is not None and layer.value is not None:
            layer = layer.read_by(matrix(index))
        flow, passed_on = layer.flow(rollout, None if flows else rows, starts)
        flows.append(flow if flow is None or places else flow.squeeze(1))
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
    # one_hot would tie a compiled graph to this number of tokens
    return (positions == position[:, None]).float(), position
