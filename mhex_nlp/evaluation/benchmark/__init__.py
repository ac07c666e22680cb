# SPDX-License-Identifier: Apache-2.0
"""Explanations compared: MHEX and other methods on one model, one set of texts and one set of metrics."""

from .measures import OwnMeasure
from .methods import AttributionMethod, available_methods
from .results import EvaluationReport
from .run import evaluate_explanations
from .tables import write_evaluation

__all__ = [
    "AttributionMethod",
    "EvaluationReport",
    "OwnMeasure",
    "available_methods",
    "evaluate_explanations",
    "write_evaluation",
]
