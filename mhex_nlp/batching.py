# SPDX-License-Identifier: Apache-2.0
"""Length-sorted batches by a budget of tokens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def token_batches(
    lengths: Sequence[int],
    batch_tokens: int,
    *,
    equal_lengths: bool = False,
    kinds: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Indices grouped so that texts of like length share a batch and padding stays small.

    Args:
        lengths: tokens of each text.
        batch_tokens: texts times longest text of a batch stays at or below this; a longer text goes alone.
        equal_lengths: only texts of exactly one length share a batch, for models that padding changes.
        kinds: only texts of one kind share a batch.

    Returns:
        every index once, longest texts first, so that running out of memory shows at once.

    Raises:
        ValueError: `batch_tokens` is not a positive integer.
    """
    if isinstance(batch_tokens, bool) or not isinstance(batch_tokens, int) or batch_tokens < 1:
        raise ValueError(f"batch_tokens must be a positive integer, got {batch_tokens!r}.")
    groups: dict[Hashable, list[int]] = {}
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        kind = (kinds[index] if kinds is not None else None, lengths[index] if equal_lengths else None)
        groups.setdefault(kind, []).append(index)
    batches: list[list[int]] = []
    for group in groups.values():
        batch: list[int] = []
        for index in group:
            if not batch or (len(batch) + 1) * max(lengths[batch[0]], 1) > batch_tokens:
                batch = []
                batches.append(batch)
            batch.append(index)
    return sorted(batches, key=lambda batch: -lengths[batch[0]])
