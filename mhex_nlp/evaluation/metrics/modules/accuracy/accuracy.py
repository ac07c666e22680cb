# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.classification.accuracy`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.classification import accuracy


class Accuracy(evaluate.Metric):
    """The share of predicted class ids that agree with the references."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="The share of predicted class ids that agree with the references.",
            citation="",
            inputs_description="predictions, references: class ids.",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": accuracy(predictions, references)}
