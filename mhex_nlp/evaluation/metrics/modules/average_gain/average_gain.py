# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.perturbation.average_gain`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.perturbation import average_gain


class AverageGain(evaluate.Metric):
    """Gain of the probability, in percent of what is left to gain, when only the top units stay."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Gain of the probability, in percent of what is left to gain, when only the top units stay.",
            citation="Zhang et al. 2023",
            inputs_description="predictions: K probabilities a text; references: of the full text.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.Value("float64"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"average_gain": float(average_gain(references, predictions).mean())}
