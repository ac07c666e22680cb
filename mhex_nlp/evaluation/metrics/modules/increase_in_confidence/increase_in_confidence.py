# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.perturbation.increase_in_confidence`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.perturbation import increase_in_confidence


class IncreaseInConfidence(evaluate.Metric):
    """Percentage of texts whose probability rises when only the top units stay."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Percentage of texts whose probability rises when only the top units stay.",
            citation="Chattopadhay et al. 2018",
            inputs_description="predictions: K probabilities a text; references: of the full text.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.Value("float64"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"increase_in_confidence": float(increase_in_confidence(references, predictions).mean())}
