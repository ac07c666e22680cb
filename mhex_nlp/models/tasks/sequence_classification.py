# SPDX-License-Identifier: Apache-2.0
"""Deep supervision: the task's own loss on every head's logits, and the checks of the labels it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from ..heads.losses import IGNORE_INDEX, supervision_loss
from ..problem_type import problem_type
from . import token_classification


def is_exclusive(config: PretrainedConfig) -> bool:
    """Exactly one of several classes holds, so that evidence for all of them says nothing."""
    return problem_type(config) == "single_label_classification" and config.num_labels > 1


def label_count(config: PretrainedConfig) -> int:
    """C."""
    return int(config.num_labels)


def labels_in(arguments: Mapping[str, Any]) -> Tensor | None:
    """The labels among the arguments of a forward pass."""
    return arguments.get("labels")


def take_labels(arguments: dict[str, Any], config: PretrainedConfig, shape: tuple[int, int] | None) -> Tensor | None:
    """The labels, checked where the shape (B, T) of the inputs is given, in the dtype of the task.

    Those in `arguments` become what the plain forward is given.
    """
    labels = arguments.get("labels")
    if labels is None:
        return None
    if shape is not None:
        check_labels(labels, config, shape[0])
    task = problem_type(config, labels)
    labels = labels.long() if task == "single_label_classification" else labels.float()
    # The first labels tell which task it is, and a checkpoint must say so: transformers' own losses write it likewise.
    config.problem_type = task
    # several labels: our loss leaves out what is -100, transformers' would not
    arguments["labels"] = None if task == "multi_label_classification" else labels
    return labels


def check_labels(labels: Tensor, config: PretrainedConfig, batch_size: int) -> None:
    """Raises one clear sentence where `labels` cannot be the labels of this batch.

    Values are looked at on the CPU alone: reading them from a GPU would make every training step wait for it.

    Args:
        labels: (B,) integers for a single label, (B, C) floats in [0, 1] for several, (B,) or (B, C) numbers for
            regression. -100 is ignored, but for regression, where it is a value like others.

    Raises:
        TypeError: not a tensor, or a dtype the task cannot use.
        ValueError: a shape, class id or value out of range.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, got {type(labels).__name__}.")
    task, classes, dtype = problem_type(config, labels), config.num_labels, str(labels.dtype).removeprefix("torch.")
    if task == "single_label_classification":
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise TypeError(f"labels must be integer class ids for single-label classification, got {dtype}.")
        if labels.numel() != batch_size:
            raise ValueError(f"labels must be ({batch_size},), one class id each, got {tuple(labels.shape)}.")
        bad = _where(labels, (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= classes)))
        if bad.numel():
            raise ValueError(f"labels must be class ids from 0 to {classes - 1} (or -100), got {bad[0].item()}.")
        return
    if labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be numbers, got {dtype}.")
    if task == "multi_label_classification":
        if not labels.is_floating_point():
            raise TypeError(f"labels must be floats for multi-label classification, got {dtype}.")
        if tuple(labels.shape) != (batch_size, classes):
            raise ValueError(f"labels must be ({batch_size}, {classes}), got {tuple(labels.shape)}.")
        bad = _where(labels, (labels != IGNORE_INDEX) & ~((labels >= 0) & (labels <= 1)))
        if bad.numel():
            raise ValueError(f"labels must lie in [0, 1] (or be -100), got {bad[0].item()}.")
    elif labels.numel() != batch_size * classes:
        raise ValueError(f"labels must be ({batch_size}, {classes}), got {tuple(labels.shape)}.")
    elif _where(labels, ~torch.isfinite(labels)).numel():
        raise ValueError("labels must be finite for regression, got NaN or infinity.")


def supervision(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """As `deep_supervision_loss`, of (B, L, C)."""
    return supervision_loss(head_logits, labels, problem_type(config, labels))


def _where(labels: Tensor, wrong: Tensor) -> Tensor:
    return labels[wrong] if labels.device.type == "cpu" else labels.new_empty(0)


def task_loss(logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """The loss of the model's own (B, C) logits as `deep_supervision_loss` computes it: () float32."""
    return deep_supervision_loss(logits[:, None], labels, config)


def deep_supervision_loss(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """Mean over the depths of the task's loss on each head's logits (paper: L_pred, one per block).

    Args:
        head_logits: (B, L, C), or (B, T, L, C) of a token classifier, where every labelled position counts alike.
        labels: as the model takes them, see `check_labels`; entries of -100 are left out of the mean.
        config: the model's config, for `problem_type` and `num_labels`.

    Returns:
        (), float32, before `loss_weight`; zero where every label is -100.
    """
    if head_logits.dim() == 4:
        return token_classification.supervision(head_logits, labels, config)
    return supervision(head_logits, labels, config)
