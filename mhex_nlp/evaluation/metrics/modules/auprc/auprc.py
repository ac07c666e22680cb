# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.plausibility.auprc`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.plausibility import auprc


class Auprc(evaluate.Metric):
    """Area under the precision-recall curve of scores against human rationales, a text."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Area under the precision-recall curve of scores against human rationales, a text.",
            citation="DeYoung et al. 2020, arXiv 1911.03429",
            inputs_description="predictions: scores of each text's tokens; references: 0 or 1 for each token.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("int64")),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"auprc": float(auprc(predictions, references).mean())}
