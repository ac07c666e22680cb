# SPDX-License-Identifier: Apache-2.0
"""Where an answer starts and where it ends: two logits a position, which compete with those of all other positions.

What is said of position p is thus its logit less the mean over the text's real positions. Axes: B texts, T tokens,
L depths, C = 2 labels: start, end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from ..heads.losses import IGNORE_INDEX, supervision_loss
from ..padding import TokenMask
from . import token_classification

SINGLE_ROWS = False  # centred logits are read from all positions
_LABELS = ("start_positions", "end_positions")


def label_count(config: PretrainedConfig) -> int:
    """C = 2."""
    return 2


def position_logits(output: Any, mask: TokenMask, *, centred: bool = False) -> Tensor:
    """(B, T, 2): start and end logits; `centred`: less their mean over the real positions of the text."""
    logits = torch.stack([output.start_logits, output.end_logits], dim=-1)
    return logits - real_mean(logits, mask.real) if centred else logits


def best_span(logits: Tensor, longest: int = 30) -> tuple[int, int]:
    """The first and the last token of the likeliest answer among (T, 2) logits, of `longest` tokens at the most."""
    both = logits[:, 0, None] + logits[:, 1]  # (T, T): start, end
    allowed = torch.ones_like(both, dtype=torch.bool).triu() & ~torch.ones_like(both, dtype=torch.bool).triu(longest)
    best = int(both.masked_fill(~allowed, -torch.inf).argmax())
    return best // len(logits), best % len(logits)


def real_mean(values: Tensor, real: Tensor | None) -> Tensor:
    """(B, 1, C): the mean of (B, T, C) over the real positions, (B, T) bool, `None` for all."""
    if real is None:
        return values.mean(1, keepdim=True)
    kept = torch.where(real[..., None], values, 0.0)
    return kept.sum(1, keepdim=True) / real.sum(1).clamp(min=1)[:, None, None]


def take_labels(arguments: dict[str, Any], config: PretrainedConfig, shape: tuple[int, int] | None) -> Tensor | None:
    """(B, 2) int64, of the arguments of a forward pass, checked against (B, T) where that is given; -100: no answer.

    Raises:
        TypeError, ValueError: one of the two alone, no integers, a position beyond the text.
    """
    given = [arguments.get(name) for name in _LABELS]
    if all(value is None for value in given):
        return None
    labels = []
    for name, value in zip(_LABELS, given, strict=True):
        if value is None:
            raise ValueError(f"start_positions and end_positions must be given together, got no {name}.")
        if shape is not None:
            _check(name, value, shape)
        value = value.long().reshape(-1)
        labels.append(value)
        # transformers takes a position beyond the text for "ignore", and -100 for the first token
        arguments[name] = value if shape is None else value.masked_fill(value == IGNORE_INDEX, shape[1])
    return torch.stack(labels, dim=1)


def labels_in(arguments: Mapping[str, Any]) -> Tensor | None:
    """(B, 2), the labels among the arguments of a forward pass; `None` where there are none."""
    given = [value.reshape(-1) for name in _LABELS if (value := arguments.get(name)) is not None]
    return torch.stack(given, dim=1) if len(given) == 2 else None


def _check(name: str, value: Any, shape: tuple[int, int]) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}.")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} must be integer positions, got {str(value.dtype).removeprefix('torch.')}.")
    if value.numel() != shape[0]:
        raise ValueError(f"{name} must be ({shape[0]},), one position a text, got {tuple(value.shape)}.")
    if value.device.type == "cpu" and (bad := value[(value < 0) & (value != IGNORE_INDEX)]).numel():
        raise ValueError(f"{name} must be positions from 0 (or -100 for no answer), got {bad[0].item()}.")


def choices(head_logits: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What heads choose among, as single-label problems: ((B, L, T) logits, (B,) labels) of start and of end."""
    labels = labels.masked_fill(labels >= head_logits.shape[1], IGNORE_INDEX)
    return [(head_logits[..., label].transpose(1, 2), labels[:, label]) for label in range(2)]


def supervision(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """Mean over depths, start and end of the cross-entropy over positions of each head's logits (paper: L_pred).

    Args:
        head_logits: (B, T, L, 2), very low on padding.
        labels: (B, 2) int64; -100, and positions beyond the text, are ignored.
        config: the model's.

    Returns:
        () float32; zero where every label is ignored.
    """
    parts = [supervision_loss(*one, "single_label_classification") for one in choices(head_logits, labels)]
    return torch.stack(parts).mean()


def head_logits(evidence: Tensor, biases: Tensor, mask: TokenMask) -> Tensor:
    """As for tokens, but very low on padding, which can hold no answer."""
    logits = token_classification.head_logits(evidence, biases, mask)
    if mask.real is None:
        return logits
    return logits.masked_fill(~mask.real.to(logits.device)[..., None, None], torch.finfo(logits.dtype).min)


def start_rows(positions: Tensor, tokens: int, mask: TokenMask) -> Tensor:
    """(B, P, T) float32: 1 at the place less 1 / n at each of the n real positions; zeros where a position is -1.

    Rollout and scores are linear in their start row, so that what they say is of the centred logits.
    """
    rows = token_classification.start_rows(positions, tokens, mask)
    real = rows.new_ones(len(rows), tokens) if mask.real is None else mask.real.to(rows)
    even = real / real.sum(1, keepdim=True).clamp(min=1)
    return torch.where(positions[..., None] >= 0, rows - even[:, None], rows)
