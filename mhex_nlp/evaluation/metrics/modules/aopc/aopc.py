# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.perturbation.aopc`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.perturbation import aopc


class Aopc(evaluate.Metric):
    """Area over the perturbation curve; higher is better."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Area over the perturbation curve; higher is better.",
            citation="Samek et al. 2017",
            inputs_description="predictions: K probabilities a text; references: the full text's; divisor.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.Value("float64"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, divisor: Any = "paper") -> dict[str, float]:
        return {"aopc": float(aopc(references, predictions, divisor).mean())}
