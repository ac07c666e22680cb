# SPDX-License-Identifier: Apache-2.0
"""Rows of images: folders with a folder a class, lists of file names, datasets with an Image column, Parquet.

The readers are those of texts; here is which columns make a row, and that nothing is decoded while it is read, so that
a file that is no image is a row with a problem and not the end of the source.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from ...inputs.images import SUFFIXES
from ...inputs.texts import first_split
from .opening import STANDARD_INPUT, open_split, split_openers
from .records import DatasetRows
from .rows import Row, RowColumns, RowSource, id_of, label_of, label_problem

if TYPE_CHECKING:
    from datasets import Dataset

FILE_NAME = "file_name"  # of a folder of images: the column of the names, which are ids only where they are asked for


@dataclass(frozen=True, slots=True)
class ImageColumns(RowColumns):
    """The columns of a source that make a row of an image.

    Args:
        image: holds file names, bytes, or {"bytes", "path"} as `datasets` and Parquet files do.
        base: relative file names are in this folder.
        files: the folder of images that is read, where it is one; its column `file_name` has the files' names in it.
    """

    text: str = ""
    image: str = "image"
    base: Path = Path()
    files: Path | None = None

    def by_argument(self) -> list[tuple[str, str]]:
        """Those that are read, after the argument that names each."""
        columns = {name: getattr(self, name) for name in ("image", "id", "label")}
        if self._names_files:
            del columns["id"]
        return [(f"{name}_column", column) for name, column in columns.items() if column is not None]

    @property
    def _names_files(self) -> bool:
        return self.files is not None and self.id == FILE_NAME

    def row(self, number: int, cells: Mapping[str, Any] | str) -> Row:
        """The row of these cells, or of what is wrong with it."""
        if isinstance(cells, str):
            return Row(number, str(number), "", None, None, cells)
        image = self._image(cells.get(self.image))
        name = cells.get(self.id) if self.id else None
        if self._names_files and not isinstance(image, str) and image["path"]:
            name = _below(image["path"], self.files)
        row_id, label = id_of(name, number), label_of(cells.get(self.label)) if self.label else None
        problem = image if isinstance(image, str) else None
        if problem is None and self.needs_label:
            problem = label_problem(cells.get(self.label or ""))
        return Row(number, row_id, "", None, label, problem, image=None if problem else image)

    def _image(self, cell: Any) -> dict[str, Any] | str:
        """The cell as `load_image` takes it, or what is wrong with it."""
        if isinstance(cell, str) and cell.strip():
            cell = {"path": cell}
        elif isinstance(cell, bytes | bytearray):
            cell = {"bytes": bytes(cell)}
        elif cell is not None and not isinstance(cell, str | Mapping):
            return f"the image must be a file name, bytes or an Image column's cell, got a {type(cell).__name__}"
        parts: Mapping[str, Any] = cell if isinstance(cell, Mapping) else {}
        content, path = parts.get("bytes"), parts.get("path") or ""
        if content is None and not path:
            return "the image is missing"
        if content is None and "://" not in path:
            path = os.fspath(self.base / path)
        return {"bytes": content, "path": path or None}


def open_images(
    data: str | os.PathLike[str],
    *,
    image_column: str = "image",
    id_column: str | None = None,
    label_column: str | None = None,
    split: str = "train",
    kind: str | None = None,
) -> RowSource:
    """The rows of a folder, a file, a dataset or standard input, looked at as far as its first row.

    Args:
        data: a folder of images, whose folders are classes (column "label") where there are some; one that
            `save_to_disk` wrote; the name of a hub dataset; a Parquet file; a CSV, TSV, JSON or JSONL file with a
            column of file names, or a text file with one a line, relative to the file; "-" for standard input.
        image_column, id_column, label_column: their names in the source. The id "file_name" of a folder of images is
            the file's name in it; by default ids are row numbers, since names of files may name people.
        split: of a folder or a dataset; a file is "train".
        kind: as in `open_rows`.

    Raises:
        FileNotFoundError: no such file, folder or dataset, or no hub in reach.
        ValueError: a column or a split that is not there, a source without a row, an image of a folder that is in none
            of its splits.
    """
    columns = image_columns(data, image_column, id_column, label_column, kind)
    try:
        openers = split_openers(data, kind)
    except FileNotFoundError as error:
        if not Path(data).is_dir():
            raise
        raise FileNotFoundError(
            f"data must be a folder of images, or of files that name or hold some, got {os.fspath(data)!r}."
        ) from error
    source = open_split(openers, split, columns, os.fspath(data))
    if columns.files is not None:  # the same files elsewhere are the same source
        source.identity.pop("fingerprint", None)
        source.identity["files"] = _names_hash(columns.files)
    return source


def image_columns(
    data: Any,
    image_column: str = "image",
    id_column: str | None = None,
    label_column: str | None = None,
    kind: str | None = None,
    *,
    needs_label: bool = False,
) -> ImageColumns:
    """The columns of a source; arguments as in `open_images`, or a dataset at hand."""
    columns = ImageColumns(image=image_column, id=id_column, label=label_column, needs_label=needs_label)
    if not isinstance(data, str | os.PathLike):
        return columns
    path = Path(data)
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        raise ValueError(f"data must be a folder, a dataset or a list of images, got the image {path.name!r}.")
    if path.is_dir() and any(file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
        return replace(columns, files=path)
    is_lines = os.fspath(data) == STANDARD_INPUT if kind is None else kind == "text"
    if image_column == "image" and (is_lines or (kind is None and path.suffix.lower() == ".txt")):
        columns = replace(columns, image="text")  # the one column of a text file
    return replace(columns, base=path.parent if path.is_file() else Path())


def images_of(
    dataset: Dataset, *, image_column: str = "image", id_column: str | None = None, label_column: str | None = None
) -> RowSource:
    """The rows of a `datasets.Dataset` at hand, columns as in `open_images`; TypeError for something else."""
    from datasets import Dataset

    if not isinstance(dataset, Dataset):
        advice = f"; pass one of its splits, such as {split}" if (split := first_split(dataset)) else ""
        raise TypeError(f"dataset must be a datasets.Dataset, got {type(dataset).__name__}{advice}.")
    columns = ImageColumns(image=image_column, id=id_column, label=label_column)
    source = DatasetRows(dataset, dataset.info.dataset_name or "dataset", {}, "the dataset", columns)
    if not source.check():
        raise ValueError("dataset must have at least one row, got none.")
    return source


def content_of(image: Mapping[str, Any]) -> bytes:
    """The bytes of a row's image as they are stored; OSError where they cannot be read."""
    if image["bytes"] is not None:
        return bytes(image["bytes"])
    if "://" not in image["path"]:
        return Path(image["path"]).read_bytes()
    import fsspec  # type: ignore[import-untyped]  # of a dataset that is streamed

    with fsspec.open(image["path"], "rb") as file:
        content: bytes = file.read()
    return content


def _below(path: str, folder: Path | None) -> str:
    try:
        return Path(path).resolve().relative_to(Path(folder or "").resolve()).as_posix()
    except ValueError:
        return Path(path).name


def _names_hash(folder: Path) -> str:
    """Of the names and sizes of the images in a folder; what is in them is hashed as it is read."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    lines = (f"{file.relative_to(folder).as_posix()}\0{_size(file)}\n" for file in files)
    return xxhash.xxh3_128_hexdigest("".join(lines).encode("utf-8", "surrogateescape"))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # a link to nothing is a row that cannot be read
        return 0
