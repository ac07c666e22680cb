# SPDX-License-Identifier: Apache-2.0
"""A reader for each kind of source of rows: what cannot be read becomes a row with a problem, never a row less."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .rows import Columns, Row, RowSource

_BOM = b"\xef\xbb\xbf"
_BATCH = 256  # rows that are Python objects at the same time
_LONGEST_CELL = 1 << 24  # characters; what goes on for longer is a quote that was not closed


class _LineRows(RowSource):
    """Rows of a file, or of standard input (`path` is None), that is read line by line; a line ends at a newline.

    Args:
        path: the file.
        given: what to call it in a sentence.
        kind: of its content.
        columns: which are read.
    """

    def __init__(self, path: Path | None, given: str, kind: str, columns: Columns) -> None:
        self._size = None if path is None else path.stat().st_size
        identity = {"kind": kind} if path is None else {"kind": kind, "bytes": self._size}
        super().__init__(given if path is None else path.name, identity)
        self._path, self._given, self._columns = path, given, columns
        self._read, self._begun = 0, False

    @abstractmethod
    def _rows(self, start: int) -> Iterator[Row]: ...

    def read(self, start: int = 0) -> Iterator[Row]:
        none = True
        for row in self._rows(start):
            none = False
            yield row
        if none and self._path is None:  # a file was looked at when it was opened
            raise ValueError(f"data must have at least one row, got none in {self._given}.")

    def share_read(self) -> float | None:
        if self._size is None:
            return None
        return min(1.0, self._read / self._size) if self._size else 1.0

    def check(self) -> bool:
        try:
            return super().check()
        finally:
            self._read = 0

    def _lines(self) -> Iterator[bytes]:
        """The lines with their ends, without a byte order mark."""
        self._read = 0
        with self._open() as lines:
            for number, line in enumerate(lines):
                self._read += len(line)
                if number == 0:
                    line = line.removeprefix(_BOM)
                if line:
                    yield line

    @contextlib.contextmanager
    def _open(self) -> Iterator[Iterable[bytes]]:
        if self._path is not None:
            with open(self._path, "rb") as file:
                yield file
            return
        if self._begun:
            raise ValueError("data must be a file where it is read more than once, got standard input.")
        self._begun = True
        stream: Any = getattr(sys.stdin, "buffer", sys.stdin)
        yield (line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line for line in stream)


class TextRows(_LineRows):
    """One text a line, blank lines too, so that a row's number and 1 is its line."""

    def __init__(self, path: Path | None, given: str, kind: str, columns: Columns) -> None:
        columns.check(["text"], given)
        super().__init__(path, given, kind, columns)

    def _rows(self, start: int) -> Iterator[Row]:
        for number, line in enumerate(self._lines(), start):
            try:
                text = line.removesuffix(b"\n").removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                yield self._columns.problem_row(number, "the line is not UTF-8")
            else:
                yield self._columns.row(number, {"text": text})


class JsonLineRows(_LineRows):
    """One JSON object a line; blank lines are no rows."""

    def check(self) -> bool:
        """Reads on to the first object, which has the columns."""
        found = False
        for each in self._objects():
            found = True
            if isinstance(each, dict):
                self._columns.check(list(each), self._given)
                break
        self._read = 0
        return found

    def _rows(self, start: int) -> Iterator[Row]:
        checked = False
        for number, found in enumerate(self._objects(), start):
            if isinstance(found, str):
                yield self._columns.problem_row(number, found)
                continue
            if not checked:
                self._columns.check(list(found), self._given)
                checked = True
            yield self._columns.row(number, found)

    def _objects(self) -> Iterator[dict[str, Any] | str]:
        for line in self._lines():
            if line.strip():
                yield _json_object(line)


def _json_object(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or what is wrong with it."""
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError:
        return "the line is not UTF-8"
    except json.JSONDecodeError as error:
        return f"the line is not JSON ({error.msg} at character {error.pos + 1})"
    except (ValueError, RecursionError) as error:  # an integer of 5000 digits, a thousand brackets
        return f"the line cannot be read as JSON ({error})"
    return found if isinstance(found, dict) else f"the line must be a JSON object, got {found!r:.80}"


class TableRows(_LineRows):
    """CSV or TSV with a header; every cell stays the text it is."""

    def _rows(self, start: int) -> Iterator[Row]:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # of the process; there is no other
        self._ended = False
        reader = csv.reader(self._text_lines(), delimiter="\t" if self._is_tsv else ",", strict=True)
        header: list[str] | None = None
        places: dict[str, int] = {}
        number = start
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                problem = self._malformed(error, first, reader.line_num)
                if header is None:
                    raise ValueError(f"data must be well-formed, got {self._given!r}, where {problem}.") from error
                yield self._columns.problem_row(number, problem)
                number += 1
                continue
            if cells is None:
                return
            if not cells:  # an empty line
                continue
            if header is None:
                header = cells
                self._columns.check(header, self._given)
                places = {name: header.index(name) for name in self._columns.names}
                continue
            if len(cells) > len(header):  # which of them belong to which column nobody knows
                yield self._columns.problem_row(number, f"row has {len(cells)} cells, the header {len(header)}")
            else:
                found = {name: cells[place] for name, place in places.items() if place < len(cells)}
                yield self._columns.row(number, found)
            number += 1

    @property
    def _is_tsv(self) -> bool:
        return self.identity["kind"] == "tsv"

    def _text_lines(self) -> Iterator[str]:
        for number, line in enumerate(self._lines(), 1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"data must be UTF-8 text, got other bytes in {self._given!r}, line {number} ({error.reason}); "
                    "save it as UTF-8."
                ) from error
            if "\r" in text and "\r" in text.rstrip("\r\n"):  # ends a row too, where it is not quoted
                yield from io.StringIO(text, newline="")
            else:
                yield text
        self._ended = True

    def _malformed(self, error: csv.Error, first: int, last: int) -> str:
        """What is wrong with the lines of a row; ValueError where nobody can tell where the row ends."""
        if self._ended or "field limit" in str(error):  # the rows after it went into the cell
            raise ValueError(
                f"data must close every quote, got {self._given!r} with one that is open from line {first} on."
            ) from error
        lines = f"line {first} is" if first == last else f"lines {first} to {last} are"
        return f"{lines} not well-formed {self.identity['kind'].upper()} ({error})"


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


def holds_json_lines(path: Path) -> bool:
    """Whether a JSON file holds an object a line, and not one list."""
    with open(path, "rb") as file:
        if file.read(1 << 16).removeprefix(_BOM).lstrip()[:1] != b"{":
            return False
        file.seek(0)
        first = next(line for line in file if line.removeprefix(_BOM).strip())
    return isinstance(_json_object(first.removeprefix(_BOM)), dict)


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
