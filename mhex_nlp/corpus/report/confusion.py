# SPDX-License-Identifier: Apache-2.0
"""Why: for each kind of mistake the words that pushed to the wrong class, and how often they do so rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .seen import Bounded, SeenText, name_example
from .spurious import Pushes

CELLS, WORDS = 12, 8


class ConfusedWords:
    """By right class, predicted class and word: where the word is strong and pushed to the wrong prediction."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.table: Bounded[tuple[str, str, str]] = Bounded(lambda: [0, 0.0, []])

    def add(self, text: SeenText) -> None:
        """Counts a text whose prediction is wrong."""
        if not text.wrong or text.gold is None or text.predicted is None:
            return
        for word, towards, share in text.pushes(self.labels):
            if towards == text.predicted:
                row = self.table.row((text.gold, towards, word))
                row[0] += 1
                row[1] += share
                name_example(row[2], text)

    def report(self, confusion: Mapping[str, Mapping[str, int]], pushes: Pushes) -> list[dict[str, Any]]:
        """The most frequent mistakes, each with its words by the evidence that they carried in its texts."""
        mistakes = [
            (count, gold, predicted)
            for gold, row in confusion.items()
            for predicted, count in row.items()
            if gold != predicted and count
        ]
        mistakes.sort(key=lambda mistake: (-mistake[0], *mistake[1:]))
        chosen = {(gold, predicted): count for count, gold, predicted in mistakes[:CELLS]}
        words: dict[tuple[str, str], list[tuple[str, list[Any]]]] = {cell: [] for cell in chosen}
        for (gold, predicted, word), row in self.table.items():
            if (gold, predicted) in words:
                words[gold, predicted].append((word, row))
        return [
            {
                "gold": gold,
                "predicted": predicted,
                "texts": count,
                "words": [
                    _entry(word, row, *pushes.rightly(predicted, word))
                    for word, row in sorted(words[gold, predicted], key=lambda entry: (-entry[1][1], entry[0]))[:WORDS]
                ],
            }
            for (gold, predicted), count in chosen.items()
        ]


def _entry(word: str, row: Sequence[Any], right: int, of: int) -> dict[str, Any]:
    texts, shares, examples = row
    return {"word": word, "texts": texts, "evidence": shares / texts, "right": right, "of": of, "examples": examples}
