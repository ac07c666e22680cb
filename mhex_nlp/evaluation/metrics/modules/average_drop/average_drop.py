# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.perturbation.average_drop`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.perturbation import average_drop


class AverageDrop(evaluate.Metric):
    """Drop of the probability, in percent of it, when only the top units stay; lower is better."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Drop of the probability, in percent of it, when only the top units stay; lower is better.",
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
        return {"average_drop": float(average_drop(references, predictions).mean())}
