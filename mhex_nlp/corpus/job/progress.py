# SPDX-License-Identifier: Apache-2.0
"""How far a job is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_PAUSE = 10.0  # seconds between two plain lines


class JobProgress:
    """Texts a second and time left, on stderr; of this process, which does a share like any of `processes`; `noun` is
    what it calls them.
    """

    def __init__(self, shown: bool = True, processes: int = 1, noun: str = "texts") -> None:
        self._processes, self._shown, self._noun = processes, shown, noun
        self._texts, self._start, self._last_line = 0, time.perf_counter(), time.perf_counter()
        self._first_share: float | None = None
        self._bar: Progress | None = None
        if shown and sys.stderr.isatty():
            columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
            self._bar = Progress(TextColumn("Explaining"), *columns, console=Console(stderr=True), transient=True)

    def __enter__(self) -> JobProgress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0, speed="")
        elif self._shown:
            print(f"explaining {self._noun}; figures follow part by part", file=sys.stderr, flush=True)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, texts: int, share: float | None) -> None:
        """Notes that so many more texts are explained, and which share of the input was read (0 to 1)."""
        self._texts += texts
        now = time.perf_counter()
        speed = self._texts * self._processes / max(now - self._start, 1e-9)
        shown = f"{self._texts * self._processes:,} {self._noun}, {speed:,.0f} {self._noun}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=share or 0.0, speed=shown)
        elif self._shown and now - self._last_line >= _PAUSE:
            self._last_line = now
            print(f"{shown}{self._left(now, share)}", file=sys.stderr, flush=True)

    def _left(self, now: float, share: float | None) -> str:
        """What a rerun skipped was read in no time, so time left counts from the first share that was seen."""
        if share is None:
            return ""
        if self._first_share is None:
            self._first_share, self._start_of_share = share, now
            return ""
        gained = share - self._first_share
        if gained <= 0:
            return ""
        seconds = (now - self._start_of_share) / gained * (1 - share)
        return f", {seconds / 60:,.0f} min left" if seconds >= 120 else f", {seconds:,.0f} s left"
