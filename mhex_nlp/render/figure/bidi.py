# SPDX-License-Identifier: Apache-2.0
"""Where right-to-left text stands on a line: the implicit part of the Unicode bidirectional algorithm (UAX #9).

Explicit embeddings, overrides and isolates are not read; replace them first (`controls`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby

# python-bidi cannot take this place: it returns a reordered, mirrored string alone, without levels or indices, and the
# levels inside its Python version lack the rule for brackets (N0).
_BRACKETS = {"(": ")", "[": "]", "{": "}", "\uff08": "\uff09", "\uff3b": "\uff3d", "\u300c": "\u300d"}
_NEUTRAL = ("B", "S", "WS", "ON")


def base_level(text: str) -> int:
    """1 where the first letter with a direction runs right to left, else 0 (P2, P3)."""
    kinds = map(unicodedata.bidirectional, text)
    return next((int(kind != "L") for kind in kinds if kind in ("L", "R", "AL")), 0)


def levels(text: str, base: int) -> list[int]:
    """The embedding level of every code point of one paragraph, odd where it runs right to left (W1 to I2)."""
    # X9: format characters take no part and get the level of the character before them.
    visible = [character for character in text if unicodedata.bidirectional(character) != "BN"]
    # An unassigned code point has no class; the letters of most scripts are L.
    kinds = [unicodedata.bidirectional(character) or "L" for character in visible]
    start = "R" if base else "L"
    _weak(kinds, start)
    _brackets(kinds, visible, start)
    _neutral(kinds, start)
    resolved, level, result = iter(kinds), base, []
    for character in text:
        if unicodedata.bidirectional(character) != "BN":
            level = {"R": 1, "L": 2 if base else 0}.get(next(resolved), 2)
        result.append(level)
    return result


def visual_order(line: Sequence[int]) -> list[int]:
    """The indices of a line's items from left to right, by their levels (L2)."""
    order = list(range(len(line)))
    for level in range(max(line, default=0), 0, -1):
        for start, end in _runs([line[index] >= level for index in order]):
            order[start:end] = order[start:end][::-1]
    return order


def _runs(members: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """The longest ranges [start, end) whose members are all true."""
    start = 0
    for member, run in groupby(members):
        end = start + len(list(run))
        if member:
            yield start, end
        start = end


def _weak(kinds: list[str], start: str) -> None:
    """W1 to W7, in place: what is left is L, R, EN, AN and neutrals."""
    before, strong = start, start
    for at, kind in enumerate(kinds):
        if kind == "NSM":
            kinds[at] = before
        before = kinds[at]
        if before in ("L", "R", "AL"):
            strong = before
        elif before == "EN" and strong == "AL":
            kinds[at] = "AN"
    kinds[:] = ["R" if kind == "AL" else kind for kind in kinds]
    for at in range(1, len(kinds) - 1):
        left, kind, right = kinds[at - 1 : at + 2]
        if left == right and ((kind == "ES" and left == "EN") or (kind == "CS" and left in ("EN", "AN"))):
            kinds[at] = left
    for first, end in _runs([kind == "ET" for kind in kinds]):
        if "EN" in kinds[max(first - 1, 0) : end + 1]:
            kinds[first:end] = ["EN"] * (end - first)
    strong = start
    for at, kind in enumerate(kinds):
        if kind in ("ES", "ET", "CS"):
            kinds[at] = "ON"
        elif kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[at] = "L"


def _brackets(kinds: list[str], characters: Sequence[str], start: str) -> None:
    """N0, in place: both brackets of a pair get one direction."""
    waiting: list[tuple[str, int]] = []
    pairs = []
    for at, character in enumerate(characters):
        if kinds[at] != "ON":
            continue
        if character in _BRACKETS:
            waiting.append((_BRACKETS[character], at))
            continue
        for depth in range(len(waiting) - 1, -1, -1):
            if waiting[depth][0] == character:
                pairs.append((waiting[depth][1], at))
                del waiting[depth:]
                break
    for left, right in sorted(pairs):
        inside = {_direction(kind) for kind in kinds[left + 1 : right]} - {""}
        if inside:
            before = next(filter(None, map(_direction, reversed(kinds[:left]))), start)
            kinds[left] = kinds[right] = start if start in inside else before


def _neutral(kinds: list[str], start: str) -> None:
    """N1 and N2, in place: neutrals between two of one direction get it, the others the paragraph's."""
    for first, end in _runs([kind in _NEUTRAL for kind in kinds]):
        left = _direction(kinds[first - 1]) if first else start
        right = _direction(kinds[end]) if end < len(kinds) else start
        kinds[first:end] = [left if left == right else start] * (end - first)


def _direction(kind: str) -> str:
    """L or R as the neutral rules count it, numbers as R; "" for a neutral."""
    return {"L": "L", "R": "R", "EN": "R", "AN": "R"}.get(kind, "")
