# SPDX-License-Identifier: Apache-2.0
"""`evaluate` module over `mhex_nlp.evaluation.metrics.ranking.rank_agreement`."""

# evaluate reads these lines as text: one import a line
from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.ranking import rank_agreement


class RankAgreement(evaluate.Metric):
    """How alike scores and reference scores order the units of a text, averaged over texts."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="How alike scores and reference scores order the units of a text, averaged over texts.",
            citation="Jain and Wallace 2019",
            inputs_description='predictions, references: n scores a text; correlation: "spearman" or "kendall".',
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("float64")),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, correlation: Any = "spearman") -> dict[str, float]:
        return {"rank_agreement": float(rank_agreement(predictions, references, correlation).mean())}
