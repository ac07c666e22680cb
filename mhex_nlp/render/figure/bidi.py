# SPDX-License-Identifier: Apache-2.0
"""Where right-to-left text stands on a line: the implicit part of the Unicode bidirectional algorithm (UAX #9).

Explicit embeddings, overrides and isolates are not read; replace them first (`controls`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_BRACKETS = {"(": ")", "[": "]", "{": "}", "\uff08": "\uff09", "\uff3b": "\uff3d", "\u300c": "\u300d"}
_NEUTRAL = ("B", "S", "WS", "ON")


def base_level(text: str) -> int:
    """1 where the first letter with a direction runs right to left, else 0 (P2, P3)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            return int(kind != "L")
    return 0


def levels(text: str, base: int) -> list[int]:
    """The embedding level of every code point of one paragraph, odd where it runs right to left (W1 to I2)."""
    found = [_kind(character) for character in text]
    # X9: format characters take no part and go with what stands before them.
    seen = [index for index, kind in enumerate(found) if kind != "BN"]
    kinds = [found[index] for index in seen]
    start = "R" if base else "L"
    _weak(kinds, start)
    _brackets(kinds, [text[index] for index in seen], start)
    _neutral(kinds, start)
    result = [base] * len(text)
    for index, kind in zip(seen, kinds, strict=True):
        if base:
            result[index] = 1 if kind == "R" else 2
        else:
            result[index] = {"L": 0, "R": 1}.get(kind, 2)
    for index, kind in enumerate(found):
        if kind == "BN" and index:
            result[index] = result[index - 1]
    return result


def visual_order(line: Sequence[int]) -> list[int]:
    """The indices of a line's items from left to right, by their levels (L2)."""
    order = list(range(len(line)))
    for level in range(max(line, default=0), 0, -1):
        at = 0
        while at < len(order):
            end = at
            while end < len(order) and line[order[end]] >= level:
                end += 1
            order[at:end] = order[at:end][::-1]
            at = end + 1
    return order


def _kind(character: str) -> str:
    # An unassigned code point has no class; the letters of most scripts are L.
    return unicodedata.bidirectional(character) or "L"


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
    at = 0
    while at < len(kinds):
        end = at
        while end < len(kinds) and kinds[end] == "ET":
            end += 1
        if end > at and ((at and kinds[at - 1] == "EN") or (end < len(kinds) and kinds[end] == "EN")):
            kinds[at:end] = ["EN"] * (end - at)
        at = max(end, at + 1)
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
        for place in range(len(waiting) - 1, -1, -1):
            if waiting[place][0] == character:
                pairs.append((waiting[place][1], at))
                del waiting[place:]
                break
    for left, right in sorted(pairs):
        inside = {_direction(kind) for kind in kinds[left + 1 : right]} - {""}
        if start in inside:
            chosen = start
        elif inside:
            chosen = next((d for d in map(_direction, reversed(kinds[:left])) if d), start)
        else:
            continue
        for at in (left, right):
            kinds[at] = chosen


def _neutral(kinds: list[str], start: str) -> None:
    """N1 and N2, in place: neutrals between two of one direction get it, the others the paragraph's."""
    at = 0
    while at < len(kinds):
        end = at
        while end < len(kinds) and kinds[end] in _NEUTRAL:
            end += 1
        if end > at:
            left = _direction(kinds[at - 1]) if at else start
            right = _direction(kinds[end]) if end < len(kinds) else start
            kinds[at:end] = [left if left == right else start] * (end - at)
        at = max(end, at + 1)


def _direction(kind: str) -> str:
    """L or R as the neutral rules count it, numbers as R; "" for a neutral."""
    if kind in ("EN", "AN"):
        return "R"
    return kind if kind in ("L", "R") else ""
