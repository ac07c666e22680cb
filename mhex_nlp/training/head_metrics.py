# SPDX-License-Identifier: Apache-2.0
"""How well each head predicts by itself.

Axes: B texts, L depths, C labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig

from ..models.tasks.sequence_classification import IGNORE_INDEX, deep_supervision_loss, problem_type


def score_name(config: PretrainedConfig) -> str:
    """What `head_scores` gives: "mse" for regression, else "accuracy"."""
    return "mse" if problem_type(config) == "regression" else "accuracy"


def head_scores(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> tuple[Tensor, Tensor]:
    """Each head as a predictor: accuracy, or the mean squared error in regression.

    Args:
        head_logits: (B, L, C).
        labels: as the model takes them; -100 is left out. Several labels: each of them is right or wrong by itself.

    Returns:
        (L,) float32, and () float32: how many labels it was measured on.
    """
    logits, labels = head_logits.detach().float(), labels.to(head_logits.device)
    task, batch, classes = problem_type(config, labels), logits.shape[0], logits.shape[2]
    if task == "single_label_classification":
        labels = labels.reshape(batch, 1)
        right, kept = logits.argmax(-1) == labels, (labels != IGNORE_INDEX)[..., None]  # (B, L), (B, 1, 1)
        right = right[..., None]
    else:
        labels = labels.reshape(batch, 1, classes).float()
        if task == "regression":
            count = logits.new_tensor(float(batch * classes))
            return (logits - labels).square().mean((0, 2)), count
        right, kept = (logits > 0) == (labels > 0.5), labels != IGNORE_INDEX  # (B, L, C), (B, 1, C)
    count = kept.sum().float()
    return (right & kept).sum((0, 2)).float() / count.clamp(min=1), count


def head_losses(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """(L,) float32: each head's share of the deep supervision, whose mean is `supervision_loss`."""
    depths = head_logits.detach().split(1, dim=1)
    return torch.stack([deep_supervision_loss(depth, labels, config) for depth in depths])
