# SPDX-License-Identifier: Apache-2.0
"""What a report counts of one text, tables that do not grow with the corpus, and the interval of a share."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...explain.explanation import Explanation
from ...explain.parts import Span

K = TypeVar("K")

MOST = 100_000  # rows of a table
EXAMPLES = 4  # texts named beside a row
STRONG = 0.5  # a word is strong whose score is that much of the largest of its text
Z = 1.96  # of 95 % intervals

_SYMBOLS = ("Sm", "Sc", "Sk")  # not So: an emoji speaks

# English words that join others: they are folded away, and shown on request. Negations are not among them.
_FUNCTION_WORDS = frozenset(
    """
    a about after again all also am an and any are as at be because been before being between both but by can could did
    do does doing down during each else even ever for from further had has have having he her here hers herself him
    himself his how i if in into is it its itself just like may me might more most much must my myself of off on once
    one only or other our ours ourselves out over own rather same shall she should so some still such than that the
    their theirs them themselves then there these they this those through to too under until up upon us very was we were
    what when where which while who whom whose why will with would yet you your yours yourself yourselves
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class SeenText:
    """One text as the report counts it: `number` in the input, on the page of that number.

    `words` are its words, case-folded, each with the sum of its scores for `target` in the text; `length` is in words;
    `off` is |value - right value| of a regression.
    """

    number: int
    page: int
    target: str
    predicted: str | None
    gold: str | None
    probability: float | None
    words: dict[str, float]
    length: int
    slices: tuple[str, ...] = ()
    off: float | None = None

    @property
    def wrong(self) -> bool | None:
        """Whether the prediction is not the right class, where that is known."""
        return None if self.gold is None or self.predicted is None else self.gold != self.predicted

    @property
    def place(self) -> tuple[int, int]:
        """What links to the text: its number and page."""
        return self.number, self.page

    def pushes(self, labels: Sequence[str]) -> Iterator[tuple[str, str, float]]:
        """The strong words, the class that each pushes towards, and its share of the evidence of all words.

        With two classes what speaks against one speaks for the other; with more it names none.
        """
        sizes = [abs(score) for score in self.words.values()]
        largest, whole = max(sizes, default=0.0), math.fsum(sizes)
        other = next((label for label in labels if label != self.target), None) if len(labels) == 2 else None
        for word, score in self.words.items():
            towards = self.target if score > 0 else other
            if largest > 0 and abs(score) >= STRONG * largest and towards is not None:
                yield word, towards, abs(score) / whole


class Bounded(dict[K, list[Any]], Generic[K]):
    """Rows of counts by key, of which the first is how often the key came.

    Where there are too many, the half that came least is dropped (lossy counting: Manku and Motwani, 2002), and `lost`
    is the most that a count may be short of.
    """

    def __init__(self, zeros: Callable[[], list[Any]], most: int | None = None) -> None:
        super().__init__()
        self.zeros, self.most, self.lost = zeros, MOST if most is None else most, 0

    def row(self, key: K) -> list[Any]:
        """The row of a key, new where it has none."""
        row = self.get(key)
        if row is None:
            if len(self) >= self.most:
                self._halve()
            row = self[key] = self.zeros()
        return row

    def _halve(self) -> None:
        order = sorted(self.items(), key=lambda entry: -entry[1][0])
        self.lost += order[self.most // 2][1][0]
        self.clear()
        self.update(order[: self.most // 2])


def words_beside(explanation: Explanation) -> list[Span]:
    """The words of a text, without those of a place explained."""
    of_place = set() if explanation.place is None else set(explanation.place.tokens)
    return [word for word in explanation.words() if not of_place & set(word.tokens)]


def sum_by_word(words: Iterable[Span]) -> dict[str, float]:
    """The sum of the scores of each word, case-folded."""
    sums: dict[str, float] = {}
    for word in words:
        name = word.text.casefold()
        sums[name] = sums.get(name, 0.0) + word.score
    return sums


def is_folded(word: str) -> bool:
    """Whether a case-folded word is a function word, a single letter, or holds neither letter nor digit."""
    if word in _FUNCTION_WORDS or len(word) == 1 and word.isascii():
        return True
    categories = map(unicodedata.category, word)
    return all(category[0] in "PZC" or category in _SYMBOLS for category in categories)


def wilson(count: float, of: float, z: float = Z) -> tuple[float, float]:
    """The interval of a share, by Wilson's score (1927): 0 to 1 where nothing was counted."""
    if not of:
        return 0.0, 1.0
    share, scale = count / of, 1 + z * z / of
    middle = (share + z * z / (2 * of)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def name_example(examples: list[tuple[int, int]], text: SeenText) -> None:
    """Adds a text to the few that are named beside a row."""
    if len(examples) < EXAMPLES:
        examples.append(text.place)
