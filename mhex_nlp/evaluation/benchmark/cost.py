# SPDX-License-Identifier: Apache-2.0
"""What an explanation costs: seconds, rows through the model, and peak memory."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from typing import Any

import psutil
import torch

_PAUSE = 0.005  # seconds between two looks at the memory


class Meter:
    """Measures what happens inside a `with`: `seconds`, `rows` that went through the model, `peak_bytes`.

    On CUDA the peak is what torch allocated above what it held before. On a CPU it is the process's resident memory
    above what it was before, looked at every 5 ms: memory that an allocator kept back from earlier work does not show,
    so it is handed back first where the C library can.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.seconds, self.rows, self.peak_bytes = 0.0, 0, 0
        self._cuda = model.device.type == "cuda"
        self._process = psutil.Process()

    def __enter__(self) -> Meter:
        gc.collect()
        self._hook = self.model.register_forward_pre_hook(self._count, with_kwargs=True)
        if self._cuda:
            torch.cuda.synchronize(self.model.device)
            torch.cuda.reset_peak_memory_stats(self.model.device)
            self._before = torch.cuda.memory_allocated(self.model.device)
        else:
            _give_back_memory()
            self._before = self._highest = self._process.memory_info().rss
            self._over = threading.Event()
            self._watch = threading.Thread(target=self._look, daemon=True)
            self._watch.start()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        if self._cuda:
            torch.cuda.synchronize(self.model.device)
        self.seconds = time.perf_counter() - self._start
        self._hook.remove()
        if self._cuda:
            highest = torch.cuda.max_memory_allocated(self.model.device)
        else:
            self._over.set()
            self._watch.join()
            highest = max(self._highest, self._process.memory_info().rss)
        self.peak_bytes = max(0, highest - self._before)

    def _look(self) -> None:
        while not self._over.wait(_PAUSE):
            self._highest = max(self._highest, self._process.memory_info().rss)

    def _count(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = [kwargs[name] for name in ("input_ids", "pixel_values") if name in kwargs]
        inputs = next(iter([*named, *args]), None)
        if isinstance(inputs, torch.Tensor):
            self.rows += len(inputs)


def _give_back_memory() -> None:
    """glibc's malloc_trim; other C libraries have none, and then nothing happens."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return
