# SPDX-License-Identifier: Apache-2.0
"""The `evaluate` module over `mhex_nlp.evaluation.metrics`: one configuration name a metric.

`evaluate` copies this file into its cache and imports it from there, so it names the package in full, and reads its
imports as text, so each stands on a line of its own.
"""

from typing import Any

import datasets
import evaluate

from mhex_nlp.evaluation.metrics.registry import METRICS


class MhexMetric(evaluate.Metric):
    """The metric that `config_name` names, a key of `METRICS`."""

    def _info(self) -> Any:
        if self.config_name not in METRICS:
            raise ValueError(f"config_name must be one of {', '.join(METRICS)}, got {self.config_name!r}.")
        row = METRICS[self.config_name]
        return evaluate.MetricInfo(
            description=row.description,
            citation="",
            inputs_description=row.inputs,
            features=datasets.Features(
                {"predictions": _feature(row.predictions), "references": _feature(row.references)}
            ),
        )

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, float]:
        return METRICS[self.config_name].compute(self.config_name, predictions, references, **options)


def _feature(kind: str) -> Any:
    return datasets.List(_feature(kind.removesuffix("[]"))) if kind.endswith("[]") else datasets.Value(kind)
