# SPDX-License-Identifier: Apache-2.0
"""Faithfulness as a training objective: the heads' scores are to say what the model loses with the tokens it removes.

Ours, beyond the paper. Each training step looks once more at its texts with a random part of their tokens removed, and
asks that the scores of those tokens add up to what the (contrasted) logits lost. Axes: B texts, T tokens, L depths, C
labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


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
    own = real & (position > first) & (position < last)  # (B, T)
    count = own.sum(1, keepdim=True)
    size = (torch.rand(len(ids), 1, device=ids.device) * count).floor() + 1  # 1 to count
    order = torch.rand(ids.shape, device=ids.device).masked_fill(~own, 2.0).argsort(1).argsort(1)
    removed = (order < size) & own
    changed = {name: value for name, value in arguments.items() if name != "labels"}
    if mask_token_id is None:
        changed["attention_mask"] = (real & ~removed).to(ids.dtype)
    else:
        changed["input_ids"] = ids.masked_fill(removed, mask_token_id)
    return changed, removed


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
