# SPDX-License-Identifier: Apache-2.0
"""Whole datasets: attribution columns for `datasets`, resumable jobs from file to file, texts shown on a terminal.

Names only, handed on lazily (PEP 562): the command line reads its options from here before anything heavy is wanted.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {"highlight_dataset": "dataset", "open_rows": "rows", "rows_of": "rows", "run_job": "job"}
__all__ = [*sorted(_HOMES)]

if TYPE_CHECKING:
    from .dataset import highlight_dataset as highlight_dataset
    from .job import run_job as run_job
    from .rows import open_rows as open_rows
    from .rows import rows_of as rows_of


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
