# SPDX-License-Identifier: Apache-2.0
"""Parameter groups: heads learn faster than the backbone they sit in."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ..models.modeling import MhexMixin

HEAD_RATE = 20.0  # times the backbone's learning rate


def find_heads(model: nn.Module) -> MhexMixin | None:
    """The model with heads in `model` itself or inside its wrappers (DDP, PEFT, torch.compile); `None` without one."""
    return next((module for module in model.modules() if isinstance(module, MhexMixin)), None)


def require_heads(model: nn.Module) -> MhexMixin:
    """As `find_heads`; ValueError where there are none."""
    heads = find_heads(model)
    if heads is None:
        raise ValueError(
            f"model must have MHEX heads, got a {type(model).__name__} without any; make one with "
            "get_mhex_model(model) or AutoMhexModelForSequenceClassification.from_pretrained(...)."
        )
    return heads


def mhex_param_groups(
    model: nn.Module, lr: float, head_lr: float | None = None, weight_decay: float = 0.01
) -> list[dict[str, Any]]:
    """Groups for AdamW or any other torch optimiser: backbone and heads, each with and without weight decay.

    Biases and norms (everything with one axis) are not decayed; frozen parameters and empty groups are left out. Each
    group carries a `name`: "backbone_decay", "backbone_no_decay", "heads_decay", "heads_no_decay".

    Args:
        model: a model with heads, also inside DDP, PEFT or torch.compile.
        lr: learning rate of the backbone.
        head_lr: learning rate of the heads; by default 20 times `lr`.
        weight_decay: for the decayed groups.

    Raises:
        ValueError: a model without heads (names `get_mhex_model`) or without a trainable parameter, or a rate that is
            not positive.
    """
    head_lr = HEAD_RATE * lr if head_lr is None else head_lr
    for name, rate in (("lr", lr), ("head_lr", head_lr)):
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"{name} must be positive and finite, got {rate!r}.")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay must be at least 0 and finite, got {weight_decay!r}.")
    heads = {id(parameter) for parameter in require_heads(model).mhex.parameters()}
    members: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            members.setdefault((id(parameter) in heads, parameter.dim() > 1), []).append(parameter)
    if not members:
        raise ValueError("model must have a parameter that requires grad, got a model that is frozen altogether.")
    return [
        {
            "name": f"{'heads' if head else 'backbone'}_{'decay' if decayed else 'no_decay'}",
            "params": parameters,
            "lr": head_lr if head else lr,
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (head, decayed), parameters in sorted(members.items(), key=lambda item: (item[0][0], not item[0][1]))
    ]
