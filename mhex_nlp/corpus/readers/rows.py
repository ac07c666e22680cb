# SPDX-License-Identifier: Apache-2.0
"""The rows of a source, one after the other and each exactly once: what they are, and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...inputs.texts import repair_surrogates

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source.

    Args:
        number: zero-based, in the source; every row counts, those with a problem too.
        id: the cell of the id column as a string; the number where there is no such column or cell.
        text: the text, without lone surrogates; "" where there is a problem.
        text_pair: a pair's second half.
        label: the cell of the label column; `None` where there is no such column or cell.
        problem: why the row cannot be explained, in one sentence.
    """

    number: int
    id: str
    text: str
    text_pair: str | None
    label: str | int | None
    problem: str | None = None


class RowSource(ABC):
    """Rows that can be read from the start again and again (standard input once), in constant memory.

    Args:
        name: what to call it; no path of this machine.
        identity: what tells two sources apart before they are read, as JSON.
        total: how many rows there are, where that is known without reading them.
    """

    def __init__(self, name: str, identity: Mapping[str, Any], total: int | None = None) -> None:
        self.name, self.total = name, total
        self.identity: dict[str, Any] = {"name": name, **identity}

    @abstractmethod
    def read(self, start: int = 0) -> Iterator[Row]:
        """All rows, numbered from `start`.

        Raises:
            ValueError: the source cannot be read on; the sentence says why.
        """

    @abstractmethod
    def share_read(self) -> float | None:
        """How much of the source the running pass has read, from 0 to 1; `None` where nobody knows."""

    def __iter__(self) -> Iterator[Row]:
        return self.read()

    def check(self) -> bool:
        """Whether there is a row; ValueError where a column is not there."""
        return next(self.read(), None) is not None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a source that make a row, by their names in the source."""

    text: str
    text_pair: str | None = None
    id: str | None = None
    label: str | None = None

    @property
    def names(self) -> list[str]:
        """Those that are read, each once."""
        return list(dict.fromkeys(name for _, name in self._given()))

    def check(self, there: Sequence[str], source: str) -> None:
        """ValueError where one is not among those `there`, or is there twice; it names the argument and the source."""
        for argument, name in self._given():
            if name not in there:
                raise ValueError(f"{argument} must name a column of {source!r}, got {name!r}; it has {_listed(there)}.")
            if list(there).count(name) > 1:
                raise ValueError(f"{argument} must name one column of {source!r}, got {name!r}, which it has twice.")

    def row(self, number: int, cells: Mapping[str, Any]) -> Row:
        """The row of these cells; one that is not there is empty."""
        halves: list[Any] = [cells.get(name) for name in (self.text, self.text_pair) if name is not None]
        problem = row_problem(halves)
        name, label = (
            _id(cells.get(self.id)) if self.id else None,
            _label(cells.get(self.label)) if self.label else None,
        )
        if problem is not None:
            return self.problem_row(number, problem, name, label)
        return Row(
            number,
            str(number) if name is None else name,
            repair_surrogates(halves[0]),
            repair_surrogates(halves[1]) if len(halves) > 1 else None,
            label,
        )

    @staticmethod
    def problem_row(number: int, problem: str, name: str | None = None, label: str | int | None = None) -> Row:
        """A row that cannot be explained."""
        return Row(number, str(number) if name is None else name, "", None, label, problem)

    def _given(self) -> list[tuple[str, str]]:
        named = {"text": self.text, "text_pair": self.text_pair, "id": self.id, "label": self.label}
        return [(f"{ours}_column", theirs) for ours, theirs in named.items() if theirs is not None]


def text_problem(value: Any, name: str = "the text") -> str | None:
    """Why a cell is no text that can be explained, in one sentence; `None` where it is one."""
    if value is None:
        return f"{name} is missing"
    if not isinstance(value, str):
        return f"{name} must be a string, got {value!r:.80}"
    return None if value.strip() else f"{name} is empty"


def row_problem(halves: Sequence[Any]) -> str | None:
    """The first problem of a text, or of a pair's two halves; `None` where there is none."""
    found = map(text_problem, halves, ("the text", "the second text"))
    return next((problem for problem in found if problem is not None), None)


def _id(cell: Any) -> str | None:
    if cell is None or cell == "":
        return None
    return repair_surrogates(cell) if isinstance(cell, str) else str(cell)


def _label(cell: Any) -> str | int | None:
    if cell is None or cell == "" or cell != cell:  # the last: NaN, which pandas writes for an empty cell
        return None
    if isinstance(cell, str):
        return repair_surrogates(cell)
    if isinstance(cell, int):
        return cell
    if isinstance(cell, float) and cell.is_integer():  # a column of integers that had an empty cell
        return int(cell)
    return str(cell)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
