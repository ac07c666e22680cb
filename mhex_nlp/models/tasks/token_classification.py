# SPDX-License-Identifier: Apache-2.0
"""A label for every token: its labels, their checks, and deep supervision at every labelled position.

Axes: B texts, T tokens, L depths, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from ..heads.losses import IGNORE_INDEX, supervision_loss
from ..padding import TokenMask

SINGLE_ROWS = True  # one place is one row of attention
_OUTSIDE = ("O", "OUTSIDE", "NONE")


def label_count(config: PretrainedConfig) -> int:
    """C."""
    return int(config.num_labels)


def outside_label(config: PretrainedConfig) -> int | None:
    """The id of the label "O", which says that a token is in no entity; `None` where there is none."""
    names = {str(name).upper(): int(index) for index, name in (config.id2label or {}).items()}
    return next((names[name] for name in _OUTSIDE if name in names), None)


def position_logits(output: Any, mask: TokenMask, *, centred: bool = False) -> Tensor:
    """(B, T, C): what the model says at each position; labels are centred by those who explain them."""
    return output.logits


def take_labels(arguments: dict[str, Any], config: PretrainedConfig, shape: tuple[int, int] | None) -> Tensor | None:
    """(B, T) int64, of the arguments of a forward pass, checked against (B, T) where that is given.

    Raises:
        TypeError, ValueError: as `check_labels`.
    """
    labels = arguments.get("labels")
    if labels is None:
        return None
    if shape is not None:
        check_labels(labels, config, shape)
    arguments["labels"] = labels = labels.long()
    return labels


def labels_in(arguments: Mapping[str, Any]) -> Tensor | None:
    """The labels among the arguments of a forward pass."""
    return arguments.get("labels")


def check_labels(labels: Tensor, config: PretrainedConfig, shape: tuple[int, int]) -> None:
    """Raises one clear sentence where `labels` cannot be those of a batch of this shape, (B, T).

    Raises:
        TypeError: not a tensor of integers.
        ValueError: another shape, or a class id out of range; values are looked at on the CPU alone.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, got {type(labels).__name__}.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        kind = str(labels.dtype).removeprefix("torch.")
        raise TypeError(f"labels must be integer class ids for token classification, got {kind}.")
    if tuple(labels.shape) != tuple(shape):
        raise ValueError(f"labels must be {tuple(shape)}, one class id a token, got {tuple(labels.shape)}.")
    if labels.device.type == "cpu":
        bad = labels[(labels != IGNORE_INDEX) & ((labels < 0) | (labels >= config.num_labels))]
        if bad.numel():
            raise ValueError(
                f"labels must be class ids from 0 to {config.num_labels - 1} (or -100), got {bad[0].item()}."
            )


def choices(head_logits: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What heads choose among, as single-label problems: ((R, L, C) logits, (R,) labels), each position a row."""
    return [(head_logits.flatten(0, 1), labels.flatten())]


def supervision(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """Mean over depths and labelled positions of the cross-entropy of each head's logits (paper: L_pred, by position).

    Args:
        head_logits: (B, T, L, C).
        labels: (B, T) int64; -100 is ignored.
        config: the model's.

    Returns:
        () float32; zero where every label is ignored.
    """
    ((logits, flat),) = choices(head_logits, labels)
    return supervision_loss(logits, flat, "single_label_classification")


def head_logits(evidence: Tensor, biases: Tensor, mask: TokenMask) -> Tensor:
    """(B, T, L, C): what each head says at each position, of evidence (B, T, L, C) and biases (L, C); nothing pools."""
    return mask.cut(evidence) + biases


def start_rows(positions: Tensor, tokens: int, mask: TokenMask) -> Tensor:
    """(B, P, T) float32: where the logits at each place are read from, zeros where a position is -1."""
    return (positions[..., None] == torch.arange(tokens, device=positions.device)).float()
