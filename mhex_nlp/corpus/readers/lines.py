# SPDX-License-Identifier: Apache-2.0
"""Rows of text, JSONL, CSV and TSV, read line by line: what cannot be read is a row with a problem, never one less."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from .rows import Row, RowColumns, RowSource

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_LONGEST_CELL = 1 << 24  # characters; what goes on for longer is a quote that was not closed


class _LineRows(RowSource):
    """Rows of a file, or of standard input (`path` is None), that is read line by line; a line ends at a newline."""

    def __init__(self, path: Path | None, shown: str, kind: str, columns: RowColumns) -> None:
        size = None if path is None else path.stat().st_size
        identity = {"kind": kind} if path is None else {"kind": kind, "bytes": size}
        super().__init__(shown if path is None else path.name, shown, identity, columns)
        self._path, self._kind = path, kind
        self._extent, self._begun = size, False

    def __iter__(self) -> Iterator[Row]:
        row = None
        for row in super().__iter__():
            yield row
        if row is None and self._path is None:  # a file was looked at when it was opened
            raise ValueError(f"data must have at least one row, got none in {self._shown}.")

    def _lines(self) -> Iterator[bytes]:
        """The lines with their ends, without a byte order mark."""
        with self._open() as lines:
            for number, line in enumerate(lines):
                self._done += len(line)
                if number == 0:
                    if line.startswith(_OTHER_BOMS):  # of what follows every second line could pass for UTF-8
                        raise ValueError(
                            f"data must be UTF-8 text, got UTF-16 or UTF-32 in {self._shown!r}, line 1; save it as "
                            "UTF-8."
                        )
                    line = line.removeprefix(_BOM)
                if line:
                    yield line

    def _open(self) -> AbstractContextManager[Iterable[bytes]]:
        if self._path is not None:
            return open(self._path, "rb")
        if self._begun:
            raise ValueError("data must be a file where it is read more than once, got standard input.")
        self._begun = True
        stream: Any = getattr(sys.stdin, "buffer", sys.stdin)
        return nullcontext(line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line for line in stream)


class TextRows(_LineRows):
    """One text a line, blank lines too, so that a row's number and 1 is its line."""

    def __init__(self, path: Path | None, shown: str, kind: str, columns: RowColumns) -> None:
        columns.check(["text"], shown)
        super().__init__(path, shown, kind, columns)

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        for line in self._lines():
            try:
                yield {"text": line.removesuffix(b"\n").removesuffix(b"\r").decode()}
            except UnicodeDecodeError:
                yield "the line is not UTF-8"


class JsonLineRows(_LineRows):
    """One JSON object a line; blank lines are no rows."""

    _checked = False

    def check(self) -> bool:
        """Reads on to the first object, which has the columns."""
        entry = None
        for entry in self.entries():
            if isinstance(entry, dict):
                break
        self._done = 0
        return entry is not None

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        for line in self._lines():
            if line.strip():
                yield _json_object(line)


def _json_object(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or what is wrong with it."""
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return "the line is not UTF-8"
    except json.JSONDecodeError as error:
        return f"the line is not JSON ({error.msg} at character {error.pos + 1})"
    except (ValueError, RecursionError) as error:  # an integer of 5000 digits, a thousand brackets
        return f"the line cannot be read as JSON ({error})"
    return value if isinstance(value, dict) else f"the line must be a JSON object, got {value!r:.80}"


class TableRows(_LineRows):
    """CSV or TSV with a header; every cell stays the text it is."""

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        header: list[str] | None = None
        positions: dict[str, int] = {}
        for cells in self._cells():
            if header is None:
                if isinstance(cells, str):
                    raise ValueError(f"data must be well-formed, got {self._shown!r}, where {cells}.")
                header = cells
                self.columns.check(header, self._shown)
                positions = {name: header.index(name) for name in self.columns.names}
            elif isinstance(cells, str):
                yield cells
            elif len(cells) > len(header):  # it cannot be known which of them belong to which column
                yield f"row has {len(cells)} cells, the header {len(header)}"
            else:
                yield {name: cells[position] for name, position in positions.items() if position < len(cells)}

    def _cells(self) -> Iterator[list[str] | str]:
        """The cells of each row that is not empty, the header's too, or what is wrong with the lines of a row."""
        self._ended = False
        reader = csv.reader(self._text_lines(), delimiter="\t" if self._kind == "tsv" else ",", strict=True)
        while True:
            first = reader.line_num + 1
            try:
                with _long_cells():
                    cells = next(reader, None)
            except csv.Error as error:
                yield self._malformed(error, first, reader.line_num)
                continue
            if cells is None:
                return
            if cells:
                yield cells

    def _text_lines(self) -> Iterator[str]:
        for number, line in enumerate(self._lines(), 1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"data must be UTF-8 text, got other bytes in {self._shown!r}, line {number} ({error.reason}); "
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
                f"data must close every quote, got {self._shown!r} with one that is open from line {first} on."
            ) from error
        lines = f"line {first} is" if first == last else f"lines {first} to {last} are"
        return f"{lines} not well-formed {self._kind.upper()} ({error})"


@contextmanager
def _long_cells() -> Iterator[None]:
    """Lets the csv module read long cells; its limit is the process's, so it is put back."""
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, _LONGEST_CELL))
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def holds_json_lines(path: Path) -> bool:
    """Whether a JSON file holds an object a line, and not one list."""
    with open(path, "rb") as file:
        if file.read(1 << 16).removeprefix(_BOM).lstrip()[:1] != b"{":
            return False
        file.seek(0)
        first = next(line for line in file if line.removeprefix(_BOM).strip())
    return isinstance(_json_object(first.removeprefix(_BOM)), dict)
