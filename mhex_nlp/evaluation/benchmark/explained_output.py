# SPDX-License-Identifier: Apache-2.0
"""The number that all methods explain, by the logits of a batch and as the value of one text.

Axes: B texts, C labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..metrics.games import ValueFunction
from ..text_values import Answers, TextValues


def explained_output(values: Answers, logits: Tensor, targets: Tensor) -> Tensor:
    """What all methods explain: the target's logit, less the mean over classes where classes exclude each other.

    Of (B, C) logits, which the model of `values` gave, and (B,) class ids: (B,).
    """
    explained = logits.gather(1, targets[:, None]).squeeze(1)
    return explained - logits.mean(1) if values.classes.exclusive else explained


def explained_value(text: TextValues, target: int) -> ValueFunction:
    """The same as the value function of one text, for a class id."""
    return text.value(target, "centred" if text.owner.classes.exclusive else "logit")


def check_finite(values: Tensor, name: str) -> Tensor:
    """`values` in float64 on the CPU; ValueError where they are not finite."""
    copied = values.detach().double().cpu()
    if not torch.isfinite(copied).all():
        raise ValueError(f"{name} must be finite, got values that are NaN or infinite.")
    return copied
