# SPDX-License-Identifier: Apache-2.0
"""Equivalent matrices fitted to the model's own behaviour, one a depth, read off states and writes. Pure torch.

Where labels are read at positions, the score of token t for place p is read off what attention carries from t to p, and
for t = p off the place's own states: states of other tokens do not know p. Axes: B texts, P places, T tokens, C labels.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

_PATIENCE = 100  # sums are trusted for so many times the time that all of them take: 1 % of all time goes into sums


@dataclass(frozen=True, slots=True)
class FeatureLayout:
    """Which features of a token are read, and in which order: a one, then by depth its state and its attention flow.

    Depths count from 0, the stream entering the first layer, over z of each layer to the last hidden state; the flow of
    layer l (`attention_flow`) stands with its z, at depth l + 1.

    Args:
        depths: those that are read, ascending.
        widths: the width H of each one's states, 0 where they are not read.
        flow_widths: the width A of the attention flow into each one, 0 where they are not read.
        at: "position": flow is that into a place, states are read at the place alone, where there is a one as well.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    flow_widths: tuple[int, ...]
    at: Literal["text", "position"] = "text"

    @classmethod
    def of(cls, fit: Mapping[str, Any]) -> FeatureLayout:
        """From the record of a fit, `config.mhex_fit`; earlier ones say `write_widths`, the first ones neither."""
        depths, widths = tuple(fit["depths"]), tuple(fit["widths"])
        flow_widths = tuple(fit.get("flow_widths") or fit.get("write_widths") or [0] * len(depths))
        return cls(depths, widths, flow_widths, fit.get("at", "text"))

    @property
    def blocks(self) -> tuple[int, ...]:
        """Features of each depth."""
        return tuple(h + a for h, a in zip(self.widths, self.flow_widths, strict=True))

    @property
    def parts(self) -> tuple[int, ...]:
        """Features of the constants, and of each depth's state and write, in order."""
        pairs = zip(self.widths, self.flow_widths, strict=True)
        ones = (1,) if self.at == "text" else (1, 1)
        return (*ones, *(size for pair in pairs for size in pair if size))

    @property
    def features(self) -> int:
        """F: all of them, with the constants."""
        return sum(self.parts)

    def thinned(self, max_features: int) -> FeatureLayout:
        """As many depths, evenly spread, as have no more features than this; the first and the last are kept.

        Raises:
            ValueError: not even those two fit.
        """
        ones = self.features - sum(self.blocks)
        least = ones + self.blocks[0] + self.blocks[-1]
        if least > max_features:
            raise ValueError(f"max_features must be at least {least}, the first and last depth, got {max_features}.")
        for count in range(len(self.depths), 1, -1):
            chosen = sorted({round(i * (len(self.depths) - 1) / (count - 1)) for i in range(count)})
            depths, widths, flow_widths = (
                tuple(values[i] for i in chosen) for values in (self.depths, self.widths, self.flow_widths)
            )
            kept = FeatureLayout(depths, widths, flow_widths, self.at)
            if kept.features <= max_features:
                return kept
        raise AssertionError("two depths fit, as checked above")

    def with_own_states(self, count: int) -> FeatureLayout:
        """Of a place, the states of so many depths alone, evenly spread: nearby depths say nearly the same of it."""
        last = len(self.depths) - 1
        kept = {round(i * last / (count - 1)) for i in range(count)}
        widths = tuple(width if index in kept else 0 for index, width in enumerate(self.widths))
        return replace(self, widths=widths)

    def join(self, states: Sequence[Tensor], flows: Sequence[Tensor]) -> Tensor:
        """(..., F) float32 on the CPU, from the states of all depths and writes of all layers: (..., width) each."""
        parts = [states[0].new_ones(*states[0].shape[:-1], 1)]
        for depth, flow_width in zip(self.depths, self.flow_widths, strict=True):
            parts += [states[depth], flows[depth - 1]] if flow_width else [states[depth]]
        return torch.cat([part.float().cpu() for part in parts], dim=-1)

    def join_at(self, states: Sequence[Tensor], flows: Sequence[Tensor], start: Tensor) -> Tensor:
        """(P, T, F) float32 on the CPU, of a text: states (T, H), flow into each place (P, T, A), start rows (P, T)."""
        start = start[..., None].float()
        parts = [torch.ones_like(start), start]
        for depth, width, flow_width in zip(self.depths, self.widths, self.flow_widths, strict=True):
            parts += [start * states[depth].float()] if width else []
            parts += [flows[depth - 1].float()] if flow_width else []
        return torch.cat(parts, dim=-1).cpu()


