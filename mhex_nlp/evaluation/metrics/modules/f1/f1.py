# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.classification.f1`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.classification import f1


class F1(evaluate.Metric):
    """The harmonic mean of precision and recall, averaged over classes."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="The harmonic mean of precision and recall, averaged over classes.",
            citation="",
            inputs_description='predictions, references: class ids; average: "macro", "weighted" or "binary".',
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(
        self, predictions: Any, references: Any, average: Any = "macro", positive: int = 1
    ) -> dict[str, float]:
        return {"f1": f1(predictions, references, average, positive)}
