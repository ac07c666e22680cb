# SPDX-License-Identifier: Apache-2.0
"""The words of one text with the scores of several methods, and how far the methods agree.

Words come from the text, so that tokenizers align: a token's score goes to the word it begins in, and words that one
token covers together are one unit for every method.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..inputs.segmentation import CharSpan, assign_to_spans, trimmed, word_spans
from ..render.errors import span_error
from ..render.highlight import texts_of
from .metrics.ranking import spearman

TOP = 5


@dataclass(frozen=True, slots=True)
class ComparedWord:
    """A word of the text, [start, end) of its `sequence`, with one score a method: None where it has no token there.

    `normalised` are the scores divided by the method's largest magnitude over all words: -1 to 1; `errors` the standard
    deviations of scores that a budget of passes refined, else None.
    """

    text: str
    start: int
    end: int
    sequence: int
    scores: tuple[float | None, ...]
    normalised: tuple[float | None, ...]
    errors: tuple[float | None, ...]

    @property
    def difference(self) -> float | None:
        """The largest normalised score less the smallest, 0 to 2; None unless every method scores the word."""
        known = [value for value in self.normalised if value is not None]
        return max(known) - min(known) if len(known) == len(self.normalised) else None


@dataclass(frozen=True, slots=True)
class WordAgreement:
    """How alike two methods, by their place, score the `words` words that both of them score.

    `rank_correlation` is Spearman's rho, -1 to 1; None where one orders nothing (fewer than two words, or all alike).
    `shared_top` of the `top` words with the largest magnitudes are the same in both.
    """

    first: int
    second: int
    words: int
    rank_correlation: float | None
    top: int
    shared_top: int


def assign_words(scored: Mapping[str, Any], language: str | None = None) -> list[int | None]:
    """For each token of the form that displays draw, the word it begins in, counted over text, then its pair; None
    for special tokens and those with no place.
    """
    owners: list[int | None] = [None] * len(scored["tokens"])
    before = 0
    for sequence, text in enumerate(texts_of(scored)):
        words = word_spans(text, language)
        if words and (placed := _placed(scored, sequence)):
            indices, places = zip(*placed, strict=True)
            for index, owner in zip(indices, assign_to_spans(text, places, words), strict=True):
                owners[index] = before + owner
        before += len(words)
    return owners


def compare_words(columns: Sequence[Mapping[str, Any]], language: str | None = None) -> tuple[ComparedWord, ...]:
    """The words that any method scores, in reading order.

    Args:
        columns: the same text and pair in each, in the form that displays draw.
        language: as in `segment_words`.
    """
    texts = texts_of(columns[0])
    spans = [(sequence, *span) for sequence, text in enumerate(texts) for span in word_spans(text, language)]
    firsts = _merge(columns, spans)  # the unit of each word, by the index of its first word
    sums: list[dict[int, float]] = []
    deviations: list[dict[int, float]] = []
    for scored in columns:
        by_unit: dict[int, list[int]] = {}
        for index, owner in enumerate(assign_words(scored, language)):
            if owner is not None:
                by_unit.setdefault(firsts[owner], []).append(index)
        scores_of = [token["score"] for token in scored["tokens"]]
        sums.append({unit: math.fsum(scores_of[index] for index in tokens) for unit, tokens in by_unit.items()})
        rows = scored.get("covariance")
        deviations.append({} if rows is None else {unit: span_error(rows, tokens) for unit, tokens in by_unit.items()})
    largest = [max(map(abs, totals.values()), default=0.0) or 1.0 for totals in sums]
    words = []
    for unit in sorted(set().union(*sums)):
        last = bisect.bisect_right(firsts, unit) - 1
        sequence, start, end = spans[unit][0], spans[unit][1], spans[last][2]
        scores = tuple(totals.get(unit) for totals in sums)
        normalised = tuple(None if s is None else s / top for s, top in zip(scores, largest, strict=True))
        errors = tuple(known.get(unit) for known in deviations)
        words.append(ComparedWord(texts[sequence][start:end], start, end, sequence, scores, normalised, errors))
    return tuple(words)


def agreements(words: Sequence[ComparedWord]) -> tuple[WordAgreement, ...]:
    """Of each pair of methods, in order."""
    count = len(words[0].scores) if words else 0
    return tuple(_agreement(words, first, second) for first, second in combinations(range(count), 2))


def _agreement(words: Sequence[ComparedWord], first: int, second: int) -> WordAgreement:
    rows = [
        (a, b) for word in words if (a := word.scores[first]) is not None and (b := word.scores[second]) is not None
    ]
    sides = [[row[side] for row in rows] for side in (0, 1)]
    ordered = all(len(set(side)) > 1 for side in sides)
    tops = [_strongest(side) for side in sides]
    return WordAgreement(
        first,
        second,
        len(rows),
        spearman(*sides) if ordered else None,
        min(TOP, len(rows)),
        len(tops[0] & tops[1]),
    )


def _strongest(scores: Sequence[float]) -> set[int]:
    """The indices of the largest magnitudes, ties in reading order; a score of 0 is not strong."""
    order = sorted(range(len(scores)), key=lambda index: -abs(scores[index]))
    return {index for index in order[:TOP] if scores[index]}


def _merge(columns: Sequence[Mapping[str, Any]], spans: Sequence[tuple[int, int, int]]) -> list[int]:
    """For each word the first word of its unit: words that one token of any method covers belong together."""
    starts = [(sequence, start) for sequence, start, _ in spans]
    joined = [False] * len(spans)  # with the word before
    for sequence, text in enumerate(texts_of(columns[0])):
        places = [place for scored in columns for _, place in _placed(scored, sequence)]
        for start, end in trimmed(text, places):
            first = bisect.bisect_right(starts, (sequence, start)) - 1
            last = bisect.bisect_right(starts, (sequence, end - 1)) - 1
            joined[first + 1 : last + 1] = [True] * (last - first)
    units: list[int] = []
    for index, with_last in enumerate(joined):
        units.append(units[-1] if with_last else index)
    return units


def _placed(scored: Mapping[str, Any], sequence: int) -> list[tuple[int, CharSpan]]:
    """The index and the place of each token that lies in a text, or in its pair."""
    return [
        (index, (token["start"], token["end"]))
        for index, token in enumerate(scored["tokens"])
        if not token["special"] and token["start"] is not None and token["sequence"] == sequence
    ]
