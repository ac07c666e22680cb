# SPDX-License-Identifier: Apache-2.0
"""Where labelled texts come from: a file, a folder, a hub dataset or a dataset at hand; one sentence where it fails."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError

_READERS: dict[str, tuple[str, dict[str, Any]]] = {
    # pandas would read the words "None" and "NA" as missing
    ".csv": ("csv", {"keep_default_na": False}),
    ".tsv": ("csv", {"keep_default_na": False, "delimiter": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".parquet": ("parquet", {}),
}
_SUFFIXES = {*_READERS, ".txt"}
_EMPTY = ("corresponds to no data", "No columns to parse from file")  # what datasets and pandas say
_KINDS = "CSV, TSV, JSON, JSONL, Parquet or text"

Source: TypeAlias = str | PathLike[str] | Dataset | DatasetDict


class _NoRowError(ValueError):
    pass


def read_source(source: Source, config_name: str | None = None) -> DatasetDict:
    """The splits of a file ("train"), a folder, a hub dataset or a dataset at hand.

    A text file holds one text a line, read into the column `text`; blank lines are skipped.

    Raises:
        TypeError: neither a path, nor a name, nor a dataset that knows its length.
        FileNotFoundError: no such file, a folder without data, no such hub dataset, or no hub in reach.
        ValueError: a file that cannot be read, or without a row; the sentence names it and says what is wrong.
    """
    if isinstance(source, DatasetDict):
        return source
    if isinstance(source, Dataset):
        return DatasetDict(train=source)
    if not isinstance(source, str | PathLike):
        raise TypeError(f"data must be a path, a name, a Dataset or a DatasetDict, got {type(source).__name__}.")
    if not str(source):
        raise ValueError("data must be a file, a folder or the name of a hub dataset, got an empty name.")
    path = Path(source)
    if not path.is_file() and path.suffix.lower() in _SUFFIXES:
        raise FileNotFoundError(f"data must be a file that exists or the name of a dataset, got {str(source)!r}.")
    if path.is_file() and path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"data must be a {_KINDS} file, got {str(source)!r}.")
    try:
        return _read(path, str(source), config_name)
    except (ValueError, StopIteration, DatasetsError) as error:
        if isinstance(error, OSError):  # the hub's own "not found"
            raise
        raise ValueError(_complaint(str(source), error)) from error


def _read(path: Path, name: str, config_name: str | None) -> DatasetDict:
    kind = path.suffix.lower()
    if path.is_file():
        if not path.stat().st_size:
            raise _NoRowError
        if kind == ".txt":
            return DatasetDict(train=_lines(path))
        reader, options = _READERS[kind]
        return load_dataset(reader, data_files={"train": str(path)}, **options)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return read_source(load_from_disk(path))
    try:
        return load_dataset(name, config_name)
    except FileNotFoundError as error:
        missing = f"a folder with {_KINDS} files" if path.is_dir() else "a file, a folder or a hub dataset that exists"
        raise FileNotFoundError(f"data must be {missing}, got {name!r}.") from error
    except ConnectionError as error:
        raise FileNotFoundError(
            f"data must be a file or a folder that exists where the hub cannot be reached, got {name!r}."
        ) from error


def _lines(path: Path) -> Dataset:
    lines = [line for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
    if not lines:
        raise _NoRowError
    return Dataset.from_dict({"text": lines})


def _complaint(name: str, error: Exception) -> str:
    """What is wrong with the data, out of whatever the readers raise."""
    reason = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ is not None else error
    told = " ".join(str(reason).split())
    if isinstance(reason, _NoRowError | StopIteration) or any(word in told for word in _EMPTY):
        return f"data must have at least one row, got none in {name!r}."
    if isinstance(reason, UnicodeDecodeError):
        return f"data must be UTF-8 text, got other bytes in {name!r} ({reason.reason}); save it as UTF-8."
    return f"data must be readable as what its name says, got {name!r}: {told.rstrip('.')}."


_CHUNK = 10_000  # rows looked at in one go


def checked_columns(dataset: Dataset, wanted: dict[str, str], split: str) -> Dataset:
    """The wanted columns (our name: theirs) under our names, every cell checked.

    Raises:
        ValueError: a column that is not there (lists those that are), an empty cell (with its row).
    """
    for ours, theirs in wanted.items():
        if theirs not in dataset.column_names:
            raise ValueError(
                f"{ours}_column must name a column of split {split!r}, got {theirs!r}; it has "
                f"{', '.join(dataset.column_names)}."
            )
    if len(set(wanted.values())) < len(wanted):
        raise ValueError(f"text, text pair and label must be columns of their own, got {list(wanted.values())}.")
    dataset = dataset.select_columns(list(wanted.values())).rename_columns(
        {theirs: ours for ours, theirs in wanted.items() if ours != theirs}
    )
    for ours, theirs in wanted.items():
        check = _check_label if ours == "label" else _check_text
        for row, value in enumerate(column_values(dataset, ours)):
            check(value, f"column {theirs!r} of split {split!r}, row {row} (counted from 0)")
    return dataset


def column_values(dataset: Dataset, column: str) -> Iterable[Any]:
    for batch in dataset.select_columns([column]).iter(_CHUNK):
        yield from batch[column]


def _check_text(value: Any, where: str) -> None:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"{where}: the text is empty.")
    if not isinstance(value, str):
        raise ValueError(f"{where}: a text must be a string, got {value!r}.")


def _check_label(value: Any, where: str) -> None:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"{where}: the label is missing.")
    if not isinstance(value, str | int):
        raise ValueError(f"{where}: a label must be a class name or an integer, got {value!r}.")
