# SPDX-License-Identifier: Apache-2.0
"""Is there a spurious word: words that push where the gold labels do not follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .seen import Bounded, SeenText, name_example, wilson

TOP = 20
FEWEST = 5  # labelled texts in which the word is strong


class Pushes:
    """By class and word: where the word is strong and pushes towards the class, how often the gold label is it."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        # labelled texts, right (the label is the class), wrong (the prediction is not the label), evidence, examples
        self.table: Bounded[tuple[str, str]] = Bounded(lambda: [0, 0, 0, 0.0, []])
        self.labelled: Counter[str] = Counter()
        self.right: Counter[str] = Counter()

    def add(self, text: SeenText) -> None:
        """Counts a text; one without a label has nothing to disagree with."""
        if text.wrong is None:
            return
        for word, towards, share in text.pushes(self.labels):
            right = text.gold == towards
            row = self.table.row((towards, word))
            row[0] += 1
            row[1] += right
            row[2] += text.wrong
            row[3] += share
            self.labelled[towards] += 1
            self.right[towards] += right
            if not right:
                name_example(row[4], text)

    def rightly(self, towards: str, word: str) -> tuple[int, int]:
        """In how many texts a strong word pushes towards a class rightly, and of how many."""
        row = self.table.get((towards, word))
        return (0, 0) if row is None else (row[1], row[0])

    def report(self, error_rate: float, top: int = TOP) -> list[dict[str, Any]]:
        """Words by how far push and gold disagree, largest first.

        That is the share of its texts' evidence that the word carries, times the share of gold labels that strong words
        of the class have in general less the upper end of the word's own (Wilson, 95 %): a word is far up where it
        weighs much and the labels surely do not follow it, and not where it came seldom.
        """
        fewest = max(FEWEST, self.table.lost + 1)
        entries = [
            self._entry(towards, word, row, error_rate)
            for (towards, word), row in self.table.items()
            if row[0] >= fewest
        ]
        return sorted(entries, key=lambda entry: (-entry["disagreement"], entry["word"], entry["towards"]))[:top]

    def _entry(self, towards: str, word: str, row: Sequence[Any], error_rate: float) -> dict[str, Any]:
        labelled, right, wrong, shares, examples = row
        expected = self.right[towards] / self.labelled[towards]
        low, high = wilson(right, labelled)
        share = shares / labelled
        return {
            "word": word,
            "towards": towards,
            "texts": labelled,
            "evidence": share,
            "gold": right / labelled,
            "low": low,
            "high": high,
            "expected": expected,
            "error": wrong / labelled,
            "lift": wrong / labelled / error_rate if error_rate else None,
            "disagreement": share * (expected - high),
            "examples": list(examples),
        }
