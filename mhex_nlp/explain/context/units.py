# SPDX-License-Identifier: Apache-2.0
"""The units of a prompt that can be removed, and the tokens of each; the tokens of a continuation, and its spans.

Axes: T tokens of the prompt, A of the continuation, N units, C spans.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ...inputs.alignment import AlignedToken, align
from ...inputs.checks import integer_or_none
from ...inputs.segmentation import CharSpan, assign_to_spans, segment_sentences, word_spans
from .parts import Unit
from .prompts import Prompt

Units = Literal["sentences", "words", "tokens"]
_KINDS: dict[str, Literal["sentence", "word", "token"]] = {
    "sentences": "sentence",
    "words": "word",
    "tokens": "token",
}


@dataclass(frozen=True, slots=True)
class ReadPrompt:
    """A prompt as tokens."""

    ids: Tensor  # (T,) int64
    units: tuple[Unit, ...]
    owners: Tensor  # (T,) int64: the number of the unit of each token, -1 for tokens that are never removed
    notes: tuple[str, ...] = ()

    def kept_tokens(self, kept_units: Tensor) -> Tensor:
        """(S, T) bool from (S, N) bool: the tokens that are there when these units are."""
        always = torch.ones(len(kept_units), 1, dtype=torch.bool)
        return torch.cat([kept_units, always], 1)[:, self.owners]


@dataclass(frozen=True, slots=True)
class ReadContinuation:
    """A continuation as tokens."""

    text: str
    ids: Tensor  # (A,) int64
    spans: tuple[CharSpan, ...]  # of its tokens, code points


def check_units(units: Any) -> Units:
    """`units`; ValueError for none that there are."""
    if units not in get_args(Units):
        raise ValueError(f"units must be one of {', '.join(map(repr, get_args(Units)))}, got {units!r}.")
    checked: Units = units
    return checked


def read_prompt(tokenizer: Any, prompt: Prompt, units: Units, language: str | None = None) -> ReadPrompt:
    """The tokens of a prompt and the units that they make up.

    A token belongs to the unit that holds its first visible code point. Never removed are the first token, which the
    others use as a sink for their attention, special tokens, and what reaches out of the user's own text.

    Raises:
        ValueError: nothing in it can be removed.
    """
    ids, tokens = tokenise_whole(tokenizer, prompt.text, add_special_tokens=not prompt.templated)
    special = set(tokenizer.all_special_ids)
    removable = [
        (index, region)
        for index, token in enumerate(tokens)
        if index
        and not token.special
        and ids[index] not in special
        and (region := _region_of(token, prompt)) is not None
    ]
    spans = _unit_spans(prompt, units, tokens, [index for index, _ in removable], language)
    owners = torch.full((len(ids),), -1)
    if spans:
        places = [_span(tokens[index]) for index, _ in removable]
        for (index, region), owner in zip(removable, assign_to_spans(prompt.text, places, spans), strict=True):
            if region[0] <= spans[owner][0] < region[1]:  # else whitespace before a region's first unit
                owners[index] = owner
    there = sorted(set(owners.tolist()) - {-1})
    if not there:
        raise ValueError(f"context must hold at least one of the {units} that can be removed, got none.")
    renumbered = torch.full((len(spans) + 1,), -1)  # its last entry is that of -1
    renumbered[there] = torch.arange(len(there))
    named = tuple(Unit(prompt.text[start:end], start, end, _KINDS[units]) for start, end in (spans[u] for u in there))
    first = tokens[0]
    kept_first = not first.special and ids[0] not in special and _region_of(first, prompt) is not None
    notes = ("The prompt's first token, which all others attend to, is never removed.",) if kept_first else ()
    return ReadPrompt(torch.tensor(ids), named, renumbered[owners], notes)


def tokenise_whole(
    tokenizer: Any, text: str, *, add_special_tokens: bool = True
) -> tuple[list[int], list[AlignedToken]]:
    """The ids of a text that is not cut, and where its tokens stand in it; none that a template puts at the end."""
    encoded = tokenizer(text, add_special_tokens=add_special_tokens, truncation=False, padding=False, verbose=False)
    tokens = align(encoded.encodings[0], text)
    count = next((index for index in range(len(tokens), 0, -1) if not tokens[index - 1].special), 0)
    return list(encoded["input_ids"])[:count], tokens[:count]


def _span(token: AlignedToken) -> CharSpan:
    return token.start or 0, token.end or 0


def _region_of(token: AlignedToken, prompt: Prompt) -> CharSpan | None:
    """The stretch of the user's own text that holds all of a token; `None` where none does, or the token is empty."""
    start, end = _span(token)
    inside = (region for region in prompt.regions if region[0] <= start < end <= region[1])
    return next(inside, None)


