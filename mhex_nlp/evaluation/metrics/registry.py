# SPDX-License-Identifier: Apache-2.0
"""The metrics that `load` hands out, a row for each; `evaluate_module.py` makes an `evaluate.Metric` of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .classification import accuracy, f1
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

ERASER = "DeYoung et al. 2020, arXiv 1911.03429"
GRAD_CAM = "Chattopadhay et al. 2018"
WITH_DIVISOR = 'predictions: K probabilities a text; references: of the full text; divisor: "paper" or "bins".'


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: its function and what `evaluate` shows of it.

    `predictions` and `references` are the features of one text: "float64", or "float64[]" for a list of it. `inputs`
    says what they hold and names the options that `function` takes by keyword.
    """

    function: Callable[..., Any]
    predictions: str
    references: str
    description: str
    inputs: str
    citation: str = ""

    def compute(self, name: str, predictions: Any, references: Any, **options: Any) -> dict[str, float]:
        """`name` and the mean over texts; for agreement with rationales macro F1, and micro F1 as `name`_micro."""
        result = self.function(predictions, references, **options)
        if isinstance(result, RationaleAgreement):
            return {name: result.macro.f1, f"{name}_micro": result.micro.f1}
        return {name: float(np.mean(result))}


def _perturbed(
    function: Callable[..., Any],
    description: str,
    citation: str,
    inputs: str = "predictions: K probabilities a text; references: of the full text.",
    predictions: str = "float64[]",
) -> MetricRow:
    """A row over a function of `metrics.perturbation`, which takes the full texts' probabilities first."""

    def changed_first(changed: Any, full: Any, **options: Any) -> Any:
        return function(full, changed, **options)

    return MetricRow(changed_first, predictions, "float64", description, inputs, citation)


METRICS: dict[str, MetricRow] = {
    "accuracy": MetricRow(
        accuracy,
        "int64",
        "int64",
        "The share of predicted class ids that agree with the references.",
        "predictions, references: class ids.",
    ),
    "f1": MetricRow(
        f1,
        "int64",
        "int64",
        "The harmonic mean of precision and recall, averaged over classes.",
        'predictions, references: class ids; average: "macro", "weighted" or "binary"; positive: its class id.',
    ),
    "aopc": _perturbed(aopc, "Area over the perturbation curve; higher is better.", "Samek et al. 2017", WITH_DIVISOR),
    "comprehensiveness": _perturbed(
        comprehensiveness,
        "How far the probability falls without the top units; higher is better.",
        ERASER,
        WITH_DIVISOR,
    ),
    "sufficiency": _perturbed(
        sufficiency,
        "How far the probability falls when the top units stand alone; lower is better.",
        ERASER,
        WITH_DIVISOR,
    ),
    "log_odds": _perturbed(
        log_odds,
        "Log of the ratio of probabilities without and with the top units; lower is better.",
        "Shrikumar et al. 2017",
    ),
    "average_drop": _perturbed(
        average_drop,
        "Drop of the probability, in percent of it, when only the top units stay; lower is better.",
        GRAD_CAM,
    ),
    "increase_in_confidence": _perturbed(
        increase_in_confidence, "Percentage of texts whose probability rises when only the top units stay.", GRAD_CAM
    ),
    "average_gain": _perturbed(
        average_gain,
        "Gain of the probability, in percent of what is left to gain, when only the top units stay.",
        "Zhang et al. 2023",
    ),
    "soft_average_drop": _perturbed(
        soft_average_drop,
        "Drop of the probability, in percent of it, under a soft mask of the scores; lower is better.",
        "Our reading of the Soft Average Drop of Sun and Liò 2025, arXiv 2501.01311",
        "predictions: a text's probability under its soft mask; references: of the full text.",
        "float64",
    ),
    "naopc": MetricRow(
        mean_naopc,
        "float64",
        "float64[]",
        "AOPC between the worst and the best order of removal of its own text, 0 to 1; higher is better.",
        "predictions: a text's AOPC; references: its (lower, upper) bounds; exact: the bounds hold for all orders.",
        "Edin et al. 2024, arXiv 2408.08137",
    ),
    "rank_agreement": MetricRow(
        rank_agreement,
        "float64[]",
        "float64[]",
        "How alike scores and reference scores order the units of a text, averaged over texts.",
        'predictions, references: n scores a text; correlation: "spearman" or "kendall".',
        "Jain and Wallace 2019",
    ),
    "auprc": MetricRow(
        auprc,
        "float64[]",
        "int64[]",
        "Area under the precision-recall curve of scores against human rationales, a text.",
        "predictions: scores of each text's tokens; references: 0 or 1 for each token.",
        ERASER,
    ),
    "token_f1": MetricRow(
        token_f1,
        "int64[]",
        "int64[]",
        "Token-level F1 of hard rationales against human ones.",
        "predictions, references: 0 or 1 for each token of a text.",
        ERASER,
    ),
    "iou_f1": MetricRow(
        iou_f1,
        "int64[][]",
        "int64[][]",
        "Span-level F1: a predicted span is right if its best IoU reaches the threshold.",
        "predictions, references: [start, end) token spans of each text; threshold: least IoU.",
        ERASER,
    ),
}
