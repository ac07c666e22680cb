# SPDX-License-Identifier: Apache-2.0
"""The MHEX head of one block of an image classifier, as the paper has it, and the grid of all depths. Pure torch.

Axes: B images, N cells (places of a feature map, or patches), D channels, C labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .head import MhexHead, Reading

_RMS_EPS = 1e-6
_LEAST_SIDE = 7  # cells: the coarsest depth that has as many a side gives the grid, else the finest


class ImageHead(MhexHead):
    """Reads signed class evidence off every cell, and says how much of what a block adds passes its gate.

    With `z = x + x_global` of a block's cells:

        gate      g = 2 sigmoid(W1 mean(z)), a factor for each channel     paper: sigmoid(W1 GAP(x + x_global))
        evidence  e[n, c] = W_equiv[c] . relu(z[n]),  W_equiv = W2 W1      paper, the class activation map

    As in texts the factor 2 makes a fresh gate 1 exactly. Special tokens (class, distillation, registers) are no cells:
    they are gated with the rest, but neither pooled nor read (ours).
    """

    def forward(  # type: ignore[override]
        self, z: Tensor, *, reading: Reading = "tokens"
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gate, and what the head says.

        Args:
            z: (B, N, D), cells alone; stays as it is.
            reading: "tokens", evidence of each cell; "text", the logits alone; or nothing.

        Returns:
            the gate (B, 1, D), `None` without one; and in float32, by `reading`, evidence (B, N, C) and the bias (C,),
            logits (B, C) and `None`, or twice `None`.
        """
        if self.pre_norm:
            z = z.float()
            z = (z * torch.rsqrt(z.square().mean(-1, keepdim=True) + _RMS_EPS)).to(self.w1.dtype)
        gate = None
        if self.gate:
            pooled = z.mean(1, keepdim=True, dtype=torch.float32)
            gate = self.activation(F.linear(pooled.to(self.w1.dtype), self.w1))
        if reading is None:
            return gate, None, None
        positive = z.relu()
        if reading == "tokens":
            evidence = F.linear(positive.to(self.w1.dtype), self.equivalent_matrix).float()
            return gate, evidence, self.bias.float().clone()
        mean = positive.mean(1, dtype=torch.float32).to(self.w1.dtype)
        return gate, F.linear(F.linear(mean, self.w1).float(), self.w2.float(), self.bias.float()), None


def common_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Rows and columns of the grid that all depths are brought to: the coarsest with 7 a side, else the finest."""
    ordered = sorted(set(sizes), key=min)
    return next((size for size in ordered if min(size) >= _LEAST_SIDE), ordered[-1])


def resample_sum(scores: Tensor, rows: int, cols: int) -> Tensor:
    """Scores brought to another grid by area, so that their sum stays what it was: no map may lose or gain evidence.

    Each cell is spread evenly over its area of the image, and a new cell collects what lies in its own.

    Args:
        scores: (B, h, w, C).
        rows, cols: of the new grid.

    Returns:
        (B, rows, cols, C).
    """
    if scores.shape[1:3] == (rows, cols):
        return scores
    down, across = _overlaps(scores, scores.shape[1], rows), _overlaps(scores, scores.shape[2], cols)
    with torch.autocast(scores.device.type, enabled=False):  # sums in half precision would not stay what they were
        return torch.einsum("rh,bhwc,qw->brqc", down, scores, across)


def _overlaps(like: Tensor, size: int, target: int) -> Tensor:
    """(target, size) in `like`'s dtype: how much of each of `size` parts of a line lies in each of `target`.

    Columns sum to 1.
    """
    edges, borders = (torch.arange(n + 1, device=like.device) / n for n in (size, target))
    overlap = torch.minimum(borders[1:, None], edges[1:]) - torch.maximum(borders[:-1, None], edges[:-1])
    overlap = overlap.clamp(min=0)
    return (overlap / overlap.sum(0)).to(like.dtype)