def _unit_spans(
    prompt: Prompt, units: Units, tokens: Sequence[AlignedToken], removable: Sequence[int], language: str | None
) -> list[CharSpan]:
    if units == "tokens":
        spans: list[CharSpan] = []
        for start, end in (_span(tokens[index]) for index in removable):
            if spans and start < spans[-1][1]:  # bytes of one code point
                spans[-1] = spans[-1][0], max(end, spans[-1][1])
            else:
                spans.append((start, end))
        return spans
    split = segment_sentences if units == "sentences" else word_spans
    return [
        (region_start + start, region_start + end)
        for region_start, region_end in prompt.regions
        if prompt.text[region_start:region_end].strip()
        for start, end in split(prompt.text[region_start:region_end], language)
    ]


def read_continuation(tokenizer: Any, prompt: Prompt, ids: Tensor, text: str) -> ReadContinuation:
    """The tokens of a given continuation of a prompt with these ids.

    Read together with the prompt, where that leaves the prompt's tokens as they are; else by itself.
    """
    joint, tokens = tokenise_whole(tokenizer, prompt.text + text, add_special_tokens=not prompt.templated)
    count, before = len(ids), len(prompt.text)
    if joint[:count] != ids.tolist() or any(start < before < end for start, end in map(_span, tokens)):
        joint, tokens = tokenise_whole(tokenizer, text, add_special_tokens=False)
        count = before = 0
    spans = [(start - before, end - before) for start, end in map(_span, tokens[count:])]
    return ReadContinuation(text, torch.tensor(joint[count:]), tuple((max(s, 0), max(e, 0)) for s, e in spans))


def read_generated(tokenizer: Any, prompt: Prompt, ids: Tensor, generated: Tensor) -> ReadContinuation:
    """The tokens that a model wrote after a prompt with these ids, and where they stand in its text."""

    def decode(tokens: Tensor) -> str:
        return str(tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    before = decode(ids)
    if not decode(torch.cat([ids, generated])).startswith(before):  # else a first space would be lost
        ids, before = ids[:0], ""
    text = decode(torch.cat([ids, generated]))[len(before) :]
    read = read_continuation(tokenizer, prompt, ids, text) if len(ids) and text else None
    if read is not None and read.ids.tolist() == generated.tolist():
        return read
    ends = [0]
    for count in range(1, len(generated) + 1):
        part = decode(torch.cat([ids, generated[:count]]))[len(before) :]
        ends.append(max(ends[-1], len(os.path.commonprefix([part, text]))))
    return ReadContinuation(text, generated, tuple(itertools.pairwise(ends)))


def spans_of(read: ReadContinuation, span: Any, language: str | None = None) -> tuple[list[CharSpan], Tensor]:
    """The spans to be explained, those asked for or else the sentences, and (A, C) float64, 1 for tokens of a span.

    A token belongs to a span that holds its first visible code point. With sentences every token belongs to one.

    Raises:
        TypeError, ValueError: a span that is no part of the continuation, or that no token begins in.
    """
    spans = segment_sentences(read.text, language) if span is None else given_spans(read.text, span)
    members = torch.zeros(len(read.ids), len(spans), dtype=torch.float64)
    if span is None:
        members[range(len(read.ids)), assign_to_spans(read.text, read.spans, spans)] = 1
        there = members.any(0)
        return [place for place, held in zip(spans, there.tolist(), strict=True) if held], members[:, there]
    for index, (start, end) in enumerate(read.spans):
        visible = next((at for at in range(start, end) if not read.text[at].isspace()), start)
        members[index] = torch.tensor([float(first <= visible < last) for first, last in spans])
    if not members.any(0).all():
        empty = spans[int((~members.any(0)).nonzero()[0])]
        raise ValueError(f"span must hold the beginning of at least one token of the continuation, got {empty}.")
    return spans, members


def given_spans(text: str, span: Any) -> list[CharSpan]:
    """The spans of a continuation that are asked for, code points: one, or several.

    Raises:
        TypeError, ValueError: a span that is no part of the continuation.
    """
    several = [span] if isinstance(span, Sequence) and span and not isinstance(span[0], Sequence) else span
    expected = "span must be a pair (start, end) of code points, or a list of such"
    if not isinstance(several, Sequence) or not several:
        raise TypeError(f"{expected}, got {span!r:.60}.")
    checked = []
    for pair in several:
        numbers = [integer_or_none(end) for end in pair] if isinstance(pair, Sequence) else []
        if len(numbers) != 2 or None in numbers:
            raise TypeError(f"{expected}, got {pair!r:.60}.")
        start, end = (number or 0 for number in numbers)
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            raise ValueError(
                f"span must lie in the continuation, from 0 to {len(text)}, and hold some of its text, got "
                f"({start}, {end})."
            )
        checked.append((start, end))
    return checked
