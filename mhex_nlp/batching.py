# SPDX-License-Identifier: Apache-2.0
"""Length-sorted batches by a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence


def token_batches(lengths: Sequence[int], batch_tokens: int, *, equal_lengths: bool = False) -> list[list[int]]:
    """Indices grouped so that texts of like length share a batch and padding stays small.

    Args:
        lengths: tokens of each text.
        batch_tokens: texts times longest text of a batch stays at or below this; a longer text goes alone.
        equal_lengths: only texts of exactly one length share a batch, for models that padding changes.

    Returns:
        every index once, longest texts first, so that running out of memory shows at once.

    Raises:
        ValueError: `batch_tokens` is not a positive integer.
    """
    if isinstance(batch_tokens, bool) or not isinstance(batch_tokens, int) or batch_tokens < 1:
        raise ValueError(f"batch_tokens must be a positive integer, got {batch_tokens!r}.")
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = bool(batches) and (len(batches[-1]) + 1) * longest <= batch_tokens
        if fits and (not equal_lengths or lengths[index] == longest):
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = max(lengths[index], 1)
    return batches
