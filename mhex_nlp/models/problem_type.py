# SPDX-License-Identifier: Apache-2.0
"""What the labels of a classifier of texts are, by its config. Pure Python."""

from __future__ import annotations

from typing import Any, Literal

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]


def problem_type(config: Any, labels: Any = None) -> ProblemType:
    """`config.problem_type`, else what transformers makes of `num_labels` and the labels' dtype.

    Args:
        config: the model's, or what has its `problem_type` and `num_labels`.
        labels: a tensor of labels, where there is one.
    """
    if config.problem_type is not None:
        chosen: ProblemType = config.problem_type
        return chosen
    if config.num_labels == 1:
        return "regression"
    if labels is not None and labels.is_floating_point():
        return "multi_label_classification"
    return "single_label_classification"
