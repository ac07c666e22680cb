# SPDX-License-Identifier: Apache-2.0
"""Whole datasets: attribution columns for `datasets`, resumable jobs from file to file, pages of many explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

_HOMES = {
    "highlight_dataset": "dataset",
    "open_rows": "readers.opening",
    "rows_of": "readers.opening",
    "run_job": "job.job",
}
__all__ = [*sorted(_HOMES)]

if TYPE_CHECKING:
    from .dataset import highlight_dataset as highlight_dataset
    from .job.job import run_job as run_job
    from .readers.opening import open_rows as open_rows
    from .readers.opening import rows_of as rows_of

__getattr__ = lazy_names(__name__, _HOMES)
