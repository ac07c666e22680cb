# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.perturbation.soft_average_drop`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.perturbation import soft_average_drop


class SoftAverageDrop(evaluate.Metric):
    """Drop of the probability, in percent of it, under a soft mask of the scores; lower is better."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Drop of the probability, in percent of it, under a soft mask of the scores; lower is better.",
            citation="Our reading of the Soft Average Drop of Sun and Liò 2025, arXiv 2501.01311",
            inputs_description="predictions: a text's probability under its soft mask; references: of the full text.",
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("float64"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"soft_average_drop": float(soft_average_drop(references, predictions).mean())}
