# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.plausibility.iou_f1`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.plausibility import iou_f1


class IouF1(evaluate.Metric):
    """Span-level F1: a predicted span is right if its best IoU reaches the threshold."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Span-level F1: a predicted span is right if its best IoU reaches the threshold.",
            citation="DeYoung et al. 2020, arXiv 1911.03429",
            inputs_description="predictions, references: [start, end) token spans of each text; threshold: least IoU.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.List(datasets.Value("int64"))),
                    "references": datasets.List(datasets.List(datasets.Value("int64"))),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, threshold: float = 0.5) -> dict[str, float]:
        found = iou_f1(predictions, references, threshold)
        return {"iou_f1": found.macro.f1, "iou_f1_micro": found.micro.f1}
