# SPDX-License-Identifier: Apache-2.0
"""Which words of a text are its entities, by what a token classifier says at their first sub-words.

Axes: W words, T tokens, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..inputs.encoding import TokenisedText, Window
from ..inputs.segmentation import group_tokens
from .assemble import align_item
from .parts import Place
from .places import Choice, Part, Reading
from .request import Request
from .scores import Answer
from .tags import OUTSIDE, TagTable


class _Word(NamedTuple):
    start: int
    end: int
    tokens: tuple[int, ...]
    home: int  # the input that it is read in
    position: int  # of its first token there


class EntityFinder:
    """Finds the places of one text: its entities, its words, or the spans that `request.at` names.

    A word is read where its first token is, in the window that has most around it; later tokens of words were never
    labelled. An entity of k words has the mean of its words' logits, each with the labels of its prefix in the place of
    those of the first word's (`TagTable.swapped`).
    """

    def __init__(self, item: TokenisedText, request: Request, tags: TagTable) -> None:
        self.item, self.request, self.tags = item, request, tags
        self.aligned = align_item(item, request.language)
        self.notes: list[str] = []
        groups = group_tokens(self.aligned, [token.word for token in self.aligned], item.sources)
        homes = _homes(item)
        self._words = [_Word(group.start, group.end, group.tokens, *homes[group.tokens[0]]) for group in groups]
        self._spans = None if request.at in (None, "all") else [self._words_in(*span) for span in request.at]

    def _words_in(self, start: int, end: int) -> tuple[int, int]:
        """The words [first, stop) that a span of code points touches."""
        touched = [n for n, word in enumerate(self._words) if word.start < end and start < word.end]
        if not touched or end > len(self.item.text):
            raise ValueError(
                f"at must be a span of {self.item.name} that holds a word, which has {len(self.item.text)} characters"
                f"{' and is cut' if self.item.truncated else ''}, got ({start}, {end})."
            )
        return touched[0], touched[-1] + 1

    def wanted(self, number: int, logits: Tensor) -> list[int]:
        """The positions of the words in this input that an explanation may be of."""
        words = [(n, word) for n, word in enumerate(self._words) if word.home == number]
        if self._spans is not None:
            words = [(n, word) for n, word in words if any(first <= n < stop for first, stop in self._spans)]
        positions = [word.position for _, word in words]
        if self.request.at is not None or not positions:
            return positions
        labels = logits[positions].argmax(-1).tolist()
        return [at for at, label in zip(positions, labels, strict=True) if label != self.tags.outside]

    def choose(self, readings: Sequence[Reading]) -> list[Choice]:
        """The places in reading order; those that would be held against themselves are left out, with a note."""
        said = [readings[word.home].logits[word.position] for word in self._words]
        ids = [int(logits.argmax()) for logits in said]
        runs = self.tags.runs(ids, self._joined()) if self.tags.outside is not None else []
        if self.request.at == "all":
            return self._without_self([self._choice([n], ids, ids[n], said) for n in range(len(ids))])
        if self._spans is None:
            places = [self._choice(range(*run), ids, ids[run[0]], said) for run in runs]
            if not places:
                self.notes.append("The model finds no entity in this text.")
            return self._without_self(places)
        return self._without_self(
            [self._choice(range(*span), ids, ids[span[0]] if span in runs else None, said) for span in self._spans]
        )

    def _joined(self) -> list[bool]:
        """(W,): whether no space separates a word from the one before, and one of the two is no letter or digit."""
        text, joined = self.item.text, [False]
        for before, word in zip(self._words, self._words[1:], strict=False):
            letters = (text[one.start : one.end].isalnum() for one in (before, word))
            joined.append(before.end == word.start and not all(letters))
        return joined

    def _choice(self, run: Sequence[int], ids: Sequence[int], predicted: int | None, said: Sequence[Tensor]) -> Choice:
        """The place of these words; without `predicted` its label is the one with the largest mean logit."""
        tags = [self.tags.tags[ids[n]] for n in run]
        first = self.tags.first_prefix() if tags[0].type == OUTSIDE else tags[0].prefix
        inside = self.tags.inside(first)
        prefixes = [first, *(inside if tag.type == OUTSIDE else tag.prefix for tag in tags[1:])]
        columns = dict(zip(run, (self.tags.swapped(first, prefix) for prefix in prefixes), strict=True))
        parts = []
        for home in dict.fromkeys(self._words[n].home for n in run):
            members = [n for n in run if self._words[n].home == home]
            mix = torch.zeros(len(members), len(self.tags.labels), len(self.tags.labels))
            for row, n in enumerate(members):
                mix[row, columns[n], range(len(columns[n]))] = 1 / len(members)
            parts.append(Part(home, tuple(self._words[n].position for n in members), mix))
        if predicted is None:
            values = torch.stack([said[n][columns[n]] for n in run]).mean(0)
            predicted = int(values.argmax())
        words = [self._words[n] for n in run]
        start, end = words[0].start, words[-1].end
        tokens = tuple(sorted(token for word in words for token in word.tokens))
        place = Place(self.item.text[start:end], start, end, 0, self.tags.tags[predicted].type, tokens)
        target, foil = (
            name if kind is None else self.tags.id_of_type(kind, first)
            for name, kind in zip((self.request.target, self.request.foil), self.request.types, strict=True)
        )
        return Choice(place, Answer(predicted, predicted if target is None else target, foil), tuple(parts))

    def _without_self(self, choices: list[Choice]) -> list[Choice]:
        """Those whose foil is another class than their target."""
        kept = [choice for choice in choices if choice.answer.target != choice.answer.foil]
        for choice in choices:
            if choice.answer.target == choice.answer.foil:
                place, label = choice.place, self.tags.labels[choice.answer.target]
                where = f"{place.text!r} at {place.start} of {self.item.name}"
                if self._spans is not None:
                    raise ValueError(f"foil must be another class than the target, got {label!r} for both at {where}.")
                self.notes.append(f"Left out: {where}, whose label is the foil {label}.")
        return kept


def _homes(item: TokenisedText) -> dict[int, tuple[int, int]]:
    """For each content token of a text the input with most tokens around it, and its position there."""
    homes: dict[int, tuple[float, int, int]] = {}
    last = len(item.inputs) - 1
    for number, part in enumerate(item.inputs):
        content = part.content_positions(causal=False)
        places = part.positions.tolist() if isinstance(part, Window) else list(range(len(part)))
        for rank, position in enumerate(content):
            left = inf if number == 0 else rank
            around = min(left, inf if number == last else len(content) - 1 - rank)
            if places[position] not in homes or homes[places[position]][0] < around:
                homes[places[position]] = around, number, position
    return {token: (number, position) for token, (_, number, position) in homes.items()}


def check_at(at: Any, single: bool) -> Any:
    """The places of a call: None, "all", or a tuple of [start, end).

    Raises:
        TypeError, ValueError: something else, a span that is empty or begins before the text, spans for many texts.
    """
    if at is None or isinstance(at, str) and at == "all":
        return at
    spans = [at] if isinstance(at, tuple | list) and len(at) == 2 and all(isinstance(x, Integral) for x in at) else at
    expected = "at must be None, 'all', a span (start, end) of code points, or a list of such spans"
    if isinstance(spans, str) or not isinstance(spans, tuple | list):
        raise TypeError(f"{expected}, got {at!r:.60}.")
    for span in spans:
        if not isinstance(span, tuple | list) or len(span) != 2 or not all(isinstance(x, Integral) for x in span):
            raise TypeError(f"{expected}, got {span!r:.60}.")
        if not 0 <= span[0] < span[1]:
            raise ValueError(f"at must be a span (start, end) with 0 <= start < end, got {tuple(span)}.")
    if not spans:
        raise ValueError(f"{expected}, got none.")
    if not single:
        raise ValueError(f"at must be None or 'all' for many texts, whose spans differ, got {at!r:.60}.")
    return tuple(sorted((int(start), int(end)) for start, end in spans))
