# SPDX-License-Identifier: Apache-2.0
"""Which words drive a class: mean effects, shrunk where a word came seldom, with their intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .seen import Bounded, Z, is_folded

TOP = 20  # words that raise a class, or lower it; folded ones beside them
_OWN = 4  # texts that the variance of all words counts for in that of one


class WordEffects:
    """By class and word the texts, the sum and the sum of squares of the word's effect: its summed score in a text."""

    def __init__(self) -> None:
        self.table: Bounded[tuple[str, str]] = Bounded(lambda: [0, 0.0, 0.0])
        self.texts: Counter[str] = Counter()

    def add(self, target: str, effects: Mapping[str, float]) -> None:
        """Counts one text explained for the class `target`."""
        self.texts[target] += 1
        for word, effect in effects.items():
            row = self.table.row((target, word))
            row[0] += 1
            row[1] += effect
            row[2] += effect * effect

    def report(self, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
        """For each class `texts`, `minimum`, `k`, and the words that raise it (`for`) or lower it (`against`)."""
        by_class: dict[str, dict[str, list[Any]]] = {}
        for (label, word), row in self.table.items():
            by_class.setdefault(label, {})[word] = row
        return {label: self._of_class(label, by_class.get(label, {})) for label in labels if self.texts[label]}

    def _of_class(self, label: str, words: Mapping[str, Sequence[float]]) -> dict[str, Any]:
        texts = self.texts[label]
        minimum = max(fewest_texts(texts), min(self.table.lost, texts) + 1 if self.table.lost else 1)
        counted = {word: row for word, row in words.items() if row[0] >= minimum}
        within = _within(words)
        k = shrinkage(counted, within)
        entries = [_entry(word, row, texts, within, k) for word, row in counted.items()]
        entries.sort(key=lambda entry: (-entry["effect"], entry["word"]))
        return {
            "texts": texts,
            "minimum": minimum,
            "k": k,
            "words": len(counted),
            "for": _top(entries, 1),
            "against": _top(entries[::-1], -1),
        }


def fewest_texts(texts: int) -> int:
    """How many texts a word must stand in to be ranked: an eighth of their root, from 2 (1 of fewer than 50) to 20."""
    return min(20, max(2 if texts >= 50 else 1, round(math.sqrt(texts) / 8)))


def shrinkage(words: Mapping[str, Sequence[float]], within: float) -> float:
    """k of the credibility n / (n + k) of a mean over n texts (Buehlmann, 1967), around 0: no effect.

    It is the variance of a word's effect from text to text over that of the words' true means, estimated by their
    mean square less what their own variance makes of it, and at least a hundredth of that mean square.
    """
    squares = [(row[1] / row[0]) ** 2 for row in words.values()]
    if not squares or within == 0 or not (mean_square := math.fsum(squares) / len(squares)):
        return 0.0
    noise = math.fsum(within / row[0] for row in words.values()) / len(squares)
    return within / max(mean_square - noise, 0.01 * mean_square)


def _within(words: Mapping[str, Sequence[float]]) -> float:
    """The variance of a word's effect from text to text, pooled over words."""
    spread = math.fsum(max(0.0, row[2] - row[1] ** 2 / row[0]) for row in words.values() if row[0] > 1)
    free = sum(row[0] - 1 for row in words.values())
    return spread / free if free else 0.0


def _entry(word: str, row: Sequence[float], texts: int, within: float, k: float) -> dict[str, Any]:
    count, total, squares = row
    mean = total / count
    spread = max(0.0, squares - total * total / count)
    error = math.sqrt((spread + _OWN * within) / (count - 1 + _OWN) / count)
    credibility = count / (count + k)
    return {
        "word": word,
        "texts": int(count),
        "share": count / texts,
        "mean": mean,
        "effect": credibility * mean,
        "low": credibility * (mean - Z * error),
        "high": credibility * (mean + Z * error),
        "folded": is_folded(word),
    }


def _top(entries: Sequence[dict[str, Any]], sign: int) -> list[dict[str, Any]]:
    """The strongest on one side: `TOP` that are not folded, and the folded ones among them, at most as many."""
    chosen, counts = [], Counter[bool]()
    for entry in entries:
        if entry["effect"] * sign <= 0 or counts[False] == TOP:
            break
        counts[entry["folded"]] += 1
        if counts[entry["folded"]] <= TOP:
            chosen.append(entry)
    return chosen
