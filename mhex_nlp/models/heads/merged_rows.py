# SPDX-License-Identifier: Apache-2.0
"""Rows of attention of neighbouring tokens, merged into one: what a weighted sum of all rows needs of a long text.

Of sum_s R[s] a[s, t], the rows s of a run S of neighbours are replaced by one: that of their mean query, weighted by R,
with the weight of all, sum_{s in S} R[s]. A row is a softmax of scores z_s[t] = q_s . k_t; as a function of them it
changes, summed over t, by no more than the largest change of a score. The sum over t of what merging changes is thus
no more than sum_s R[s] min(2, max_t |z_s[t] - mean z[t]|): nothing where neighbours ask for the same.

Axes: B texts, T tokens, N attention heads, D units each, G runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .visible_tokens import LOWEST, VisibleTokens

MOST_ROWS = 128  # of one text, in one layer
_COLUMNS = 64  # of a mask, looked at in one go
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class MergedRows:
    """The runs of neighbours of each text, weighted by R.

    Args:
        rollout: R, (B, T) float32, zero on padding.
        starts: (B, G) int64, the first token of each run, as `run_starts` makes them.
    """

    rollout: Tensor
    starts: Tensor

    @property
    def mass(self) -> Tensor:
        """(B, G) float32: the sum of R over each run."""
        return _sums(self.rollout[..., None], torch.ones_like(self.rollout), self.starts)[..., 0]

    def means(self, values: Tensor) -> Tensor:
        """(B, G, A) float32: means over each run of (B, T, A), weighted by R; zero where a run has no weight."""
        return _sums(values, self.rollout, self.starts).float() / self.mass.clamp(min=_TINY)[..., None]

    def bias(self, visible: VisibleTokens, device: torch.device) -> Tensor | None:
        """What is added to the scores of merged rows: the logarithm of the share of a run that sees a token."""
        batch, tokens = self.rollout.shape
        if visible.alike:
            return visible.bias(tokens, device, slice(None), slice(None))
        shares, columns = [], [slice(None)]
        if not torch.compiler.is_compiling():  # a loop would tie a compiled graph to this number of tokens
            columns = [slice(start, start + _COLUMNS) for start in range(0, tokens, _COLUMNS)]
        for some in columns:
            bias = visible.bias(tokens, device, slice(None), slice(None), some)
            assert bias is not None
            seen = bias.exp().expand(batch, -1, -1, -1).transpose(1, 2)  # (B, T, N or 1, columns)
            shares.append(self.means(seen.flatten(2)).unflatten(2, seen.shape[2:]).transpose(1, 2))
        return torch.cat(shares, dim=-1).log().clamp(min=LOWEST)


def run_starts(real: Tensor | None, rollout: Tensor) -> Tensor:
    """(B, G) int64, the first token of each run: `MOST_ROWS` of them, or one a token in shorter texts.

    Runs are as even as can be, from the first real token to the last, whatever a text is padded with, and whichever
    batch it is in.

    Args:
        real: (B, T) bool, `None` where every token is.
        rollout: (B, T), for its shape and device.
    """
    (batch, tokens), device = rollout.shape, rollout.device
    runs = torch.arange(MOST_ROWS, device=device)
    if real is None:
        first, length = (runs.new_full((batch, 1), size) for size in (0, tokens))
    else:
        real = real.to(device).int()
        first = real.argmax(1, keepdim=True)
        length = tokens - real.flip(1).argmax(1, keepdim=True) - first
    starts = torch.where(length > MOST_ROWS, -(-runs * length // MOST_ROWS), torch.minimum(runs, length))
    # what lies before the text, of no weight, is in its first run
    return torch.where(runs == 0, 0, first + starts).clamp(max=tokens)


def _sums(values: Tensor, weights: Tensor, starts: Tensor) -> Tensor:
    """(B, G, A): weighted sums over runs of (B, T, A), with weights (B, T) and the first token of each run (B, G)."""
    batch, tokens, width = values.shape
    index = torch.arange(batch * tokens, device=values.device)
    offsets = starts + tokens * torch.arange(batch, device=values.device)[:, None]
    flat = values.reshape(batch * tokens, width)
    # the kernel that sums runs of rows without a copy of them
    sums = nn.functional.embedding_bag(
        index, flat, offsets.flatten(), mode="sum", per_sample_weights=weights.flatten().to(flat.dtype)
    )
    return sums.view(batch, -1, width)
