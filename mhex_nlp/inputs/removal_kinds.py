# SPDX-License-Identifier: Apache-2.0
"""The ways to take tokens out of a text, and which of them a tokenizer allows. Pure Python."""

from __future__ import annotations

import warnings
from typing import Literal, get_args

Removal = Literal["mask", "deletion", "attention"]
REMOVALS: tuple[Removal, ...] = get_args(Removal)


def choose_removal(how: str, mask_token_id: int | None) -> Removal:
    """`how` checked against the tokenizer's mask token, `None` where it has none.

    "auto" is "mask" where there is a mask token, else "attention", with a warning.
    """
    if how == "auto":
        if mask_token_id is not None:
            return "mask"
        warnings.warn(
            "the tokenizer has no mask token, so tokens are removed by the attention mask (removal='attention').",
            stacklevel=2,
        )
        return "attention"
    if how not in REMOVALS:
        raise ValueError(f"removal must be one of {['auto', *REMOVALS]}, got {how!r}.")
    if how == "mask" and mask_token_id is None:
        raise ValueError(
            "removal='mask' needs a tokenizer with a mask token, and this one has none: use removal='attention', "
            "which hides positions by the attention mask, instead."
        )
    return how