class FittedReadout(nn.Module):
    """phi[t, c] = constant[c] + sum over depths of W_depth[c] . state[t] + U_depth[c] . write[t]: scores in logits.

    At position p, phi[p, t, c] = constant[c] + sum over depths of U_depth[c] . write[t -> p] + start[p, t] (own[c] +
    sum over depths of W_depth[c] . state[t]), where start[p] is the row that the rollout starts from: 1 at p alone, but
    where the logits are less their mean over positions.

    The matrices are buffers: no optimiser moves them, and they are saved with the model.

    Args:
        layout: the features that are read.
        num_labels: C.

    Attributes: `record` of the fit, which says how good the matrices are.
    """

    def __init__(self, layout: FeatureLayout, num_labels: int) -> None:
        super().__init__()
        self.layout = layout
        self.record: Mapping[str, Any] = {}
        self.constant: Tensor
        self.own: Tensor
        # NaN, so that nobody takes matrices that were never filled for a fit
        self.register_buffer("constant", torch.full((num_labels,), torch.nan))
        if layout.at == "position":
            self.register_buffer("own", torch.full((num_labels, 1), torch.nan))
        for depth, width, flow_width in zip(layout.depths, layout.widths, layout.flow_widths, strict=True):
            if width:
                self.register_buffer(f"depth_{depth}", torch.full((num_labels, width), torch.nan))
            if flow_width:
                self.register_buffer(f"write_{depth}", torch.full((num_labels, flow_width), torch.nan))

    @property
    def filled(self) -> bool:
        """Whether there are matrices in it, by a fit or from a file."""
        return self.constant.is_meta or bool(self.constant.isfinite().all())

    @property
    def reads_flow(self) -> bool:
        """Whether any depth's writes are read."""
        return any(self.layout.flow_widths)

    def matrices(self) -> list[Tensor]:
        """The equivalent matrices, (C, H) or (C, A) each, in the order of the features."""
        return [buffer for name, buffer in self.named_buffers() if name != "constant"]

    def label_sum(self, name: str) -> Tensor:
        """(width,) float32: the sum of one matrix over the labels, kept until the matrix is or may be another one.

        Changes in place through torch are noticed at once, those of its `.data` after a while.
        """
        matrix: Tensor = getattr(self, name)
        if matrix.is_inference():  # whose changes torch does not count
            return matrix.float().sum(0)
        sums, state = _sums.setdefault(self, {}), (matrix.data_ptr(), matrix._version)
        known = sums.get(name)
        if known is None or known.matrix() is not matrix or known.state != state or time.monotonic() > known.until:
            start = time.monotonic()
            total = matrix.float().sum(0)
            end = time.monotonic()
            patience = _PATIENCE * len(self.layout.parts)
            known = sums[name] = _LabelSum(ref(matrix), state, total, end + patience * (end - start))
        return known.total

    def fill(self, weights: Tensor) -> None:
        """Sets everything from (F, C), the constant first."""
        constant, *parts = weights.split(list(self.layout.parts))
        self.constant.copy_(constant[0])
        for matrix, part in zip(self.matrices(), parts, strict=True):
            matrix.copy_(part.T)

    def read(self, depth: int, state: Tensor) -> Tensor | None:
        """What one depth's states (B, T, H) say: (B, T, C) float32, `None` where that depth is not read."""
        matrix = getattr(self, f"depth_{depth}", None)
        if matrix is None:
            return None
        score = apply_matrix(matrix, state)
        return score + self.constant.float() if depth == self.layout.depths[0] and self.layout.at == "text" else score

    def flow_matrix(self, layer: int) -> Tensor | None:
        """What reads the writes of one layer, counted from 0: (C, A), `None` where they are not read."""
        return getattr(self, f"write_{layer + 1}", None)

    def combine(self, scores: Sequence[Tensor | None], flow_scores: Sequence[Tensor | None] = ()) -> Tensor:
        """The scores of `forward`, from what `read` gave for all depths and the write matrices for all layers.

        So neither states nor writes need be kept.
        """
        by_depth = []
        for depth, flow_width in zip(self.layout.depths, self.layout.flow_widths, strict=True):
            score = scores[depth]
            assert score is not None
            if flow_width:
                flow = flow_scores[depth - 1]
                assert flow is not None
                score = score + flow
            by_depth.append(score)
        return torch.stack(by_depth, dim=2)

    def combine_at(
        self, scores: Sequence[Tensor | None], flow_scores: Sequence[Tensor | None], start: Tensor, scored: Tensor
    ) -> Tensor:
        """The scores of every token for every place, (B, P, T, depths read, C) float32; constants are in the first.

        Args:
            scores: what `read` gave for all depths, (B, T, C) each.
            flow_scores: what the write matrices of all layers say of the flow into each place, (B, P, T, C) each.
            start: (B, P, T) float32.
            scored: (B, P, T) bool, false where there is no token or no place: zero.
        """
        by_depth: list[Tensor] = []
        rows = start[..., None]
        for depth, flow_width in zip(self.layout.depths, self.layout.flow_widths, strict=True):
            score = flow_scores[depth - 1] if flow_width else None
            if (states := scores[depth]) is not None:
                own = rows * states[:, None]
                score = own if score is None else score + own
            if not by_depth:
                ones = self.constant.float() + rows * self.own.float().squeeze(1)
                score = ones if score is None else score + ones
            by_depth.append(self.constant.new_zeros(*start.shape, len(self.constant)) if score is None else score)
        # depths apart in memory: to put them between tokens and labels would be the main cost of many places
        whole = torch.stack(by_depth).float().masked_fill_(~scored[..., None], 0.0)
        return whole.permute(1, 2, 3, 0, 4)

    def forward(self, states: Sequence[Tensor], flows: Sequence[Tensor] = ()) -> Tensor:
        """Scores by depth, which add up to phi.

        Args:
            states: those of all depths, (B, T, H) each.
            flows: those of all layers, (B, T, A) each; may be left out where none is read.

        Returns:
            (B, T, depths read, C) float32; the constant is in the first.
        """
        scores = [self.read(depth, state) for depth, state in enumerate(states)]
        return self.combine(scores, self.read_flow(flows))

    def read_flow(self, flows: Sequence[Tensor]) -> list[Tensor | None]:
        """What writes of all layers say that were kept, (B, T, A) each: (B, T, C) float32, `None` where not read."""
        matrices = [self.flow_matrix(layer) for layer in range(len(flows))]
        return [None if u is None else apply_matrix(u, flow) for u, flow in zip(matrices, flows, strict=True)]


class _LabelSum(NamedTuple):
    """The sum of a matrix over its labels, (width,), and what to know it by: another one may get its id and memory."""

    matrix: ref[Tensor]
    state: tuple[int, int]
    total: Tensor
    until: float


# beside the modules, so that copies of them, pickled ones and replicas begin without
_sums: WeakKeyDictionary[FittedReadout, dict[str, _LabelSum]] = WeakKeyDictionary()


def apply_matrix(matrix: Tensor, features: Tensor) -> Tensor:
    """(C, H) on (..., H): (..., C) float32, computed in the dtype of the matrix. ValueError where the widths differ."""
    if matrix.shape[-1] != features.shape[-1]:
        raise ValueError(f"fitted matrices for states of {matrix.shape[-1]} units got states of {features.shape[-1]}.")
    return nn.functional.linear(features.to(matrix.dtype), matrix).float()
