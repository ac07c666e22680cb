# SPDX-License-Identifier: Apache-2.0
"""Metrics: pure functions, and thin `evaluate` modules over them that load without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

METRICS = (
    "accuracy",
    "f1",
    "aopc",
    "comprehensiveness",
    "sufficiency",
    "log_odds",
    "average_drop",
    "increase_in_confidence",
    "average_gain",
    "soft_average_drop",
    "naopc",
    "rank_agreement",
    "auprc",
    "token_f1",
    "iou_f1",
)


def load(name: str, **options: Any) -> Any:
    """The packaged `evaluate.Metric` called `name`; `options` go to `evaluate.load`.

    Raises:
        ValueError: no such metric; the sentence lists those there are.
    """
    if name not in METRICS:
        raise ValueError(f"name must be one of {', '.join(METRICS)}, got {name!r}.")
    import evaluate  # here: it takes seconds to import

    return evaluate.load(str(Path(__file__).parent / "modules" / name / f"{name}.py"), **options)
