# SPDX-License-Identifier: Apache-2.0
"""Rows of text files and of standard input: a line each, as it comes."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.row_files import (
    HOSTILE,
    KINDS,
    ONE_LINE,
    expected,
    few,
    write,
)
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.corpus.readers.rows import Row

pytestmark = pytest.mark.usefixtures("own_cache")


@few
@given(content=st.text(st.sampled_from("ab \r\n\u2028\x85\x00"), min_size=1, max_size=30))
def test_lines_of_any_text(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.txt").write_bytes(content.encode())
    lines = content.removesuffix("\n").split("\n")
    assert list(open_rows(tmp_path / "rows.txt")) == expected([line.removesuffix("\r") for line in lines])


def test_lines_of_text_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ncaf\xe9\n  \n\nlast")
    rows = list(open_rows(tmp_path / "rows.txt"))
    empty = "the text is empty"
    assert [row.problem for row in rows] == [None, empty, "the line is not UTF-8", empty, empty, None]
    assert (rows[0].text, rows[5]) == ("one", Row(5, "5", "last", None, None))


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_named(tmp_path: Path, suffix: str, encoding: str) -> None:
    """Every second line of UTF-16 without its first byte would pass for UTF-8, with NUL characters in it."""
    path = write(tmp_path / f"rows{suffix}", ["one", "two", "three"])
    path.write_bytes(path.read_text().encode(encoding))
    with pytest.raises(ValueError, match=r"data must be UTF-8 text, got UTF-16 or UTF-32 in '.*', line 1; save it as"):
        list(open_rows(path))


STREAMS = {
    "wrapped": lambda content: io.TextIOWrapper(io.BytesIO(content), "ascii"),
    "bytes": io.BytesIO,
    "text": lambda content: io.StringIO(content.decode()),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("kind", "suffix"), KINDS.items())
def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, suffix: str, stream: str) -> None:
    texts = ONE_LINE if kind == "text" else HOSTILE
    content = write(tmp_path / f"rows{suffix}", texts).read_bytes()
    monkeypatch.setattr("sys.stdin", STREAMS[stream](content))
    source = open_rows("-", kind=None if kind == "text" else kind)
    assert list(source) == expected(texts)
    assert source.identity == {"name": "standard input", "kind": kind}
    assert source.total is None and source.share_read() is None
    with pytest.raises(ValueError, match="more than once, got standard input"):
        list(source)


@pytest.mark.parametrize(("kind", "content"), [("csv", b"a,b\n1,2\n"), ("jsonl", b'{"a": 1}\n')])
def test_standard_input_without_the_column(monkeypatch: pytest.MonkeyPatch, kind: str, content: bytes) -> None:
    with pytest.raises(ValueError, match="text_column must name a column of 'standard input'"):
        open_rows("-", text_column="review")
    monkeypatch.setattr("sys.stdin", io.BytesIO(content))
    with pytest.raises(ValueError, match="text_column must name a column of 'standard input', got 'text'; it has a"):
        next(iter(open_rows("-", kind=kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_standard_input_without_a_row(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("sys.stdin", io.BytesIO(b""))
    with pytest.raises(ValueError, match="at least one row, got none in standard input"):
        list(open_rows("-", kind=kind))


@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_is_read_ahead(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Of a source without end some rows are read, and not more lines than these rows need."""
    lines_read = 0

    def lines() -> Iterator[bytes]:
        nonlocal lines_read
        yield {"csv": b"text,n\n", "tsv": b"text\tn\n"}.get(kind, b'{"text": "first"}\n')
        for number in itertools.count():
            lines_read += 1
            yield b'{"text": "a"}\n' if kind == "jsonl" else b"%d\n" % number

    monkeypatch.setattr("sys.stdin", lines())
    for rows, row in enumerate(itertools.islice(open_rows("-", kind=kind), 5000), 1):
        assert row.problem is None and lines_read <= rows + 1


def test_a_pipe_that_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come as they are written."""
    end, start = os.pipe()
    with os.fdopen(start, "wb", buffering=0) as writer, os.fdopen(end, "r") as reader:
        monkeypatch.setattr("sys.stdin", reader)
        rows = iter(open_rows("-"))
        for number in range(3):
            writer.write(b"a text\n")
            assert next(rows) == Row(number, str(number), "a text", None, None)
