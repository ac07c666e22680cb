# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.naopc.normalised_aopc`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.naopc import mean_naopc


class Naopc(evaluate.Metric):
    """AOPC between the worst and the best order of removal of its own text, 0 to 1; higher is better."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="AOPC between the worst and the best order of removal of its own text; higher is better.",
            citation="Edin et al. 2024, arXiv 2408.08137",
            inputs_description="predictions: a text's AOPC; references: its (lower, upper) bounds; exact.",
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.List(datasets.Value("float64")),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, exact: bool = True) -> dict[str, float]:
        return {"naopc": mean_naopc(predictions, references, exact)}
