# SPDX-License-Identifier: Apache-2.0
"""Memory that a thread keeps from one forward pass to the next, for what lives as long as the pass.

Allocators give memory of that size back to the system when a pass ends, and their heap with it what lies above: the
next pass would meet it page by page, in the model's own layers as well.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

_MOST = 2**25  # numbers that a thread keeps: 128 MB

_thread = threading.local()


class Workspace:
    """Float32 memory on the CPU for the tensors of one forward pass; more than it holds is allocated as ever.

    `of_thread` takes it from the thread and `give_back` returns it, as large as the pass would have had it; between the
    two no other pass has it, and one that never gives it back leaves the thread without.
    """

    def __init__(self) -> None:
        self.memory = torch.empty(0)
        self.used = 0

    @classmethod
    def of_thread(cls) -> Workspace:
        """The thread's own, or a new one."""
        workspace: Workspace | None = getattr(_thread, "workspace", None)
        _thread.workspace = None
        return cls() if workspace is None else workspace

    def empty(self, shape: Sequence[int]) -> Tensor:
        """A tensor of this shape, good until `give_back`."""
        start, size = self.used, math.prod(shape)
        self.used = start + size
        if self.used > len(self.memory):
            return torch.empty(*shape)
        return self.memory[start : self.used].view(*shape)

    def give_back(self) -> None:
        """Ends the use of all tensors; the thread's next pass gets their memory."""
        wanted, self.used = self.used, 0
        if len(self.memory) < wanted <= _MOST:
            with torch.inference_mode(False):  # or no pass outside of it could write there
                self.memory = torch.empty(wanted)
        _thread.workspace = self
