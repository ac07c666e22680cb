# SPDX-License-Identifier: Apache-2.0
"""Which tokens each token's attention sees, made for the rows that are looked at, never for all at once.

Axes: B texts, T tokens, N attention heads, R rows of the attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOWEST = torch.finfo(torch.float32).min


@dataclass(frozen=True, slots=True)
class VisibleTokens:
    """What hides tokens from each other in one layer.

    Args:
        mask: (B or 1, N or 1, T or 1, T), bool, true where a token (row) sees another (column), or what is added to the
            scores; `None` where the rest says it all.
        real: (B, T) bool, `None` for all; hides the others where there is no mask.
        causal: without a mask, tokens see themselves and earlier ones alone.
        window: without a mask, tokens see only those nearer than this.
        blind: (B or 1, N or 1, T or 1, 1) bool, rows from which the mask hides all: torch's attention adds up nothing
            there, where weights by `bias` are alike. `None` where every row sees something, or the device is no CPU.
    """

    mask: Tensor | None = None
    real: Tensor | None = None
    causal: bool = False
    window: int | None = None
    blind: Tensor | None = None

    @classmethod
    def of(
        cls, attention_mask: Any, real: Tensor | None, device: torch.device, causal: bool, window: int | None
    ) -> VisibleTokens:
        """From what the attention function was given; only a 4-D tensor says it all (none: flash, nothing to hide)."""
        real = None if real is None else real.to(device)
        if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 4:
            return cls(None, real, causal, window)
        # Elsewhere than on a CPU the answer would have to be waited for.
        looks = attention_mask.device.type == "cpu" and not torch.compiler.is_compiling()
        if looks and torch.equal(attention_mask, attention_mask[:, :, :1].expand_as(attention_mask)):
            attention_mask = attention_mask[:, :, :1]
        return cls(attention_mask, real, blind=_blind_rows(attention_mask))

    @property
    def alike(self) -> bool:
        """Whether all tokens of a text see the same."""
        return not self.causal and self.window is None if self.mask is None else self.mask.shape[2] == 1

    def bias(
        self, tokens: int, device: torch.device, texts: slice, rows: slice | Tensor, columns: slice = slice(None)
    ) -> Tensor | None:
        """What is added to scores, (B or 1, N or 1, R or 1, T) float32: 0 where seen, very negative where not.

        `None` where nothing is hidden.

        Args:
            tokens: T.
            device: of the scores.
            texts, columns: those that are wanted.
            rows: those that are wanted, or (B, R) int64, some of each text.
        """
        if self.mask is not None:
            mask = self.mask if len(self.mask) == 1 else self.mask[texts]
            mask = mask[..., columns]
            if isinstance(rows, slice):
                mask = mask if mask.shape[2] == 1 else mask[:, :, rows]
            elif mask.shape[2] > 1:
                index = rows[texts, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3])
                mask = mask.expand(len(index), -1, -1, -1).gather(2, index)
            return mask.float().clamp(min=LOWEST) if mask.dtype != torch.bool else _hidden(~mask)
        hidden = None
        if not self.alike:
            positions = torch.arange(tokens, device=device)
            queries = positions[None, rows] if isinstance(rows, slice) else rows[texts]
            apart = queries[..., None] - positions[columns]  # (B or 1, R, T), positive where the row comes after
            hidden = torch.zeros_like(apart, dtype=torch.bool)
            hidden = hidden | (apart < 0) if self.causal else hidden
            hidden = hidden if self.window is None else hidden | (apart.abs() >= self.window)
            hidden = hidden[:, None]
        if self.real is not None:
            padding = ~self.real[texts, None, None, columns]
            hidden = padding if hidden is None else hidden | padding
        return None if hidden is None else _hidden(hidden)


def _hidden(hidden: Tensor) -> Tensor:
    return torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device).masked_fill_(hidden, LOWEST)


def _blind_rows(mask: Tensor) -> Tensor | None:
    if mask.device.type != "cpu":
        return None
    blind = ~(mask if mask.dtype == torch.bool else mask > -torch.inf).any(-1, keepdim=True)
    looks = not torch.compiler.is_compiling() and not torch.jit.is_tracing()
    return None if looks and not bool(blind.any()) else blind
