# SPDX-License-Identifier: Apache-2.0
"""Rows of text, JSONL, CSV and TSV, read line by line: what cannot be read is a row with a problem, never one less."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from .rows import Row, RowColumns, RowSource

_BOM = b"\xef\xbb\xbf"
_PIECE = 1 << 16  # bytes of a line that are read at a time where it need not be whole
_CSV_LIMIT = threading.Lock()  # of the csv module's limit on cells, which is the process's
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


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

    def _pieces(self, size: int) -> Iterator[bytes]:
        """What there is, up to the end of a line or `size` bytes at a time, without a byte order mark."""
        with self._open() as read:
            piece = read(len(_BOM))
            self._done += len(piece)
            piece = piece.removeprefix(_BOM)
            if not piece.endswith(b"\n"):
                piece += (rest := read(size - len(piece)))
                self._done += len(rest)
            if piece.startswith(_OTHER_BOMS):  # of what follows every second line could pass for UTF-8
                raise ValueError(
                    f"data must be UTF-8 text, got UTF-16 or UTF-32 in {self._shown!r}, line 1; save it as UTF-8."
                )
            while piece:
                yield piece
                piece = read(size)
                self._done += len(piece)

    def _lines(self) -> Iterator[bytes | str]:
        """The lines with their ends; of one that is longer than a row may be, what is wrong with it."""
        size, skipped = self.columns.longest_row, 0
        for piece in self._pieces(size):
            ended = piece.endswith(b"\n")
            if not skipped and (ended or len(piece) < size):
                yield piece
                continue
            skipped += len(piece)
            del piece
            if ended:
                yield self.columns.too_long(skipped)
                skipped = 0
        if skipped:
            yield self.columns.too_long(skipped)

    @contextmanager
    def _open(self) -> Iterator[Callable[[int], bytes]]:
        """What reads on to the end of a line, but no more bytes than it is given."""
        if self._path is not None:
            with open(self._path, "rb") as file:
                yield file.readline
            return
        if self._begun:
            raise ValueError("data must be a file where it is read more than once, got standard input.")
        self._begun = True
        stream: Any = getattr(sys.stdin, "buffer", sys.stdin)
        lines = None if hasattr(stream, "readline") else iter(stream)  # the latter of a program's own

        def read(size: int) -> bytes:
            line = stream.readline(size) if lines is None else next(lines, b"")
            return line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line

        yield read


class TextRows(_LineRows):
    """One text a line, blank lines too, so that a row's number and 1 is its line."""

    def __init__(self, path: Path | None, shown: str, kind: str, columns: RowColumns) -> None:
        columns.check(["text"], shown)
        super().__init__(path, shown, kind, columns)

    def _entries(self) -> Iterator[Mapping[str, Any] | str]:
        for line in self._lines():
            if isinstance(line, str):
                yield line
                continue
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
                yield line if isinstance(line, str) else _json_object(line)


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
        for text, size, first, last in self._table_rows():
            lines = f"line {first} is" if first == last else f"lines {first} to {last} are"
            if text is None:
                yield f"{self.columns.too_long(size, 'characters')}; {lines} one row"
                continue
            try:
                cells = _parse(text, self._delimiter)
            except csv.Error as error:
                yield f"{lines} not well-formed {self._kind.upper()} ({error})"
                continue
            if cells:
                yield cells

    def _table_rows(self) -> Iterator[tuple[str | None, int, int, int]]:
        """Each row as it stands, with its characters, its first and its last line; `None` for one that is too long.

        ValueError where a quote is not closed: nobody can tell where its row ends, the rows after it are in its cell.
        """
        quotes, pieces, size, first, number = _Quotes(self._delimiter), list[str](), 0, 1, 1
        for piece in self._text_pieces():
            size += len(piece)
            if size <= self.columns.longest_row:
                pieces.append(piece)
            else:
                pieces.clear()
            quotes.read(piece)
            if piece[-1] not in "\r\n":
                continue
            if not quotes.open:
                yield "".join(pieces) if size <= self.columns.longest_row else None, size, first, number
                quotes, pieces, size, first = _Quotes(self._delimiter), [], 0, number + 1
            number += 1
        if quotes.open:
            raise ValueError(
                f"data must close every quote, got {self._shown!r} with one that is open from line {first} on."
            )
        if size:
            yield "".join(pieces) if size <= self.columns.longest_row else None, size, first, number

    @property
    def _delimiter(self) -> str:
        return "\t" if self._kind == "tsv" else ","

    def _text_pieces(self) -> Iterator[str]:
        """The text, up to the end of a line or some thousand characters at a time."""
        decoder, number = codecs.getincrementaldecoder("utf-8")(), 1
        for piece in itertools.chain(self._pieces(_PIECE), [b""]):
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"data must be UTF-8 text, got other bytes in {self._shown!r}, line {number} ({error.reason}); "
                    "save it as UTF-8."
                ) from error
            number += piece.endswith(b"\n")
            if "\r" in text and "\r" in text.rstrip("\r\n"):  # ends a row too, where it is not quoted
                yield from io.StringIO(text, newline="")
            elif text:
                yield text


class _Quotes:
    """Follows the quotes of one row of CSV, as the csv module reads it: whether a line's end is the row's end."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter, self._state = delimiter, "start"

    @property
    def open(self) -> bool:
        """Whether the row goes on in a quoted cell."""
        return self._state == "quoted"

    def read(self, piece: str) -> None:
        """Reads on, at most to the end of a line."""
        if self._state in ("start", "plain") and '"' not in piece:
            self._state = "start" if piece.endswith(self._delimiter) else "plain"
            return
        place = 0
        while place < len(piece):
            if self._state in ("plain", "quoted"):
                sought, following = ('"', "after a quote") if self.open else (self._delimiter, "start")
                place = piece.find(sought, place) + 1
                if not place:
                    return
                self._state = following
            elif self._state == "malformed":  # the row ends with the line
                return
            elif piece[place] == '"':  # the first of a cell, or the second of two
                self._state, place = "quoted", place + 1
            elif piece[place] == self._delimiter:
                self._state, place = "start", place + 1
            else:
                self._state = "plain" if self._state == "start" else "malformed"


def _parse(row: str, delimiter: str) -> list[str]:
    """The cells of a row. The csv module's limit on cells is the process's, so it is put back at once."""
    reader = csv.reader([row], delimiter=delimiter, strict=True)
    if len(row) <= csv.field_size_limit():
        return next(reader, [])
    with _CSV_LIMIT:
        limit = csv.field_size_limit(len(row))
        try:
            return next(reader, [])
        finally:
            csv.field_size_limit(limit)


def holds_json_lines(path: Path, longest: int) -> bool:
    """Whether a JSON file holds an object a line, and not one list; a line of over `longest` bytes is taken for one."""
    with open(path, "rb") as file:
        if file.read(1 << 16).removeprefix(_BOM).lstrip()[:1] != b"{":
            return False
        file.seek(0)
        lines = iter(partial(file.readline, longest), b"")
        first = next(line for line in lines if line.removeprefix(_BOM).strip())
    return len(first) == longest or isinstance(_json_object(first.removeprefix(_BOM)), dict)
