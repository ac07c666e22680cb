# SPDX-License-Identifier: Apache-2.0
"""Queries and keys of long texts in 16 bits, from their layer's turn until the rollout, which goes from the last down.

With what matrices read off the values, they are all that following attention adds to the memory of a pass. Half
precision rounds by 2^-11 of a value, bfloat16 by 2^-8; what half precision lacks in range a scale makes up for. In
float32 again they are read as before: merging the rows of neighbours, which the same texts are subject to, changes
scores tens of times more than the rounding does.

Axes: B texts, T tokens, N attention heads, D units each, S of the texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .merged_rows import MOST_ROWS

_LARGEST = 2.0**15  # half precision ends at 65,504


@dataclass(frozen=True, slots=True)
class HalfStored:
    """A float32 tensor (B, N, T, D) in half precision, but for some texts.

    Args:
        half: (B, N, T, D) float16, divided by `scale`.
        scale: a number, or () float32 where one may not look; `None`, which is 1, where nothing is out of range.
        short: (S,) int64, the texts that are kept as they are; `None` for none.
        exact: (S, N, T, D) float32, those texts.
    """

    half: Tensor
    scale: Tensor | float | None
    short: Tensor | None = None
    exact: Tensor | None = None

    @classmethod
    def of(cls, values: Tensor, short: Tensor | None = None) -> HalfStored:
        """Of (B, N, T, D) float32; NaN and infinity stay what they are, or make everything NaN."""
        exact = None if short is None else values[short]
        largest = torch.maximum(values.detach().amax(), -values.detach().amin())
        scale: Tensor | float = (largest / _LARGEST).clamp(min=1)
        if may_look(values):
            scale = float(scale)
            if scale == 1:  # as almost always: each pass over the values counts
                return cls(values.half(), None, short, exact)
        return cls((values / scale).half(), scale, short, exact)

    def restored(self) -> Tensor:
        """(B, N, T, D) float32."""
        values = self.half.float()
        if self.scale is not None:
            values = values.mul_(self.scale)  # a second tensor of this size would take most of the time
        if self.short is None or self.exact is None:
            return values
        return values.index_copy_(0, self.short, self.exact)


def may_look(values: Tensor) -> bool:
    """Whether Python may ask for a value: elsewhere than on a CPU the answer would have to be waited for."""
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


def short_texts(real: Tensor | None) -> Tensor | None:
    """(S,) int64, the texts of no more than `MOST_ROWS` tokens in a batch of longer ones; `None` where there is none.

    Looked for where one `may_look`.

    Args:
        real: (B, T) bool, `None` where every token is.
    """
    if real is None or not may_look(real):
        return None
    short = (real.sum(1) <= MOST_ROWS).nonzero()[:, 0]
    return short if len(short) else None
