# SPDX-License-Identifier: Apache-2.0
"""Labels of single words read as entities: B-PER I-PER and its kin (IOB, BILOU, IOBES), or types without prefixes.

Axes: W words, C labels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

OUTSIDE = "O"
_TAG = re.compile(r"([BILUESM])[-_](.+)", re.DOTALL)
_BEGINS, _ENDS = "BUS", "LEUS"  # prefixes that begin a run whatever stands before, and that end theirs


class Tag(NamedTuple):
    """What a label says: `prefix` is "" where labels have none, `type` "O" outside of entities."""

    prefix: str
    type: str


class TagTable:
    """The labels of a token classifier, by id, read as tags.

    `outside` is the id of O. Prefixes count only where all labels but O have one: "B-cell" among other names is a type.
    """

    def __init__(self, labels: Sequence[str], outside: int | None = None) -> None:
        self.labels, self.outside = tuple(labels), outside
        matches = {label: _TAG.fullmatch(label) for index, label in enumerate(labels) if index != outside}
        self.prefixed = bool(matches) and all(matches.values())
        tags = [
            Tag(match[1], match[2]) if self.prefixed and (match := matches.get(label)) else Tag("", label)
            for label in labels
        ]
        self.tags = tuple(Tag("", OUTSIDE) if index == outside else tag for index, tag in enumerate(tags))
        self._ids = {tag: index for index, tag in enumerate(self.tags)}

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The types of entities, in the order of the labels."""
        return tuple(dict.fromkeys(tag.type for tag in self.tags if tag.type != OUTSIDE))

    def check_outside(self) -> None:
        """ValueError where nothing says which words are no entity."""
        if self.outside is None:
            shown = ", ".join(self.labels[:6]) + (" and more" if len(self.labels) > 6 else "")
            raise ValueError(
                f"labels must have an O for words outside of entities, to find these, got {shown}; explain single "
                "words with at='all' or at=(start, end)."
            )

    def runs(self, ids: Sequence[int], joined: Sequence[bool]) -> list[tuple[int, int]]:
        """The entities [first, stop) of W words with these labels, in order.

        A run begins at B (or U, S), at another type, and behind a run that ended (L, E). Labels that are inside of
        nothing begin a run, as in IOB. `joined` tells where no space separates a word from the one before and one of
        the two is no letter or digit, so that both may be one word to the model ("U.S."): there B goes on as well.
        """
        runs: list[tuple[int, int]] = []
        ended = True
        for index, label in enumerate(ids):
            tag = self.tags[label]
            if tag.type == OUTSIDE:
                ended = True
                continue
            begins = tag.prefix in _BEGINS if tag.prefix else False
            if ended or tag.type != self.tags[ids[index - 1]].type or begins and not joined[index]:
                runs.append((index, index + 1))
            else:
                runs[-1] = (runs[-1][0], index + 1)
            ended = tag.prefix in _ENDS if tag.prefix else False
            ended = ended and not (index + 1 < len(joined) and joined[index + 1])
        return runs

    def inside(self, prefix: str) -> str:
        """The prefix of words further inside a run whose first word has `prefix`."""
        prefixes = {tag.prefix for tag in self.tags}
        return next((other for other in ("I", "M") if other in prefixes), prefix) if prefix else ""

    def first_prefix(self) -> str:
        """That of the first word of an entity; "" without prefixes."""
        prefixes = {tag.prefix for tag in self.tags}
        return next((prefix for prefix in ("B", "I") if prefix in prefixes), "") if self.prefixed else ""

    def swapped(self, first: str, later: str) -> list[int]:
        """(C,) where to read each label at a word with the prefix `later` in a run whose first word has `first`.

        Labels of the two prefixes change places, for all types that have both, so that a label means the same for every
        word of the run: at a word predicted I-PER in a run that begins with B-PER, "B-PER" reads I-PER.
        """
        columns = []
        for index, tag in enumerate(self.tags):
            other = {first: later, later: first}.get(tag.prefix, tag.prefix)
            columns.append(self._ids.get(Tag(other, tag.type), index) if first != later else index)
        return columns

    def id_of_type(self, name: str, prefix: str) -> int | None:
        """The label of a type for a run whose first word has the prefix, or its first label; `None` for no type."""
        if name not in self.types:
            return None
        fitting = self._ids.get(Tag(prefix, name))
        return next(index for index, tag in enumerate(self.tags) if tag.type == name) if fitting is None else fitting
