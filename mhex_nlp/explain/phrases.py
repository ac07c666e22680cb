# SPDX-License-Identifier: Apache-2.0
"""Phrases: runs of words that score highest together, and the noun chunks of a grammar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..inputs.syntax import parsed_phrases
from .parts import Span, Token
from .sums import segment_owners, sum_by_owner

if TYPE_CHECKING:
    from spacy.language import Language


def scored_runs(words: Sequence[Span], tokens: Sequence[Token], sources: Sequence[str]) -> list[Span]:
    """The `maximal_runs` of the words of each source, in reading order."""
    runs = []
    for sequence, source in enumerate(sources):
        source_words = [word for word in words if word.sequence == sequence]
        for first, stop in maximal_runs([word.score for word in source_words]):
            run = source_words[first:stop]
            start, end = run[0].start, max(word.end for word in run)
            indices = tuple(index for word in run for index in word.tokens)
            score = math.fsum(tokens[index].score for index in indices)
            runs.append(Span(source[start:end], start, end, sequence, score, indices))
    return runs


def sum_by_phrase(tokens: Sequence[Token], sources: Sequence[str], nlp: Language) -> tuple[Span, ...]:
    """One `Span` a phrase of the grammar of `nlp`; the first token of a word decides the phrase of all of it."""
    owners = segment_owners(tokens, sources, lambda text: parsed_phrases(nlp, text))
    phrase_of_word: dict[tuple[int | None, int | None], int | None] = {}
    words = [(token.sequence, token.word) for token in tokens]
    phrases = [phrase_of_word.setdefault(word, owner) for word, owner in zip(words, owners, strict=True)]
    return sum_by_owner(tokens, sources, phrases)


def maximal_runs(scores: Sequence[float]) -> list[tuple[int, int]]:
    """All maximal scoring subsequences [start, stop) of `scores`, in order; no two of them overlap or touch.

    The best of them is the run of the greatest sum there is; the others are what the same search finds in what is left
    on either side of it, and so on. Each begins and ends with a positive score; without a positive score there is none.
    Linear time (Ruzzo & Tompa 1999, "A linear time algorithm for finding all maximal scoring subsequences").
    """
    candidates: list[tuple[int, int]] = []
    before: list[float] = []  # the sum of all scores before each candidate
    after: list[float] = []  # the sum of all scores up to its end
    lower: list[int] = []  # the nearest candidate to the left with a smaller sum before it; -1: there is none
    total = 0.0
    for index, score in enumerate(scores):
        left, total = total, total + score
        if score <= 0:
            continue
        start = index
        while True:
            other = len(candidates) - 1
            while other >= 0 and before[other] >= left:
                other = lower[other]
            if other < 0 or after[other] >= total:
                break
            start, left = candidates[other][0], before[other]
            for values in (candidates, before, after, lower):
                del values[other:]
        candidates.append((start, index + 1))
        before.append(left)
        after.append(total)
        lower.append(other)
    return candidates
