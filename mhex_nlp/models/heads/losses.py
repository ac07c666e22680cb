# SPDX-License-Identifier: Apache-2.0
"""What heads are trained by: deep supervision (the paper's), and faithfulness, a training objective of ours.

Faithfulness goes beyond the paper. Each training step looks once more at its texts with a random part of their tokens
removed, and asks that the scores of those tokens add up to what the (contrasted) logits lost.

Axes: B texts, T tokens, L depths, C labels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE_INDEX = -100


def supervision_loss(head_logits: Tensor, labels: Tensor, task: str) -> Tensor:
    """Mean over the depths of the task's loss on each head's logits (paper: L_pred, one per block).

    Args:
        head_logits: (B, L, C).
        labels: (B,) class ids, (B, C) in [0, 1], or (B, C) numbers, by task; -100 is ignored but for regression.
        task: "single_label_classification", "multi_label_classification" or "regression".

    Returns:
        (), float32; zero where every label is ignored.
    """
    depths, classes = head_logits.shape[1:]
    logits, labels = head_logits.float(), labels.to(head_logits.device)
    if task == "single_label_classification":
        repeated = labels.long().reshape(-1, 1).expand(-1, depths)  # (B, L)
        loss = F.cross_entropy(logits.flatten(0, 1), repeated.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
        return loss / (repeated != IGNORE_INDEX).sum().clamp(min=1)
    repeated = labels.reshape(-1, 1, classes).expand_as(logits).float()  # (B, L, C)
    if task == "regression":
        return F.mse_loss(logits, repeated)
    kept = repeated != IGNORE_INDEX
    loss = F.binary_cross_entropy_with_logits(logits, repeated.clamp(min=0), reduction="none")
    return torch.where(kept, loss, 0.0).sum() / kept.sum().clamp(min=1)


def removed_part(
    arguments: Mapping[str, Any], mask: Tensor | None, mask_token_id: int | None
) -> tuple[dict[str, Any], Tensor]:
    """The inputs of a forward pass with a random part of each text's tokens removed, its size drawn uniformly.

    A text's first and last token stay, which are the template's in most families, and what a decoder reads.

    Args:
        arguments: the forward pass's own, with `input_ids` (B, T).
        mask: (B, T) bool, true on real tokens; `None`: on all.
        mask_token_id: put in the place of what is removed; `None` hides it by the attention mask.

    Returns:
        the changed inputs, without labels, and (B, T) bool, true where a token was removed. At least one token of each
        text that has three goes. Drawn from torch's own generator.

    Raises:
        ValueError: no `input_ids`.
    """
    ids = arguments.get("input_ids")
    if ids is None:
        raise ValueError("faithfulness_weight needs input_ids, got a batch without them: tokens must be removed.")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    position = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    last = torch.where(real, position, -1).amax(1, keepdim=True)
    first = torch.where(real, position, ids.shape[1]).amin(1, keepdim=True)
    removable = real & (position > first) & (position < last)  # (B, T)
    removed = draw_part(removable, removable.sum(1, keepdim=True))
    changed = {name: value for name, value in arguments.items() if name != "labels"}
    if mask_token_id is None:
        changed["attention_mask"] = (real & ~removed).to(ids.dtype)
    else:
        changed["input_ids"] = ids.masked_fill(removed, mask_token_id)
    return changed, removed


def draw_part(removable: Tensor, most: Tensor) -> Tensor:
    """(B, T) bool: of each text a random part of what is `removable` (B, T), of 1 to `most` (B, 1) tokens.

    Each number is as likely as the others; none where `most` is below 1. Drawn from torch's own generator.
    """
    draw = functools.partial(torch.rand, dtype=torch.float32, device=removable.device)
    size = ((draw(most.shape) * most).floor() + 1).minimum(most)
    order = draw(removable.shape).masked_fill(~removable, 2.0).argsort(1).argsort(1)
    return (order < size) & removable


def faithfulness_loss(attributions: Tensor, whole: Tensor, rest: Tensor, removed: Tensor, centred: bool) -> Tensor:
    """Mean over texts and labels of (sum over removed t of phi[t, c] - (v(N)[c] - v(N without removed)[c]))².

    phi is the mean over depths of the layer attributions; it and the logits v are centred over the labels where labels
    exclude each other.

    Args:
        attributions: (B, T, L, C) of the whole texts.
        whole, rest: (B, C) logits of the whole texts, and of what was left of them.
        removed: (B, T) bool.

    Returns:
        () float32, in squared logits.
    """
    scores = torch.where(removed.to(attributions.device)[..., None], attributions.mean(2), 0.0).sum(1)  # (B, C)
    missed = scores - (whole - rest).float().to(scores.device)
    if centred:
        missed = missed - missed.mean(-1, keepdim=True)
    return missed.square().mean()
