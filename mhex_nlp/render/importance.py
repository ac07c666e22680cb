# SPDX-License-Identifier: Apache-2.0
"""The words that drive a class as horizontal bars with their intervals, drawn as SVG inside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .summary import number_format

BARS = 10  # on each side
_WIDTH, _LEFT, _STEP, _THICK, _TOP = 360, 110, 18, 10, 4  # SVG units
_LONGEST = 16  # code points of a word


def importance_figure(words: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any] | None:
    """Geometry of the bars of one class, strongest first, then those that lower it; None without words.

    `words` has the sides `for` and `against`, each word with `effect`, `low`, `high` and `folded`.
    """
    raising, lowering = ([word for word in words[side] if not word["folded"]][:BARS] for side in ("for", "against"))
    shown = [*raising, *lowering[::-1]]
    if not shown:
        return None
    low = min(0.0, *(word["low"] for word in shown))
    high = max(0.0, *(word["high"] for word in shown))
    scale = (_WIDTH - _LEFT - 6) / ((high - low) or 1.0)
    number, zero = number_format(word["effect"] for word in shown), _LEFT - low * scale

    def place(score: float) -> float:
        return round(zero + score * scale, 1)

    bars = []
    for row, word in enumerate(shown):
        top, left, right = _TOP + row * _STEP, *sorted((place(0.0), place(word["effect"])))
        middle = top + _THICK / 2
        bars.append(
            {
                "word": word["word"] if len(word["word"]) <= _LONGEST else f"{word['word'][: _LONGEST - 1]}\u2026",
                "title": f"{number(word['effect'])} [{number(word['low'])}, {number(word['high'])}]",
                "tone": "u" if word["effect"] > 0 else "d",
                "baseline": top + _THICK - 1,
                "bar": f"M{left} {top}H{right}v{_THICK}H{left}z",
                "whisker": f"M{place(word['low'])} {middle}H{place(word['high'])}",
            }
        )
    height = 2 * _TOP + len(bars) * _STEP
    return {"bars": bars, "width": _WIDTH, "height": height, "names": _LEFT - 6, "zero": round(zero, 1)}
