# SPDX-License-Identifier: Apache-2.0
"""Where rows come from: a file, a folder, a dataset or standard input, opened by what it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ...inputs.images import SUFFIXES
from ...inputs.texts import first_split
from .rows import MAX_CHARACTERS, RowColumns, RowSource

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = ("text", "jsonl", "csv", "tsv")  # what can be said of standard input
STANDARD_INPUT = "-"
_SUFFIXES = {f".{kind}": kind for kind in ("csv", "tsv", "json", "jsonl", "parquet")} | {".txt": "text"}
_FILES = "CSV, TSV, JSON, JSONL, Parquet or text"

Opener: TypeAlias = Callable[[RowColumns], RowSource]


def open_rows(
    data: str | os.PathLike[str],
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    rationale_column: str | None = None,
    slices: Sequence[str] = (),
    split: str = "train",
    kind: str | None = None,
    max_characters: int = MAX_CHARACTERS,
) -> RowSource:
    """The rows of a file, a folder, a dataset or standard input, looked at as far as its first row.

    Args:
        data: a CSV, TSV, JSON, JSONL, Parquet or text file; a folder that `save_to_disk` wrote, or with such files; the
            name of a hub dataset, which is streamed; "-" for standard input.
        text_column, text_pair_column, id_column, label_column, rationale_column: their names in the source. A text
            file has the one column "text", a text a line.
        slices: names of further columns, which `entries` of the source has as they are.
        split: of a folder or a dataset; a file is "train".
        kind: one of "text", "jsonl", "csv", "tsv": what standard input holds (by default text), or what a file holds
            that its suffix does not tell.
        max_characters: of a text. A row with a longer one has a problem; a line that is longer than such a row can be
            is passed over in constant memory.

    Raises:
        FileNotFoundError: no such file, folder or dataset, or no hub in reach.
        ValueError: a column or a split that is not there (lists those that are), a source without a row, a file that is
            not what it should be. From standard input, when it is read.
    """
    columns = RowColumns(
        text_column, text_pair_column, id_column, label_column, rationale_column, False, max_characters, tuple(slices)
    )
    return open_split(split_openers(data, kind), split, columns, os.fspath(data))


def rows_of(
    dataset: Dataset,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    max_characters: int = MAX_CHARACTERS,
) -> RowSource:
    """The rows of a `datasets.Dataset` at hand; columns and limit as in `open_rows`.

    Raises:
        TypeError: something else.
        ValueError: a column that is not there, or no row.
    """
    from datasets import Dataset

    from .records import DatasetRows

    if not isinstance(dataset, Dataset):
        advice = f"; pass one of its splits, such as {split}" if (split := first_split(dataset)) else ""
        raise TypeError(f"dataset must be a datasets.Dataset, got {type(dataset).__name__}{advice}.")
    identity = {} if dataset.split is None else {"split": str(dataset.split)}
    columns = RowColumns(text_column, text_pair_column, id_column, label_column, max_characters=max_characters)
    source = DatasetRows(dataset, dataset.info.dataset_name or "dataset", identity, "the dataset", columns)
    if not source.check():
        raise ValueError("dataset must have at least one row, got none.")
    return source


def open_split(
    openers: dict[str, Opener], split: str, columns: RowColumns, name: str, argument: str = "split"
) -> RowSource:
    """The rows of one of the splits that `openers` open, looked at as far as the first row; ValueError without any."""
    shown = "standard input" if name == STANDARD_INPUT else name
    if split not in openers:
        raise ValueError(f"{argument} must be one that {shown!r} has, got {split!r}; it has {', '.join(openers)}.")
    source = openers[split](columns)
    if name != STANDARD_INPUT and not source.check():
        raise ValueError(f"data must have at least one row, got none in {shown!r}.")
    return source


def split_openers(
    data: str | os.PathLike[str], kind: str | None = None, config_name: str | None = None, stream: bool = True
) -> dict[str, Opener]:
    """What opens each split of a source; `stream=False` downloads a hub dataset. Raises as `open_rows`."""
    if not isinstance(data, str | os.PathLike):
        advice = f"rows_of({first_split(data) or 'dataset'})"
        raise TypeError(f"data must be a path or a name, got {type(data).__name__}; {advice} reads a dataset at hand.")
    name = os.fspath(data)
    if not name:
        raise ValueError("data must be a file, a folder, the name of a dataset or -, got an empty name.")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if name == STANDARD_INPUT:
        return {"train": partial(_open_file, None, "standard input", kind or "text")}
    path = Path(name)
    if path.is_file():
        known_kind = kind or _SUFFIXES.get(path.suffix.lower())
        if known_kind is None:
            raise ValueError(f"data must be a {_FILES} file, got {name!r}.")
        return {"train": partial(_open_file, path, name, known_kind)}
    if not path.is_dir() and (kind is not None or path.suffix.lower() in _SUFFIXES):
        raise FileNotFoundError(f"data must be a file that exists or the name of a dataset, got {name!r}.")
    if kind is not None:
        raise ValueError(f"kind must be left out where data is a folder, got {kind!r} for {name!r}.")
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved_openers(path, name)
    return _dataset_openers(path, name, config_name, stream)


def _open_file(path: Path | None, name: str, kind: str, columns: RowColumns) -> RowSource:
    from .lines import JsonLineRows, TableRows, TextRows, holds_json_lines
    from .records import JsonRows, ParquetRows

    by_lines: dict[str, Any] = {"csv": TableRows, "tsv": TableRows, "jsonl": JsonLineRows, "text": TextRows}
    if kind in by_lines:
        return by_lines[kind](path, name, kind, columns)
    assert path is not None  # standard input is of none of the other kinds
    if kind == "parquet":
        return ParquetRows(path, name, columns)
    if holds_json_lines(path, columns.longest_row):  # which `Dataset.to_json` writes under this suffix
        return JsonLineRows(path, name, kind, columns)
    return JsonRows(path, name, columns)


def _saved_openers(path: Path, name: str) -> dict[str, Opener]:
    from datasets import DatasetDict, load_from_disk

    from .records import DatasetRows

    saved = load_from_disk(path)
    splits = dict(saved) if isinstance(saved, DatasetDict) else {"train": saved, str(saved.split or "train"): saved}
    folder = path.resolve().name
    return {split: partial(DatasetRows, dataset, folder, {"split": split}, name) for split, dataset in splits.items()}


def _dataset_openers(path: Path, name: str, config_name: str | None, stream: bool) -> dict[str, Opener]:
    """A folder with files, read by our own readers where these know them all, or a dataset that `datasets` reads."""
    from datasets import load_dataset_builder

    with _readable(path, name):
        builder = load_dataset_builder(name, config_name)
        if path.is_dir() and (files := _known_files(builder)):
            return {split: partial(_open_folder, path, split, names) for split, names in files.items()}
        streams = builder.as_streaming_dataset()
    if path.is_dir() and builder.name == "imagefolder":
        _check_split_images(builder, path, name)
    if stream:
        return {split: partial(_open_stream, builder, streams[split], split, path, name) for split in streams}
    return {split: partial(_open_downloaded, path, name, config_name, split) for split in streams}


def _open_folder(path: Path, split: str, files: list[Path], columns: RowColumns) -> RowSource:
    from .records import JoinedRows

    parts = [_open_file(file, str(file), _SUFFIXES[file.suffix.lower()], columns) for file in files]
    sizes = [file.stat().st_size for file in files]
    return JoinedRows(parts, path.resolve().name, str(path), {"split": split}, sizes, columns)


def _open_stream(builder: Any, stream: Any, split: str, path: Path, name: str, columns: RowColumns) -> RowSource:
    from .records import StreamedRows

    if builder.name == "csv":
        builder.config.__dict__.update(_as_text(columns))
    known_splits = builder.info.splits or {}
    total = known_splits[split].num_examples if split in known_splits else None
    identity = {"split": split, "config": builder.config.name, "fingerprint": builder.hash}
    source_name = path.resolve().name if path.is_dir() else name
    return StreamedRows(stream, source_name, identity, total, name, columns)


def _open_downloaded(path: Path, name: str, config_name: str | None, split: str, columns: RowColumns) -> RowSource:
    from datasets import load_dataset_builder

    from .records import DatasetRows

    with _readable(path, name):
        builder = load_dataset_builder(name, config_name)
        if builder.name == "csv":
            builder = load_dataset_builder(name, config_name, **_as_text(columns))
        builder.download_and_prepare()
        dataset = builder.as_dataset(split)
    return DatasetRows(dataset, name, {"split": split}, name, columns)


def _as_text(columns: RowColumns) -> dict[str, Any]:
    """Options of the CSV reader of `datasets` by which "007" stays what it is, and "NA"."""
    return {"converters": {name: str for name in columns.names}, "keep_default_na": False}


@contextlib.contextmanager
def _readable(path: Path, name: str) -> Iterator[None]:
    """Turns what `datasets` raises into one sentence."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except FileNotFoundError as error:
        missing = f"a folder with {_FILES} files" if path.is_dir() else "a file that exists or the name of a dataset"
        raise FileNotFoundError(f"data must be {missing}, got {name!r}.") from error
    except ConnectionError as error:
        raise FileNotFoundError(
            f"data must be a file or a folder that exists where the hub cannot be reached, got {name!r}."
        ) from error
    except (ValueError, DatasetsError) as error:
        reason = " ".join(str(error.__cause__ or error).split()).rstrip(".")
        raise ValueError(f"data must be a dataset that can be read, got {name!r}: {reason}.") from error


def _check_split_images(builder: Any, path: Path, name: str) -> None:
    """ValueError for a folder of which `datasets` leaves images out, as it does without a word."""
    taken = {os.path.realpath(file) for files in builder.config.data_files.values() for file in files}
    shown = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file())
    seen = [file for file in shown if not any(part.startswith((".", "__")) for part in file.relative_to(path).parts)]
    if left := [file for file in seen if os.path.realpath(file) not in taken]:
        raise ValueError(
            f"data must be a folder of images that are all in a split, got {name!r} with {len(left):,} of {len(seen):,}"
            f" in none, such as {left[0].name!r:.80}: words such as train, test and val in names of files and folders "
            "make splits, and names with a line break or :: are not read; rename them, or give a list of file names."
        )


def _known_files(builder: Any) -> dict[str, list[Path]]:
    """The files of a folder by split, where our readers can read every one.

    They are better at it: what `datasets` reads from a CSV file are numbers, and nothing for "NA".
    """
    splits = builder.config.data_files or {}
    files = {str(split): [Path(file) for file in names] for split, names in splits.items()}
    paths = [file for names in files.values() for file in names]
    return files if all(file.is_file() and file.suffix.lower() in _SUFFIXES for file in paths) else {}
