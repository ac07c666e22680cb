# SPDX-License-Identifier: Apache-2.0
"""Tokens grouped into the words or sentences that own them. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class PlacedToken(Protocol):
    """A token with its place: `text` is its slice [start, end) of the source `sequence`, all `None` where special."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> int | None: ...
    @property
    def end(self) -> int | None: ...
    @property
    def sequence(self) -> int | None: ...


class TokenGroup(NamedTuple):
    """The tokens, by index, of one owner, and the slice [start, end) of the source `sequence` that they cover."""

    start: int
    end: int
    sequence: int
    tokens: tuple[int, ...]


def group_tokens(
    tokens: Sequence[PlacedToken], owners: Sequence[int | None], sources: Sequence[str]
) -> list[TokenGroup]:
    """The groups of each source, in order; spans end where the next begins: no text is shown twice.

    Args:
        tokens: T of them.
        owners: (T,), the word or sentence that owns each token; special tokens have none.
        sources: the text, or both halves of a pair.
    """
    members: list[dict[int, list[int]]] = [{} for _ in sources]
    for index, (token, owner) in enumerate(zip(tokens, owners, strict=True)):
        if token.sequence is not None and owner is not None:
            members[token.sequence].setdefault(owner, []).append(index)
    result = []
    for sequence, (text, groups) in enumerate(zip(sources, members, strict=True)):
        extents = [_extent(tokens, group) for group in groups.values()]
        limits = [start for start, _ in extents[1:]] + [len(text)]
        for group, (start, end), limit in zip(groups.values(), extents, limits, strict=False):
            result.append(TokenGroup(start, limit if start < limit < end else end, sequence, tuple(group)))
    return result


def _extent(tokens: Sequence[PlacedToken], group: Sequence[int]) -> tuple[int, int]:
    """From the first to the last token that is more than whitespace; from end to end where none is."""
    members = [tokens[index] for index in group]
    solid = [token for token in members if token.text and not token.text.isspace()] or members
    return min(token.start or 0 for token in solid), max(token.end or 0 for token in solid)
