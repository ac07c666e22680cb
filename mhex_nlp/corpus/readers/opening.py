# SPDX-License-Identifier: Apache-2.0
"""Where rows come from: a file, a folder, a dataset or standard input, opened by what it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .rows import Columns, RowSource

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

    from .records import DatasetRows

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
    from .lines import JsonLineRows, TableRows, TextRows, holds_json_lines
    from .records import JsonRows, ParquetRows

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

    from .records import DatasetRows

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

    from .records import JoinedRows, StreamedRows

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


def read_texts(
    source: str, text_column: str = "text", text_pair_column: str | None = None, split: str = "train"
) -> tuple[Sequence[str], Sequence[str] | None]:
    """The texts of a file or dataset, and their second halves where a column of those is named.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read or without a text, no such split or column (lists those there are), an
            empty text (with its row).
    """
    from .splits import checked_columns, read_source

    splits = read_source(source)
    if split not in splits:
        raise ValueError(f"{source} has no split {split!r}; it has {', '.join(splits)}.")
    wanted = {"text": text_column} | ({} if text_pair_column is None else {"text_pair": text_pair_column})
    if not len(splits[split]):
        raise ValueError(f"data must have at least one text, got none in {source!r}.")
    rows = checked_columns(splits[split], wanted, split)
    return rows["text"], None if text_pair_column is None else rows["text_pair"]
