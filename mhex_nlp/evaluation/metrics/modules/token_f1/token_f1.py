# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.plausibility.token_f1`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.plausibility import token_f1


class TokenF1(evaluate.Metric):
    """Token-level F1 of hard rationales against human ones."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Token-level F1 of hard rationales against human ones.",
            citation="DeYoung et al. 2020, arXiv 1911.03429",
            inputs_description="predictions, references: 0 or 1 for each token of a text.",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("int64")),
                    "references": datasets.List(datasets.Value("int64")),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        found = token_f1(predictions, references)
        return {"token_f1": found.macro.f1, "token_f1_micro": found.micro.f1}
