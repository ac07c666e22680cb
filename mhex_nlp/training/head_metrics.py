# SPDX-License-Identifier: Apache-2.0
"""How well each head predicts by itself.

Axes: B texts, L depths, C labels.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from transformers import PretrainedConfig

from ..models.tasks import sequence_classification
from ..models.tasks.sequence_classification import IGNORE_INDEX, problem_type


def score_name(config: PretrainedConfig, task: ModuleType = sequence_classification) -> str:
    """What `head_scores` gives: "mse" for regression, else "accuracy"."""
    return "accuracy" if hasattr(task, "choices") or problem_type(config) != "regression" else "mse"


def head_scores(
    head_logits: Tensor, labels: Tensor, config: PretrainedConfig, task: ModuleType = sequence_classification
) -> tuple[Tensor, Tensor]:
    """Each head as a predictor: accuracy, or the mean squared error in regression.

    Args:
        head_logits: (B, L, C), or (B, T, L, C) where labels are read at positions.
        labels: as the model takes them; -100 is left out. Several labels: each of them is right or wrong by itself.
            Of question answering (B, 2): start and end are right or wrong by themselves.
        config: the model's.
        task: the functions of its task.

    Returns:
        (L,) float32, and () float32: how many labels it was measured on.
    """
    logits, labels = head_logits.detach().float(), labels.to(head_logits.device)
    if hasattr(task, "choices"):  # where labels are read at positions
        scored = [_accuracy(*one) for one in task.choices(logits, labels)]
        right, count = (sum(parts) for parts in zip(*scored, strict=True))
        return right / count.clamp(min=1), count
    kind, batch, classes = problem_type(config, labels), logits.shape[0], logits.shape[2]
    if kind == "single_label_classification":
        right, count = _accuracy(logits, labels)
        return right / count.clamp(min=1), count
    labels = labels.reshape(batch, 1, classes).float()
    if kind == "regression":
        count = logits.new_tensor(float(batch * classes))
        return (logits - labels).square().mean((0, 2)), count
    right, kept = (logits > 0) == (labels > 0.5), labels != IGNORE_INDEX  # (B, L, C), (B, 1, C)
    count = kept.sum().float()
    return (right & kept).sum((0, 2)).float() / count.clamp(min=1), count


def _accuracy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(L,) float32, how many of (R,) labels each head's logits (R, L, C) have right, and () of how many."""
    labels = labels.reshape(-1, 1)
    kept = labels != IGNORE_INDEX
    return ((logits.argmax(-1) == labels) & kept).sum(0).float(), kept.sum().float()


def head_losses(
    head_logits: Tensor, labels: Tensor, config: PretrainedConfig, task: ModuleType = sequence_classification
) -> Tensor:
    """(L,) float32: each head's share of the deep supervision, whose mean is `supervision_loss`."""
    depths = head_logits.detach().split(1, dim=-2)
    return torch.stack([task.supervision(depth, labels, config) for depth in depths])
