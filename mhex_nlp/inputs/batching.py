# SPDX-License-Identifier: Apache-2.0
"""Length-sorted batches by a budget of tokens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from .checks import as_integer

if TYPE_CHECKING:
    import torch

_CPU_TOKENS, _TOKENS = 1024, 4096


def usual_batch_tokens(device: torch.device) -> int:
    """The budget of `token_batches` where none is given.

    On a CPU 1024 tokens go as fast through the model as 4096, and what attributions read is still in its caches.
    """
    return _CPU_TOKENS if device.type == "cpu" else _TOKENS


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
    """
    batch_tokens = as_integer(batch_tokens, "batch_tokens", at_least=1, expected="a positive integer")
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
