# SPDX-License-Identifier: Apache-2.0
"""Taking content tokens out of a tokenised text: by [MASK], by deletion, or by the attention mask.

Axes: T tokens of the text, N of them its own content, S subsets of them. Pure functions on the model's own inputs;
nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .removal_kinds import Removal, choose_removal
from .subsets import drawn_subsets


def remove(
    features: Mapping[str, Tensor],
    removed: Tensor,
    how: Removal,
    mask_token_id: int | None = None,
    *,
    special: Tensor,
) -> list[dict[str, Tensor]]:
    """The inputs of one text with some of its content tokens taken out, once for each subset.

    "mask" puts the mask token's id in their place. "deletion" cuts them out of every input, so that the rest moves up.
    "attention" leaves every input as it is and sets the attention mask to 0 there; positions stay.

    Args:
        features: the model's inputs for the text, (T,) each, with `input_ids`; an attention mask may be among them.
        removed: (T,) or (S, T) bool, true where a token goes.
        how, mask_token_id: as in `choose_removal`.
        special: (T,) bool, true for tokens that must stay: those of the tokenizer's template, and the one a decoder
            pools.

    Returns:
        S dicts of new (T,) tensors, shorter for "deletion"; one dict where `removed` is (T,). An attention mask is
        among them for "attention", and otherwise where it was given.
    """
    ids = features["input_ids"]
    _check(features, removed, special)
    how = choose_removal(how, mask_token_id)
    subsets = removed.reshape(-1, len(ids)).to(ids.device)  # (S, T)
    if positions := (subsets & special.to(ids.device)).any(0).nonzero().flatten().tolist():
        raise ValueError(f"removed must leave special tokens alone, got positions {positions}, which are special.")
    if how == "deletion":
        return [{name: value[~subset] for name, value in features.items()} for subset in subsets]
    changed = {name: value.expand(len(subsets), -1) for name, value in features.items()}  # (S, T) each
    if how == "mask":
        changed["input_ids"] = torch.where(subsets, torch.as_tensor(mask_token_id, dtype=ids.dtype), ids)
    else:
        seen = features.get("attention_mask", torch.ones_like(ids))
        changed["attention_mask"] = torch.where(subsets, torch.zeros_like(seen), seen)
    return [{name: value[row].clone() for name, value in changed.items()} for row in range(len(subsets))]


def random_subsets(content: int, masks: int, seed: Sequence[int]) -> Tensor:
    """(S, N) bool, as `drawn_subsets`."""
    return torch.from_numpy(drawn_subsets(content, masks, seed))


def _check(features: Mapping[str, Tensor], removed: Tensor, special: Tensor) -> None:
    length = len(features["input_ids"])
    for name, value in features.items():
        if value.shape != (length,):
            raise ValueError(f"features[{name!r}] must have one entry a token, ({length},), got {tuple(value.shape)}.")
    for name, value in (("removed", removed), ("special", special)):
        if value.dtype != torch.bool:
            raise TypeError(f"{name} must be a bool tensor, got {value.dtype}.")
    if special.shape != (length,):
        raise ValueError(f"special must have one entry a token, ({length},), got {tuple(special.shape)}.")
    if removed.ndim not in (1, 2) or removed.shape[-1] != length:
        raise ValueError(f"removed must be ({length},) or (S, {length}), got {tuple(removed.shape)}.")
