# SPDX-License-Identifier: Apache-2.0
"""The rows of a source, one after the other and each exactly once: what they are, and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...inputs.checks import as_integer
from ...inputs.texts import repair_surrogates

MAX_CHARACTERS = 1_000_000  # of a text
_OTHERS = 1 << 16  # bytes of a row beside its texts that are always let in

# how problems call the columns
_PARTS = {"the text": "text", "the second text": "text_pair", "the label": "label", "the image": "image"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source.

    Args:
        number: zero-based, in the source; every row counts, those with a problem too.
        id: the cell of the id column as a string; the number where there is no such column or cell.
        text: the text, without lone surrogates; "" where there is a problem.
        text_pair: a pair's second half.
        label: the cell of the label column, of a ClassLabel column the name; `None` where there is no such column or
            cell.
        problem: why the row cannot be explained, in one sentence.
        rationale: the cell of the rationale column as it stands in the source.
        image: of a source of images, what `load_image` takes: {"bytes", "path"}.
    """

    number: int
    id: str
    text: str
    text_pair: str | None
    label: str | int | None
    problem: str | None = None
    rationale: Any = None
    image: Any = None


class RowSource(ABC):
    """Rows that can be read from the start again and again (standard input once), in constant memory.

    Args:
        name: what to call it; no path of this machine.
        shown: what a sentence calls it.
        identity: what tells two sources apart before they are read, as JSON.
        columns: those that make a row.
        total: how many rows there are, where that is known without reading them.
    """

    _checked = True  # False where only the first row tells which columns there are
    label_names: tuple[str, ...] | None = None  # of a label column that is a ClassLabel, in id order

    def __init__(
        self, name: str, shown: str, identity: Mapping[str, Any], columns: RowColumns, total: int | None = None
    ) -> None:
        self.name, self.columns, self.total, self._shown = name, columns, total, shown
        self.identity: dict[str, Any] = {"name": name, **identity}
        self._extent = total  # in rows; of a file that is read line by line in bytes
        self._done = 0  # of the extent

    @abstractmethod
    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        """The cells of each row, or what is wrong with it; notes in `_done` how much of the extent is read."""

    def entries(self) -> Iterator[Mapping[str, Any] | str]:
        """The cells of each row by column, or what is wrong with it; ValueError where the source cannot be read on."""
        self._done = 0
        for entry in self._entries():
            if not self._checked and not isinstance(entry, str):
                self.columns.check(list(entry), self._shown)
                self._checked = True
            yield entry

    def share_read(self) -> float | None:
        """How much of the source the running pass has read, from 0 to 1; `None` where that is not known."""
        if self._extent is None:
            return None
        return min(1.0, self._done / self._extent) if self._extent else 1.0

    def __iter__(self) -> Iterator[Row]:
        for number, entry in enumerate(self.entries()):
            yield self.columns.row(number, entry)

    def check(self) -> bool:
        """Whether there is a row; ValueError where a column is not there."""
        try:
            return next(iter(self), None) is not None
        finally:
            self._done = 0


