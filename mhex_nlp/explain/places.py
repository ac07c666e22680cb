# SPDX-License-Identifier: Apache-2.0
"""Places of texts as rows of their own: what is read at their positions, and asked about them.

A place is what a text is elsewhere: it has evidence, a budget, an Explanation. It may be read at several positions
(the first sub-words of an entity's words, the start and the end of an answer), whose logits and scores are joined by a
linear map, so that base value and sum stay exact.

Axes: S subsets, P positions read, T tokens, L depths, C labels of the model, K labels explained (C but for answers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..inputs.alignment import AlignedToken
from ..inputs.encoding import TokenisedText, Window
from ..models.path_gradients import integrated_gradients
from ..models.perturbed import PerturbedModel
from .parts import Place
from .scores import Answer


@dataclass(frozen=True, slots=True)
class PlacedPart(Window):
    """One input of the model, read for one place; `mix` (P, C, K) says what is made of what is read at `reads`."""

    reads: tuple[int, ...] = ()
    mix: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0))


@dataclass(frozen=True, slots=True)
class PlacedText(TokenisedText):
    """A place in a text that is read in windows; `windows` are the `PlacedPart`s that are read for the place."""

    read_in: int = 1

    @property
    def window_count(self) -> int:
        """Those of the whole text."""
        return self.read_in

    def windows_note(self) -> str:
        """One sentence on what of a long text the scores of the place are of."""
        longest = max(len(window) for window in self.windows)
        return (
            f"Read in {self.read_in} windows of at most {longest} tokens: prediction and scores are those of the "
            "window with most around this place, and words outside of it have no score."
        )


class Reading(NamedTuple):
    """What one pass says of one input."""

    logits: Tensor  # (T, C) float32, those of an answer's start and end less their mean
    rows: dict[int, int]  # position: its row in the scores
    scores: Tensor | None  # (P, T, L, C) float32; None where no fit explains


class Part(NamedTuple):
    """What is read for a place in one input of its text."""

    number: int  # of the input
    reads: tuple[int, ...]
    mix: Tensor  # (P, C, K)


class Choice(NamedTuple):
    """A place to explain, what it is explained for, and where it is read."""

    place: Place
    answer: Answer
    parts: tuple[Part, ...]


class PlaceFinder(Protocol):
    """Chooses the places of one text."""

    item: TokenisedText
    aligned: list[AlignedToken]
    notes: list[str]  # on the text, a sentence each

    def wanted(self, number: int, logits: Tensor) -> list[int]:
        """The positions in input `number` whose scores may be needed, by its logits (T, C)."""

    def choose(self, readings: Sequence[Reading]) -> list[Choice]:
        """The places, by what was read in each input; ValueError for one that cannot be explained as asked."""


class PlacedModel:
    """Asks a model about places, which stay, as a `PerturbedModel` is asked about texts."""

    def __init__(self, perturbed: PerturbedModel) -> None:
        self._perturbed, self.removal = perturbed, perturbed.removal

    def kept_logits(self, items: Sequence[TokenisedText], subsets: Sequence[Any]) -> list[Tensor]:
        """The logits of places, `PlacedPart`s, when they and only some other tokens of their texts stay: (S, K) each.

        `subsets` are (S, N) bool of the tokens beside the place.
        """
        tensors = [torch.as_tensor(kept) for kept in subsets]
        return self._logits(items, [_with_place(item, kept) for item, kept in zip(items, tensors, strict=True)])

    def empty_logits(self, items: Sequence[TokenisedText]) -> list[Tensor]:
        """The logits of places when nothing stays, not even they: (K,) each."""
        nothing = [torch.zeros(1, len(item.content_positions(False)), dtype=torch.bool) for item in items]
        return [logits[0] for logits in self._logits(items, nothing)]

    def gradients(self, items: Sequence[TokenisedText], weights: Tensor, steps: int) -> list[Tensor] | None:
        """(N,) integrated gradients of what each place's labels, weighted by (B, K), say; the place itself stays."""
        parts = [item for item in items if isinstance(item, PlacedPart)]
        longest, labels = max(map(len, parts)), parts[0].mix.shape[1]
        by_token = torch.zeros(len(parts), longest, labels, dtype=torch.float64)
        for row, part in enumerate(parts):
            by_token[row, list(part.reads)] += part.mix.double() @ weights[row]
        return integrated_gradients(self._perturbed, parts, by_token, steps)

    def _logits(self, items: Sequence[TokenisedText], subsets: Sequence[Tensor]) -> list[Tensor]:
        """The logits of places when only some content tokens, (S, content tokens) bool, are kept: (S, K) each."""
        parts = [item for item in items if isinstance(item, PlacedPart)]
        groups: dict[tuple[int, bytes], list[int]] = {}
        for index, (part, kept) in enumerate(zip(parts, subsets, strict=True)):
            groups.setdefault((id(part.features), kept.numpy().tobytes()), []).append(index)
        chosen = list(groups.values())
        places = [sorted({read for index in group for read in parts[index].reads}) for group in chosen]
        firsts = [group[0] for group in chosen]
        answers = self._perturbed.kept_place_logits(
            [parts[index] for index in firsts], [subsets[index] for index in firsts], places
        )
        results: dict[int, Tensor] = {}
        for group, positions, values in zip(chosen, places, answers, strict=True):  # (S, P, C)
            for index in group:
                rows = [positions.index(read) for read in parts[index].reads]
                results[index] = mixed(values[:, rows].transpose(0, 1), parts[index].mix)
        return [results[index] for index in range(len(items))]


def _with_place(item: TokenisedText, kept: Tensor) -> Tensor:
    """(S, content tokens) bool of (S, N) without the place, which stays."""
    place = set(item.own_positions())
    content = item.content_positions(False)
    whole = torch.ones(len(kept), len(content), dtype=torch.bool)
    whole[:, [index for index, position in enumerate(content) if position not in place]] = kept
    return whole


def mixed(values: Tensor, mix: Tensor) -> Tensor:
    """(P, ..., C), of each position, to (..., K), by (P, C, K)."""
    return torch.einsum("p...c,pck->...k", values, mix)


def rows_of(choice: Choice, item: TokenisedText) -> TokenisedText:
    """A place as a text of its own, as far as evidence, budgets and explanations go."""
    place = choice.place
    common: dict[str, Any] = {"text": item.text, "text_pair": item.text_pair, "own": frozenset(place.tokens)}
    common["name"] = f"{item.name}, {place.text[:40]!r} at {place.start}"
    parts = []
    for number, reads, mix in choice.parts:
        source = item.inputs[number]
        positions = source.positions if isinstance(source, Window) else np.arange(len(source))
        of_input = {name: getattr(source, name) for name in ("encoding", "features", "truncated")}
        parts.append(PlacedPart(**common, **of_input, positions=positions, reads=reads, mix=mix))
    if not item.windows:
        return parts[0]
    of_text = {name: getattr(item, name) for name in ("encoding", "features", "truncated")}
    return PlacedText(**common, **of_text, windows=tuple(parts), read_in=len(item.windows))
