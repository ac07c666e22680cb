# SPDX-License-Identifier: Apache-2.0
"""Rows of JSON lists, Parquet files, datasets and folders of files: sources that, for the most part, are counted."""

from __future__ import annotations

import contextlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .rows import RowColumns, RowSource

_BATCH = 256  # rows that are Python objects at the same time


class JsonRows(RowSource):
    """A JSON file that holds a list of objects, which is read whole."""

    def __init__(self, path: Path, shown: str, columns: RowColumns) -> None:
        self._list = _json_list(path, shown)
        identity = {"kind": "json", "bytes": path.stat().st_size, "rows": len(self._list)}
        super().__init__(path.name, shown, identity, columns, len(self._list))
        first = next((entry for entry in self._list if isinstance(entry, dict)), None)
        if first is not None:
            columns.check(list(first), shown)

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        for entry in self._list:
            self._done += 1
            yield entry if isinstance(entry, dict) else f"the entry must be a JSON object, got {entry!r:.80}"


def _json_list(path: Path, shown: str) -> list[Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        value = json.loads(text) if text.strip() else []
    except UnicodeDecodeError as error:
        raise ValueError(
            f"data must be UTF-8 text, got other bytes in {shown!r} ({error.reason}); save it as UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"data must be readable as what its name says, got {shown!r}: {error}.") from error
    if not isinstance(value, list):
        raise ValueError(
            f"data must hold a list of JSON objects, or an object a line, got {shown!r} with a {type(value).__name__}."
        )
    return value


class _BatchRows(RowSource):
    """Rows of Arrow tables or batches that have the columns."""

    @abstractmethod
    def _batches(self) -> Iterator[Any]: ...

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        names = self.columns.names
        for batch in self._batches():
            for row in zip(*(_cells(batch.column(name)) for name in names), strict=True):
                self._done += 1
                yield _named(dict(zip(names, row, strict=True)), self)


class ParquetRows(_BatchRows):
    """A Parquet file, of which only the needed columns are read, and of these some pages at a time."""

    def __init__(self, path: Path, shown: str, columns: RowColumns) -> None:
        self._path, self._shown = path, shown
        with self._file() as file:
            names, rows = file.schema_arrow.names, file.metadata.num_rows
        columns.check(names, shown)
        identity = {"kind": "parquet", "bytes": path.stat().st_size, "rows": rows}
        super().__init__(path.name, shown, identity, columns, rows)

    def _batches(self) -> Iterator[Any]:
        with self._file() as file:
            yield from file.iter_batches(_BATCH, columns=self.columns.names)

    @contextlib.contextmanager
    def _file(self) -> Iterator[Any]:
        """The file, opened; ValueError where it cannot be read (on)."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            # with a buffer a column is read as it is needed, without one it is read a row group at a time
            with parquet.ParquetFile(self._path, buffer_size=1 << 20) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ValueError(f"data must be readable as what its name says, got {self._shown!r}: {reason}.") from error


class DatasetRows(_BatchRows):
    """A `datasets.Dataset`, mapped into memory; `dataset` has the columns that are read."""

    def __init__(self, dataset: Any, name: str, identity: Mapping[str, Any], shown: str, columns: RowColumns) -> None:
        columns.check(dataset.column_names, shown)
        rows = len(dataset)
        super().__init__(name, shown, {**identity, "rows": rows, "fingerprint": dataset._fingerprint}, columns, rows)
        self.dataset = dataset.select_columns(columns.names).with_format(None)
        self.label_names = _label_names(dataset.features, columns)

    def _batches(self) -> Iterator[Any]:
        return self.dataset.with_format("arrow").iter(_BATCH)


class StreamedRows(RowSource):
    """A dataset that is streamed; how many rows it has may not be known."""

    def __init__(
        self,
        dataset: Any,
        name: str,
        identity: Mapping[str, Any],
        total: int | None,
        shown: str,
        columns: RowColumns,
    ) -> None:
        super().__init__(name, shown, identity if total is None else {**identity, "rows": total}, columns, total)
        self._checked = dataset.column_names is not None
        if self._checked:
            columns.check(dataset.column_names, shown)
            dataset = dataset.select_columns(columns.names)
        if dataset.features is not None:
            dataset = dataset.decode(False)  # a cell that cannot be decoded would end the stream
        self._dataset, self.label_names = dataset, _label_names(dataset.features, columns)

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        from datasets.exceptions import DatasetsError
        from pyarrow import ArrowException

        try:
            for example in self._dataset:
                self._done += 1
                yield _named(example, self)
        except (ValueError, ArrowException, DatasetsError) as error:
            reason = " ".join(str(error.__cause__ or error).split()).rstrip(".")
            raise ValueError(f"data must be readable to its end, got {self._shown!r}: {reason}.") from error


class JoinedRows(RowSource):
    """The files of a folder, one after the other; `sizes` are those of the files, in bytes."""

    def __init__(
        self,
        parts: Sequence[RowSource],
        name: str,
        shown: str,
        identity: Mapping[str, Any],
        sizes: Sequence[int],
        columns: RowColumns,
    ) -> None:
        totals = [part.total for part in parts if part.total is not None]
        whole = {**identity, "files": len(parts), "bytes": sum(sizes)}
        super().__init__(name, shown, whole, columns, sum(totals) if len(totals) == len(parts) else None)
        self._parts, self._sizes, self._current = parts, sizes, 0

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        for index, part in enumerate(self._parts):
            self._current = index
            yield from part.entries()

    def share_read(self) -> float | None:
        now = (self._parts[self._current].share_read() or 0.0) * self._sizes[self._current]
        return (sum(self._sizes[: self._current]) + now) / max(1, sum(self._sizes))

    def check(self) -> bool:
        """Looks at every file, so that a column that one of them lacks is missed at once."""
        return any([part.check() for part in self._parts])


def _cells(column: Any) -> list[Any]:
    """The cells of an Arrow column; those of a string column that are not UTF-8, which Arrow lets pass, as bytes."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_cell(cell) for cell in column]


def _cell(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return cell.as_buffer().to_pybytes()


def _label_names(features: Any, columns: RowColumns) -> tuple[str, ...] | None:
    """The names of the label column if it is a ClassLabel; where labels are needed, its ids stay."""
    names = getattr((features or {}).get(columns.label), "names", None)
    return None if columns.needs_label or names is None else tuple(names)


def _named(cells: dict[str, Any], source: RowSource) -> dict[str, Any]:
    """The cells with the name of a ClassLabel's id, of which -1 means "no label"."""
    names, column = source.label_names, source.columns.label
    if names is None or column is None or not isinstance(label := cells.get(column), int):
        return cells
    return {**cells, column: None if label == -1 else names[label] if 0 <= label < len(names) else label}
