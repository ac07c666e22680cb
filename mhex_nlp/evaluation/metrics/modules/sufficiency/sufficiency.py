# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.perturbation.sufficiency`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.perturbation import sufficiency


class Sufficiency(evaluate.Metric):
    """How far the probability falls when the top units stand alone; lower is better."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="How far the probability falls when the top units stand alone; lower is better.",
            citation="DeYoung et al. 2020, arXiv 1911.03429",
            inputs_description="predictions: K probabilities a text; references: the full text's; divisor.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.Value("float64"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, divisor: Any = "bins") -> dict[str, float]:
        return {"sufficiency": float(sufficiency(references, predictions, divisor).mean())}
