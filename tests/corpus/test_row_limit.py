# SPDX-License-Identifier: Apache-2.0
"""Rows beyond `max_characters`: a problem of theirs alone, and passed over in memory that does not grow with them."""

from __future__ import annotations

import csv
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from helpers.row_files import KINDS, SUFFIXES, few, write
from mhex_nlp.corpus.readers.lines import _Quotes
from mhex_nlp.corpus.readers.opening import open_rows, rows_of
from mhex_nlp.corpus.readers.rows import RowColumns, RowSource

pytestmark = pytest.mark.usefixtures("own_cache")
LIMIT = 100
LONGEST = RowColumns("text", max_characters=LIMIT).longest_row


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_text_over_the_limit_is_a_problem_of_its_row(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"rows{suffix}", ["é" * LIMIT, "b" * (LIMIT + 1), "c"])
    rows = list(open_rows(path, max_characters=LIMIT))
    assert [row.text for row in rows] == ["é" * LIMIT, "", "c"]
    assert rows[1].problem == "the text has 101 characters, more than max_characters=100 lets in"
    assert all(row.problem is None for row in open_rows(path))
    with pytest.raises(ValueError, match="max_characters must be an integer of at least 1, got 'many'"):
        open_rows(path, max_characters="many")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_characters must be an integer of at least 1, got 0"):
        open_rows(path, max_characters=0)


def test_second_texts_and_datasets_have_the_limit_too(tmp_path: Path) -> None:
    table = {"text": ["a", "a"], "two": ["b" * LIMIT, "b" * 101]}
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    for source in (
        open_rows(tmp_path / "a.parquet", text_pair_column="two", max_characters=LIMIT),
        rows_of(Dataset.from_dict(table), text_pair_column="two", max_characters=LIMIT),
    ):
        assert [row.problem and row.problem[:34] for row in source] == [None, "the second text has 101 characters"]


class Stream:
    """Standard input that is made as it is read: some bytes, then others again and again, then an end."""

    def __init__(self, start: bytes, piece: bytes, size: int, end: bytes) -> None:
        self._rest, self._piece, self._left, self._end = start, piece, size, end

    def readline(self, size: int) -> bytes:
        while len(self._rest) < size and b"\n" not in self._rest and (self._left > 0 or self._end):
            if self._left > 0:
                self._rest += self._piece
                self._left -= len(self._piece)
            else:
                self._rest, self._end = self._rest + self._end, b""
        cut = self._rest.find(b"\n") + 1 or len(self._rest)
        line, self._rest = self._rest[: min(cut, size)], self._rest[min(cut, size) :]
        return line

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("a line without end must not be read whole")


SIZE = 50_000_000
STREAMS = {
    "text": (b"one\n", b"x" * 50_000, b"\nlast\n", "the row has {:,} bytes"),
    "jsonl": (b'{"text": "one"}\n{"text": "', b"x" * 50_000, b'"}\n{"text": "last"}\n', "the row has {:,} bytes"),
    "csv": (b"text,n\none,1\n", b"x" * 50_000, b",2\nlast,3\n", "the row has {:,} characters"),
    "tsv": (b"text\tn\none\t1\n", b"x\t" * 25_000, b"\nlast\t3\n", "the row has {:,} characters"),
}


def peak(rows: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        rows()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_without_end_is_passed_over(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A thousand times as long as the limit, in memory that holds a few times the limit."""
    start, piece, end, told = STREAMS[kind]
    monkeypatch.setattr("sys.stdin", Stream(start, piece, SIZE, end))
    rows = []
    assert peak(lambda: rows.extend(open_rows("-", kind=kind, max_characters=LIMIT))) < 8 * LONGEST
    assert [(row.number, row.text) for row in rows] == [(0, "one"), (1, ""), (2, "last")]
    length = SIZE + len(end.partition(b"\n")[0]) + 1 + (len(start.rpartition(b"\n")[2]))
    assert rows[1].problem is not None and rows[1].problem.startswith(told.format(length))


def test_a_quoted_cell_over_many_lines_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes are followed to the cell's end, so that the row after it is a row again."""
    stream = Stream(b'text,n\none,1\n"', b'say ""x"" ' + b"y" * 989 + b"\n", 10_000_000, b'",2\nlast,3\n')
    monkeypatch.setattr("sys.stdin", stream)
    rows = []
    assert peak(lambda: rows.extend(open_rows("-", kind="csv", max_characters=LIMIT))) < 8 * LONGEST
    assert [(row.number, row.text) for row in rows] == [(0, "one"), (1, ""), (2, "last")]
    assert "the row has 10,000,005 characters" in rows[1].problem
    assert rows[1].problem.endswith("lines 3 to 10003 are one row")


def test_a_quote_that_is_never_closed_is_found_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Stream(b'text,n\none,1\n"', b"two " * 200 + b",2\n", 10_000_000, b""))

    def read() -> None:
        with pytest.raises(ValueError, match="data must close every quote, got .* open from line 3 on"):
            list(open_rows("-", kind="csv", max_characters=LIMIT))

    assert peak(read) < 8 * LONGEST


@pytest.mark.parametrize("kind", ["jsonl", "json", "txt", "csv"])
def test_files_with_such_a_line(tmp_path: Path, kind: str) -> None:
    """Also as the only one, and of a JSON file whose first line is looked at to tell its kind."""
    path = tmp_path / f"rows.{kind}"
    head = {"csv": b"text\n"}.get(kind, b"")
    path.write_bytes(head + b'{"text": "' * (kind[0] == "j") + b"x" * 2_000_000)
    rows = []
    assert peak(lambda: rows.extend(open_rows(path, max_characters=LIMIT))) < 12 * LONGEST
    assert len(rows) == 1 and "more than max_characters=100 lets in" in rows[0].problem


@few
@given(
    rows=st.lists(st.text(st.sampled_from('ab",\n\r é'), max_size=12), min_size=1, max_size=6),
    size=st.integers(1, 9),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_quotes_end_a_row_where_the_csv_module_does(rows: list[str], size: int, end: str) -> None:
    """Whatever the pieces are in which a line is read, and whether or not the row is well-formed."""
    for row in rows:
        line = f"{row.replace(chr(13), '').replace(chr(10), '')}{end}"
        quotes = _Quotes(",")
        for start in range(0, len(line), size):
            quotes.read(line[start : start + size])
        reader = csv.reader(iter([line, "x"]), strict=True)
        try:
            next(reader)
            open_after = reader.line_num == 2
        except csv.Error as error:
            open_after = "unexpected end" in str(error)
        assert quotes.open == open_after, line


def test_the_limit_of_the_csv_module_stays_that_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "".join(f"{'x' * 200_000}{number}\n" for number in range(20)))
    before = csv.field_size_limit()
    lengths: list[int] = []

    def read() -> None:
        lengths.extend(len(row.text) for row in open_rows(path))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source = iter(open_rows(path))
    next(source)
    assert csv.field_size_limit() == before  # also while a reader is under way
    assert len(lengths) == 80 and min(lengths) > 200_000


def test_old_line_ends_need_no_whole_file(tmp_path: Path) -> None:
    """A table whose lines end with a carriage return is one line to others."""
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,n\r" + (b"some text " * 9 + b",1\r") * 20_000)
    source: RowSource = open_rows(path, max_characters=LIMIT)
    count = [0]

    def read() -> None:
        count[0] = sum(row.text == "some text " * 9 for row in source)

    assert peak(read) < 8 * LONGEST and count[0] == 20_000
