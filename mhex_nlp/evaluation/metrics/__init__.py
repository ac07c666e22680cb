# SPDX-License-Identifier: Apache-2.0
"""Metrics: pure functions, and one `evaluate` module over them that loads without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .registry import METRICS as METRICS


def load(name: str, **options: Any) -> Any:
    """The packaged `evaluate.Metric` called `name`, a key of `METRICS`; `options` go to `evaluate.load`.

    Raises:
        ValueError: no such metric; the sentence lists those there are.
    """
    if name not in METRICS:
        raise ValueError(f"name must be one of {', '.join(METRICS)}, got {name!r}.")
    import evaluate  # here: it takes seconds to import

    return evaluate.load(str(Path(__file__).with_name("evaluate_module.py")), config_name=name, **options)
