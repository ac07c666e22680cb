# SPDX-License-Identifier: Apache-2.0
"""Memory that is kept from one forward pass to the next, for what lives as long as the pass.

Allocators give memory of that size back to the system when a pass ends, and their heap with it what lies above: the
next pass would meet it page by page, in the model's own layers as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MOST = 2**25  # numbers that are kept in the whole process, whatever threads there are: 128 MB

_spare: list[Workspace] = []  # whose methods that are used here no other thread can interrupt


class Workspace:
    """Float32 memory on the CPU for the tensors of one forward pass; more than it holds is allocated as ever.

    `spare` takes one that no pass has, `give_back` returns it, as large as its pass would have had it. One that never
    comes back is freed with its tensors.
    """

    def __init__(self) -> None:
        self.memory = _empty(0)
        self.used = 0

    @classmethod
    def spare(cls) -> Workspace:
        """The one that was given back last, or a new one."""
        try:
            return _spare.pop()
        except IndexError:
            return cls()

    def empty(self, shape: Sequence[int]) -> Tensor:
        """A tensor of this shape, good until `give_back`."""
        start, size = self.used, math.prod(shape)
        self.used = start + size
        if self.used > len(self.memory):
            return _empty(*shape)
        return self.memory[start : self.used].view(*shape)

    def give_back(self) -> None:
        """Ends the use of all tensors, whose memory the next pass gets."""
        wanted, self.used = self.used, 0
        left = _MOST - sum(len(other.memory) for other in _spare.copy())
        if len(self.memory) < wanted <= left:
            with torch.inference_mode(False):  # or no pass outside of it could write there
                self.memory = _empty(wanted)
        if len(self.memory) <= left:
            _spare.append(self)


def _empty(*shape: int) -> Tensor:
    """Whatever dtype and device torch's defaults are, now or when another pass gets it."""
    return torch.empty(*shape, dtype=torch.float32, device="cpu")
