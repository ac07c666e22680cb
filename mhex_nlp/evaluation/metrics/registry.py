# SPDX-License-Identifier: Apache-2.0
"""The metrics that `load` hands out, a row for each; `evaluate_module.py` makes an `evaluate.Metric` of a row."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .classification import accuracy, f1
from .images import deletion_auc, insertion_auc, mask_iou, pointing_game, precision_at, region_energy, road
from .naopc import mean_naopc
from .perturbation import (
    aopc,
    average_drop,
    average_gain,
    comprehensiveness,
    increase_in_confidence,
    log_odds,
    soft_average_drop,
    sufficiency,
)
from .plausibility import RationaleAgreement, auprc, iou_f1, token_f1
from .ranking import rank_agreement


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: its function, whose docstring describes it, and the features of one text's or image's input.

    A feature is "float64", or "float64[]" for a list of it. Functions of `metrics.perturbation` take the full texts'
    probabilities first (`full_first`): these are the references. What follows the two inputs are keyword options.
    """

    function: Callable[..., Any]
    predictions: str
    references: str
    full_first: bool = False

    @property
    def description(self) -> str:
        """The function's docstring, with formula, source and errors."""
        return inspect.getdoc(self.function) or ""

    @property
    def inputs(self) -> str:
        """Which arguments of the function `predictions` and `references` are, and its options with their defaults."""
        first, second, *options = inspect.signature(self.function).parameters.values()
        predictions, references = (second, first) if self.full_first else (first, second)
        names = [f"predictions: {predictions.name}", f"references: {references.name}"]
        return "; ".join([*names, *(f"{option.name}={option.default!r}" for option in options)])

    def compute(self, name: str, predictions: Any, references: Any, **options: Any) -> dict[str, float]:
        """`name` and the mean over texts; for agreement with rationales macro F1, and micro F1 as `name`_micro."""
        inputs = (references, predictions) if self.full_first else (predictions, references)
        result = self.function(*inputs, **options)
        if isinstance(result, RationaleAgreement):
            return {name: result.macro.f1, f"{name}_micro": result.micro.f1}
        return {name: float(np.mean(result))}


METRICS: dict[str, MetricRow] = {
    "accuracy": MetricRow(accuracy, "int64", "int64"),
    "f1": MetricRow(f1, "int64", "int64"),
    "aopc": MetricRow(aopc, "float64[]", "float64", full_first=True),
    "comprehensiveness": MetricRow(comprehensiveness, "float64[]", "float64", full_first=True),
    "sufficiency": MetricRow(sufficiency, "float64[]", "float64", full_first=True),
    "log_odds": MetricRow(log_odds, "float64[]", "float64", full_first=True),
    "average_drop": MetricRow(average_drop, "float64[]", "float64", full_first=True),
    "increase_in_confidence": MetricRow(increase_in_confidence, "float64[]", "float64", full_first=True),
    "average_gain": MetricRow(average_gain, "float64[]", "float64", full_first=True),
    "soft_average_drop": MetricRow(soft_average_drop, "float64", "float64", full_first=True),
    "naopc": MetricRow(mean_naopc, "float64", "float64[]"),
    "rank_agreement": MetricRow(rank_agreement, "float64[]", "float64[]"),
    "auprc": MetricRow(auprc, "float64[]", "int64[]"),
    "token_f1": MetricRow(token_f1, "int64[]", "int64[]"),
    "iou_f1": MetricRow(iou_f1, "int64[][]", "int64[][]"),
    "mask_iou": MetricRow(mask_iou, "int64[][]", "int64[][]"),
    "region_energy": MetricRow(region_energy, "float64[][]", "int64[][]"),
    "pointing_game": MetricRow(pointing_game, "float64[][]", "int64[][]"),
    "precision_at": MetricRow(precision_at, "float64[][]", "int64[][]"),
    "deletion_auc": MetricRow(deletion_auc, "float64[]", "float64[]"),
    "insertion_auc": MetricRow(insertion_auc, "float64[]", "float64[]"),
    "road": MetricRow(road, "float64[]", "float64[]"),
}
