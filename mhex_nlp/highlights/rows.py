# SPDX-License-Identifier: Apache-2.0
"""The rows of a source, one after the other and each exactly once: what they are, and where they come from."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..texts import repair_surrogates

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = ("text", "jsonl", "csv", "tsv")  # what can be said of standard input
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
}
_FILES = "CSV, TSV, JSON, JSONL, Parquet or text"


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


def open_rows(
    data: str | os.PathLike[str],
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    split: str = "train",
    kind: str | None = None,
) -> RowSource:
    """The rows of a file, a folder, a dataset or standard input, looked at as far as its first row.

    Args:
        data: a CSV, TSV, JSON, JSONL, Parquet or text file; a folder that `save_to_disk` wrote, or with such files; the
            name of a hub dataset, which is streamed; "-" for standard input.
        text_column, text_pair_column, id_column, label_column: their names in the source. A text file has the one
            column "text", a text a line.
        split: of a folder or a dataset; a file is "train".
        kind: one of "text", "jsonl", "csv", "tsv": what standard input holds (by default text), or what a file holds
            that its suffix does not tell.

    Raises:
        FileNotFoundError: no such file, folder or dataset, or no hub in reach.
        ValueError: a column or a split that is not there (lists those that are), a source without a row, a file that is
            not what it should be. From standard input, when it is read.
    """
    columns = Columns(text_column, text_pair_column, id_column, label_column)
    given = os.fspath(data)
    if not given:
        raise ValueError("data must be a file, a folder, the name of a dataset or -, got an empty name.")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    path = Path(given)
    if given == "-":
        _check_split(split, ["train"], "standard input")
        return _open_file(None, "standard input", kind or "text", columns)
    if path.is_file():
        found = kind or _SUFFIXES.get(path.suffix.lower())
        if found is None:
            raise ValueError(f"data must be a {_FILES} file, got {given!r}.")
        _check_split(split, ["train"], given)
        source = _open_file(path, given, found, columns)
    elif not path.is_dir() and (kind is not None or path.suffix.lower() in _SUFFIXES):
        raise FileNotFoundError(f"data must be a file that exists or the name of a dataset, got {given!r}.")
    elif kind is not None:
        raise ValueError(f"kind must be left out where data is a folder, got {kind!r} for {given!r}.")
    elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        source = _open_saved(path, given, split, columns)
    else:
        source = _open_dataset(path, given, split, columns)
    if not source.check():
        raise ValueError(f"data must have at least one row, got none in {given!r}.")
    return source


def rows_of(
    dataset: Dataset,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
) -> RowSource:
    """The rows of a `datasets.Dataset` at hand; its columns as in `open_rows`.

    Raises:
        TypeError: something else.
        ValueError: a column that is not there, or no row.
    """
    from datasets import Dataset

    from .counted_readers import DatasetRows

    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a datasets.Dataset, got {type(dataset).__name__}.")
    name = dataset.info.dataset_name or "dataset"
    split = {} if dataset.split is None else {"split": str(dataset.split)}
    columns = Columns(text_column, text_pair_column, id_column, label_column)
    source = DatasetRows(dataset, name, split, columns, "the dataset")
    if not source.check():
        raise ValueError("dataset must have at least one row, got none.")
    return source


def _open_file(path: Path | None, given: str, kind: str, columns: Columns) -> RowSource:
    from .counted_readers import JsonRows, ParquetRows
    from .line_readers import JsonLineRows, TableRows, TextRows, holds_json_lines

    if kind in ("csv", "tsv"):
        return TableRows(path, given, kind, columns)
    if kind == "jsonl":
        return JsonLineRows(path, given, kind, columns)
    if kind == "text":
        return TextRows(path, given, kind, columns)
    assert path is not None  # standard input is of none of the other kinds
    if kind == "parquet":
        return ParquetRows(path, given, columns)
    if holds_json_lines(path):  # which `Dataset.to_json` writes under this suffix
        return JsonLineRows(path, given, kind, columns)
    return JsonRows(path, given, columns)


def _open_saved(path: Path, given: str, split: str, columns: Columns) -> RowSource:
    from datasets import DatasetDict, load_from_disk

    from .counted_readers import DatasetRows

    found = load_from_disk(path)
    if isinstance(found, DatasetDict):
        _check_split(split, list(found), given)
        found = found[split]
    else:
        _check_split(split, ["train"] if found.split is None else list({"train": 0, str(found.split): 0}), given)
    return DatasetRows(found, path.resolve().name, {"split": split}, columns, given)


def _open_dataset(path: Path, given: str, split: str, columns: Columns) -> RowSource:
    """A folder with files, read by our own readers where these know them all, or a dataset that is streamed."""
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetsError

    from .counted_readers import JoinedRows, StreamedRows

    try:
        builder = load_dataset_builder(given)
        files = _own_files(builder) if path.is_dir() else {}
        if builder.name == "csv":
            builder.config.converters = {name: str for name in columns.names}  # "007" stays what it is
            builder.config.keep_default_na = False  # and "NA"
        streams = {} if files else builder.as_streaming_dataset()
    except FileNotFoundError as error:
        missing = f"a folder with {_FILES} files" if path.is_dir() else "a file that exists or the name of a dataset"
        raise FileNotFoundError(f"data must be {missing}, got {given!r}.") from error
    except ConnectionError as error:
        raise FileNotFoundError(
            f"data must be a file or a folder that exists where the hub cannot be reached, got {given!r}."
        ) from error
    except (ValueError, DatasetsError) as error:
        told = " ".join(str(error.__cause__ or error).split()).rstrip(".")
        raise ValueError(f"data must be a dataset that can be read, got {given!r}: {told}.") from error
    _check_split(split, list(files or streams), given)
    name = path.resolve().name if path.is_dir() else given
    if files:
        parts = [_open_file(file, str(file), _SUFFIXES[file.suffix.lower()], columns) for file in files[split]]
        return JoinedRows(parts, name, {"split": split}, [file.stat().st_size for file in files[split]])
    told_splits = builder.info.splits or {}
    total = told_splits[split].num_examples if split in told_splits else None
    identity = {"split": split, "config": builder.config.name, "fingerprint": builder.hash}
    return StreamedRows(streams[split], name, identity, total, columns, given)


def _own_files(builder: Any) -> dict[str, list[Path]]:
    """The files of a folder by split, where our readers can read every one.

    They are better at it: what `datasets` reads from a CSV file are numbers, and nothing for "NA".
    """
    splits = builder.config.data_files or {}
    files = {str(split): [Path(file) for file in names] for split, names in splits.items()}
    every = [file for names in files.values() for file in names]
    return files if all(file.is_file() and file.suffix.lower() in _SUFFIXES for file in every) else {}


def _check_split(split: str, there: Sequence[str], source: str) -> None:
    if split not in there:
        raise ValueError(f"split must be one that {source!r} has, got {split!r}; it has {', '.join(there)}.")


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