@dataclass(frozen=True, slots=True)
class RowColumns:
    """The columns of a source that make a row, by their names in the source.

    `slices` are read as they are. `needs_label` makes a problem of a label that is neither a class name nor an integer;
    so is a text of more than `max_characters`.
    """

    text: str
    text_pair: str | None = None
    id: str | None = None
    label: str | None = None
    rationale: str | None = None
    needs_label: bool = False
    max_characters: int = MAX_CHARACTERS
    slices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        as_integer(self.max_characters, "max_characters", at_least=1)

    @property
    def longest_row(self) -> int:
        """Bytes of the longest row that is read from a file: a character takes twelve at most, escaped in JSON."""
        return 12 * self.max_characters * (1 if self.text_pair is None else 2) + _OTHERS

    def too_long(self, size: int, unit: str = "bytes", what: str = "the row") -> str:
        """What is wrong with a row, or a text, of that size."""
        return f"{what} has {size:,} {unit}, more than max_characters={self.max_characters:,} lets in"

    @property
    def names(self) -> list[str]:
        """Those that are read, each once."""
        return list(dict.fromkeys(name for _, name in self.by_argument()))

    def check(self, known: Sequence[str], source: str) -> None:
        """ValueError where one is not among the `known` ones, or is there twice; it names argument and source."""
        for argument, name in self.by_argument():
            if name not in known:
                listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
                raise ValueError(f"{argument} must name a column of {source!r}, got {name!r}; it has {listed}.")
            if list(known).count(name) > 1:
                raise ValueError(f"{argument} must name one column of {source!r}, got {name!r}, which it has twice.")

    def row(self, number: int, cells: Mapping[str, Any] | str) -> Row:
        """The row of these cells, of which one that is not there is empty, or of what is wrong with it."""
        if isinstance(cells, str):
            return Row(number, str(number), "", None, None, cells)
        texts: list[Any] = [cells.get(name) for name in (self.text, self.text_pair) if name is not None]
        row_id = id_of(cells.get(self.id) if self.id else None, number)
        label = label_of(cells.get(self.label)) if self.label else None
        problems = map(self._text_problem, texts, ("the text", "the second text"))
        problem = next((problem for problem in problems if problem is not None), None)
        if self.needs_label and problem is None:
            problem = label_problem(cells.get(self.label or ""))
        if problem is not None:
            return Row(number, row_id, "", None, label, problem)
        return Row(
            number,
            row_id,
            repair_surrogates(texts[0]),
            repair_surrogates(texts[1]) if len(texts) > 1 else None,
            label,
            rationale=cells.get(self.rationale) if self.rationale else None,
        )

    def _text_problem(self, value: Any, name: str) -> str | None:
        problem = text_problem(value, name)
        if problem is None and len(value) > self.max_characters:
            return self.too_long(len(value), "characters", name)
        return problem

    def by_argument(self) -> list[tuple[str, str]]:
        """Those that are read, after the argument that names each."""
        columns = {name: getattr(self, name) for name in ("text", "text_pair", "id", "label", "rationale")}
        named = [(f"{name}_column", column) for name, column in columns.items() if column is not None]
        return named + [("slice", name) for name in self.slices]


def complete_rows(source: RowSource, split: str) -> Iterator[Row]:
    """The rows of a source; ValueError for one with a problem names the column, the split and the row."""
    for row in source:
        if row.problem is not None:
            parts = (part for words, part in _PARTS.items() if row.problem.startswith(words))
            column = next((f"column {getattr(source.columns, part)!r} of " for part in parts), "")
            raise ValueError(f"{column}split {split!r}, row {row.number} (counted from 0): {row.problem}.")
        yield row


def text_problem(value: Any, name: str = "the text") -> str | None:
    """Why a cell is no text that can be explained, in one sentence; `None` where it is one."""
    if value is None:
        return f"{name} is missing"
    if not isinstance(value, str):
        return f"{name} must be a string, got {value!r:.80}"
    return None if value.strip() else f"{name} is empty"


def label_problem(value: Any) -> str | None:
    """Why a cell is no class to train on, in one sentence; `None` where it is one."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "the label is missing"
    if value != value:
        return "the label is missing"
    if isinstance(value, str | int) or (isinstance(value, float) and value.is_integer()):
        return None
    return f"the label must be a class name or an integer, got {value!r:.80}"


def id_of(cell: Any, number: int) -> str:
    """The cell as an id, or the number of its row where it is empty."""
    if cell is None or cell == "":
        return str(number)
    return repair_surrogates(cell) if isinstance(cell, str) else str(cell)


def label_of(cell: Any) -> str | int | None:
    """The cell as a label; `None` where it is empty."""
    if cell is None or cell == "" or cell != cell:  # the last: NaN, which pandas writes for an empty cell
        return None
    if isinstance(cell, str):
        return repair_surrogates(cell)
    if isinstance(cell, int):
        return cell
    if isinstance(cell, float) and cell.is_integer():  # a column of integers that had an empty cell
        return int(cell)
    return str(cell)
