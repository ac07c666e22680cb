# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.perturbation.log_odds`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.perturbation import log_odds


class LogOdds(evaluate.Metric):
    """Log of the ratio of probabilities without and with the top units; lower is better."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Log of the ratio of probabilities without and with the top units; lower is better.",
            citation="Shrikumar et al. 2017",
            inputs_description="predictions: K probabilities a text; references: of the full text.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.Value("float64"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"log_odds": float(log_odds(references, predictions).mean())}
