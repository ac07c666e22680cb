# SPDX-License-Identifier: Apache-2.0
"""Token scores summed over words, sentences and whatever else owns tokens.

In all of them `tokens` are the T tokens of an explanation and `sources` its text, or both halves of its pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..inputs.checks import as_integer
from ..inputs.segmentation import CharSpan, assign_to_spans, group_tokens
from .parts import Span, Token

if TYPE_CHECKING:
    from spacy.language import Language

Segmenter = Callable[[str], Sequence[CharSpan]]


def sum_by_owner(tokens: Sequence[Token], sources: Sequence[str], owners: Sequence[int | None]) -> tuple[Span, ...]:
    """One `Span` an owner, in order; spans end where the next begins. `owners` are (T,), `None` for special tokens."""
    return tuple(
        Span(
            sources[group.sequence][group.start : group.end],
            group.start,
            group.end,
            group.sequence,
            math.fsum(tokens[index].score for index in group.tokens),
            group.tokens,
        )
        for group in group_tokens(tokens, owners, sources)
    )


def sum_by_segment(tokens: Sequence[Token], sources: Sequence[str], segment: Segmenter) -> tuple[Span, ...]:
    """One `Span` for each segment of a source that has tokens, in order."""
    return sum_by_owner(tokens, sources, segment_owners(tokens, sources, segment))


def segment_owners(tokens: Sequence[Token], sources: Sequence[str], segment: Segmenter) -> list[int | None]:
    """(T,): the number, within its source, of the segment that owns each token; `None` for special tokens."""
    owners: list[int | None] = [None] * len(tokens)
    for sequence, source in enumerate(sources):
        indices = [index for index, token in enumerate(tokens) if token.sequence == sequence]
        if indices:
            offsets = [(tokens[index].start or 0, tokens[index].end or 0) for index in indices]
            segments = segment(source) or [(0, len(source))]
            for index, owner in zip(indices, assign_to_spans(source, offsets, segments), strict=True):
                owners[index] = owner
    return owners


def highest(spans: Iterable[Span], k: int | None, *, magnitudes: bool = False) -> tuple[Span, ...]:
    """The k spans (`None`: all) with the largest scores, or magnitudes of scores; ties in their order."""
    return tuple(sorted(spans, key=lambda span: -abs(span.score) if magnitudes else -span.score)[:k])


def check_count(k: int | None) -> None:
    """ValueError for what is neither an integer of 0 and more nor `None`."""
    if k is not None:
        as_integer(k, "k", at_least=0)


def check_no_language(language: str | None, nlp: Language) -> None:
    if language is not None:
        raise ValueError(
            f"language and nlp exclude each other, got language={language!r} and a pipeline for {nlp.lang!r}"
        )
