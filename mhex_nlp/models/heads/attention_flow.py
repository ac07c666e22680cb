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

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from .attention_inputs import AttentionInputs
from .half_stored import short_texts
from .kept_weights import attend, keeps_weights
from .layer_flow import LayerFlow
from .merged_rows import MOST_ROWS, run_starts
from .visible_tokens import VisibleTokens
from .workspace import Workspace

_Layer = TypeVar("_Layer", bound=LayerFlow)


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
        self.layers: list[LayerFlow] = []
        self.in_layer = False  # while the attention function of a layer runs
        self._visible: dict[Any, tuple[Any, VisibleTokens]] = {}
        self._short: Tensor | None = None
        self._workspace: Workspace | None = None
        self._last: Callable[[], Any] = lambda: None
        self._begun = 0  # layers before the one that was asked for last

    def add(self, inputs: AttentionInputs) -> None:
        """Adds a layer: in place of its values, what the matrix reads off them, which is far smaller."""
        self._begin(inputs.query)
        inputs = self._read(inputs)
        if not self.merges or inputs.query.shape[2] <= MOST_ROWS:
            self.layers.append(inputs)
            return
        if not self.layers:
            self._short = short_texts(inputs.visible.real)
        self.layers.append(inputs.stored(self._short))

    def keeps(self, inputs: AttentionInputs) -> bool:
        """Whether `attend` is to take the place of torch's fused attention."""
        return keeps_weights(inputs)

    def attend(self, inputs: AttentionInputs) -> Tensor:
        """What the layer's attention adds up, (B, T, N, D); the layer is added with the weights made for that."""
        self._begin(inputs.query)
        if self._workspace is None and not torch.compiler.is_compiling():
            self._workspace = Workspace.spare()
        output, layer = attend(inputs, self._workspace)
        self.layers.append(self._read(layer))
        return output

    def flow(self, start: Tensor, position: Tensor | None) -> tuple[Tensor | None, ...]:
        """`attention_flow` of all layers, which are forgotten: the next pass has their memory."""
        flow = attention_flow(self.layers, start, position, self.flow_matrix)
        self.layers.clear()
        if self._workspace is not None:
            self._workspace.give_back()
            self._workspace = None
        return flow

    def _begin(self, query: Tensor) -> None:
        """Begins a layer, anew where it is asked for a second time, as when one attention function failed."""
        if self._last() is query:
            del self.layers[self._begun :]
            return
        # torch.compile cannot trace weak references
        self._last = (lambda: query) if torch.compiler.is_compiling() else weakref.ref(query)
        self._begun = len(self.layers)

    def _read(self, layer: _Layer) -> _Layer:
        return layer if self.flow_matrix is None else layer.read_by(self.flow_matrix(len(self.layers)))

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
    layers: Sequence[LayerFlow],
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
        last = layers[-1]
        starts = run_starts(last.visible.real if isinstance(last, AttentionInputs) else None, start)
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
