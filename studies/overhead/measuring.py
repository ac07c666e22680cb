# SPDX-License-Identifier: Apache-2.0
"""Figures of the table: ratios of runs that take turns, memory, and what is left out with its reason."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from ..common import Run, ratio, timed_rounds
from .models import Settings

PLAIN = "plain"
MOST_ROUNDS, LEAST_ROUNDS = 60, 5
GIGABYTE = 10**9


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    Args:
        what: is measured.
        model: of which.
        value: the median, or `None` where it is left out.
        interval: 95 %, over rounds; `None` where there was one.
        rounds: that were run.
        target: what the value is to be at the most, or with `at_least` at the least; `None`: there is no target.
        unit: of the value, "" for a ratio.
        note: why there is no value, or what else is to be said.
    """

    what: str
    model: str
    value: float | None
    interval: tuple[float, float] | None = None
    rounds: int = 1
    target: float | None = None
    at_least: bool = False
    unit: str = ""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the value is on the right side of the target; `None` without one of the two."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Target:
    """A row to be: what it says, and what it is to reach."""

    what: str
    target: float | None = None


def compare(
    runs: Mapping[Any, Run], rows: Mapping[Any, Target], model: str, settings: Settings, rounds: int = 0
) -> list[Figure]:
    """The ratio of each run's seconds to those of the plain one; `rounds` of passes that are warm already."""
    rounds = rounds or (2 if settings.smoke else _rounds_within(runs, settings))
    seconds = timed_rounds(runs, dict.fromkeys(runs, rounds), warm_up=int(settings.smoke), device=settings.device)
    figures, plain = [], f"plain {1000 * float(np.median(seconds[PLAIN])):.1f} ms"
    for name, row in rows.items():
        compared = ratio(seconds[name], seconds[PLAIN])
        interval = tuple(compared["interval95"])
        figures.append(Figure(row.what, model, compared["ratio"], interval, rounds, row.target, note=plain))
    return figures


def _rounds_within(runs: Mapping[Any, Run], settings: Settings) -> int:
    """How many rounds fit into the seconds of a comparison; the first passes, which warm up, tell."""
    for _ in range(3):
        once = timed_rounds(runs, dict.fromkeys(runs, 1), warm_up=0, device=settings.device)
        seconds = sum(float(values[0]) for values in once.values())
        if seconds > 1:
            break
    return int(min(MOST_ROUNDS, max(LEAST_ROUNDS, settings.seconds / seconds)))


def peak_memory(run: Run, settings: Settings) -> int:
    """Bytes that one call holds at most beyond what was there before."""
    if not settings.smoke:
        gc.collect()  # models of earlier comparisons must not be freed meanwhile
    if torch.device(settings.device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text("utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]")
    return int(np.cumsum([size for _, size in changes]).max())


def memory_ratio(plain: int, heads: int, what: Target, model: str, *, extra: bool = False) -> Figure:
    """The memory of a pass to that of the plain one, both beyond the weights; `extra`: only what it takes more."""
    note = f"{plain / GIGABYTE:.3f} GB plain"
    value = (heads - plain * extra) / plain
    return Figure(what.what, model, round(value, 4), target=what.target, note=note)


def is_out_of_memory(error: BaseException) -> bool:
    """Of a CPU torch says so in a RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
