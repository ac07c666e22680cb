# SPDX-License-Identifier: Apache-2.0
"""Rows of JSON lists, Parquet files, datasets and folders of files: sources that, for the most part, are counted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .rows import Columns, Row, RowSource

_BATCH = 256  # rows that are Python objects at the same time


class _CountedRows(RowSource):
    """Rows whose number is known from the start."""

    _seen = 0

    def share_read(self) -> float | None:
        if self.total is None:
            return None
        return min(1.0, self._seen / self.total) if self.total else 1.0

    def check(self) -> bool:
        try:
            return super().check()
        finally:
            self._seen = 0

    def _counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        self._seen = 0
        for row in rows:
            self._seen += 1
            yield row


class JsonRows(_CountedRows):
    """A JSON file that holds a list of objects, which is read whole."""

    def __init__(self, path: Path, given: str, columns: Columns) -> None:
        self._objects = _json_list(path, given)
        identity = {"kind": "json", "bytes": path.stat().st_size, "rows": len(self._objects)}
        super().__init__(path.name, identity, len(self._objects))
        self._columns = columns
        first = next((each for each in self._objects if isinstance(each, dict)), None)
        if first is not None:
            columns.check(list(first), given)

    def read(self, start: int = 0) -> Iterator[Row]:
        return self._counted(self._row(number, each) for number, each in enumerate(self._objects, start))

    def _row(self, number: int, found: Any) -> Row:
        if not isinstance(found, dict):
            return self._columns.problem_row(number, f"the entry must be a JSON object, got {found!r:.80}")
        return self._columns.row(number, found)


def _json_list(path: Path, given: str) -> list[Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        found = json.loads(text) if text.strip() else []
    except UnicodeDecodeError as error:
        raise ValueError(
            f"data must be UTF-8 text, got other bytes in {given!r} ({error.reason}); save it as UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"data must be readable as what its name says, got {given!r}: {error}.") from error
    if not isinstance(found, list):
        raise ValueError(
            f"data must hold a list of JSON objects, or an object a line, got {given!r} with a {type(found).__name__}."
        )
    return found


class ParquetRows(_CountedRows):
    """A Parquet file, of which only the needed columns are read, and of these some pages at a time."""

    def __init__(self, path: Path, given: str, columns: Columns) -> None:
        self._path, self._given, self._columns = path, given, columns
        with self._readable(), self._file() as file:
            names, rows = file.schema_arrow.names, file.metadata.num_rows
        columns.check(names, given)
        super().__init__(path.name, {"kind": "parquet", "bytes": path.stat().st_size, "rows": rows}, rows)

    def read(self, start: int = 0) -> Iterator[Row]:
        return self._counted(_rows_of_batches(self._batches(), self._columns, start))

    def _batches(self) -> Iterator[Any]:
        with self._readable():
            file = self._file()
        with file:
            batches = file.iter_batches(_BATCH, columns=self._columns.names)
            while True:
                with self._readable():
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

    def _file(self) -> Any:
        from pyarrow import parquet

        # with a buffer a column is read as it is needed, without one it is read a row group at a time
        return parquet.ParquetFile(self._path, buffer_size=1 << 20)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            told = " ".join(str(error).split()).rstrip(".")
            raise ValueError(f"data must be readable as what its name says, got {self._given!r}: {told}.") from error


class DatasetRows(_CountedRows):
    """A `datasets.Dataset`, mapped into memory."""

    def __init__(self, dataset: Any, name: str, identity: Mapping[str, Any], columns: Columns, given: str) -> None:
        columns.check(dataset.column_names, given)
        super().__init__(name, {**identity, "rows": len(dataset), "fingerprint": dataset._fingerprint}, len(dataset))
        self._dataset = dataset.select_columns(columns.names).with_format("arrow")
        self._columns, self._unlabelled = columns, _unlabelled(dataset.features, columns)

    def read(self, start: int = 0) -> Iterator[Row]:
        batches = self._dataset.iter(_BATCH)
        return self._counted(_rows_of_batches(batches, self._columns, start, self._unlabelled))


class StreamedRows(_CountedRows):
    """A dataset that is streamed; how many rows it has may not be known."""

    def __init__(
        self,
        dataset: Any,
        name: str,
        identity: Mapping[str, Any],
        total: int | None,
        columns: Columns,
        given: str,
    ) -> None:
        super().__init__(name, identity if total is None else {**identity, "rows": total}, total)
        self._checked = dataset.column_names is not None
        if self._checked:
            columns.check(dataset.column_names, given)
            dataset = dataset.select_columns(columns.names)
        self._dataset, self._columns, self._given = dataset, columns, given
        self._unlabelled = _unlabelled(dataset.features, columns)

    def read(self, start: int = 0) -> Iterator[Row]:
        return self._counted(self._rows(start))

    def _rows(self, start: int) -> Iterator[Row]:
        from datasets.exceptions import DatasetsError
        from pyarrow import ArrowException

        examples = iter(self._dataset)
        number = start
        while True:
            try:
                found = next(examples, None)
            except (ValueError, ArrowException, DatasetsError) as error:
                told = " ".join(str(error.__cause__ or error).split()).rstrip(".")
                raise ValueError(f"data must be readable to its end, got {self._given!r}: {told}.") from error
            if found is None:
                return
            if not self._checked:
                self._columns.check(list(found), self._given)
                self._checked = True
            yield self._columns.row(number, _labelled(found, self._columns.label, self._unlabelled))
            number += 1


class JoinedRows(RowSource):
    """The files of a folder, one after the other.

    Args:
        parts: the files.
        name, identity: as of every source.
        sizes: of the files, in bytes.
    """

    def __init__(
        self, parts: Sequence[RowSource], name: str, identity: Mapping[str, Any], sizes: Sequence[int]
    ) -> None:
        totals = [part.total for part in parts]
        whole = {**identity, "files": len(parts), "bytes": sum(sizes)}
        super().__init__(name, whole, None if None in totals else sum(total or 0 for total in totals))
        self._parts, self._sizes, self._place = parts, sizes, 0

    def read(self, start: int = 0) -> Iterator[Row]:
        for place, part in enumerate(self._parts):
            self._place = place
            number = start - 1
            for row in part.read(start):
                number = row.number
                yield row
            start = number + 1

    def share_read(self) -> float | None:
        now = (self._parts[self._place].share_read() or 0.0) * self._sizes[self._place]
        return (sum(self._sizes[: self._place]) + now) / max(1, sum(self._sizes))

    def check(self) -> bool:
        """Looks at every file, so that a column that one of them lacks is missed at once."""
        return any([part.check() for part in self._parts])


def _rows_of_batches(
    batches: Iterable[Any], columns: Columns, start: int, unlabelled: int | None = None
) -> Iterator[Row]:
    """The rows of Arrow tables or batches that have the columns."""
    number = start
    for batch in batches:
        cells = [_cells(batch.column(name)) for name in columns.names]
        for row in zip(*cells, strict=True):
            found = dict(zip(columns.names, row, strict=True))
            yield columns.row(number, _labelled(found, columns.label, unlabelled))
            number += 1


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


def _unlabelled(features: Any, columns: Columns) -> int | None:
    """What stands for "no label" in the label column: -1 in one of class ids."""
    feature = None if features is None or columns.label is None else features.get(columns.label)
    return -1 if getattr(feature, "names", None) is not None else None


def _labelled(cells: dict[str, Any], label: str | None, unlabelled: int | None) -> dict[str, Any]:
    if label is not None and unlabelled is not None and cells.get(label) == unlabelled:
        return {**cells, label: None}
    return cells
