# SPDX-License-Identifier: Apache-2.0
"""Rows of CSV and TSV: every cell as it stands, and one problem row for each that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.row_files import (
    ANY_TEXT,
    expected,
    few,
    write_table,
)
from mhex_nlp.corpus.readers.opening import open_rows

pytestmark = pytest.mark.usefixtures("own_cache")


@few
@given(rows=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=8), data=st.data())
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_tables_of_any_cells(tmp_path: Path, suffix: str, rows: list[tuple[str, str]], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    path = write_table(tmp_path / f"rows{suffix}", [["id", "text"], *map(list, rows)], end=end)
    if data.draw(st.booleans()):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    texts = expected([text for _, text in rows])
    read = list(open_rows(path, id_column="id"))
    assert [(row.number, row.text, row.problem) for row in read] == [(r.number, r.text, r.problem) for r in texts]
    assert [row.id for row in read] == [name or str(number) for number, (name, _) in enumerate(rows)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_unquoted_cells(tmp_path: Path, end: str) -> None:
    (tmp_path / "rows.csv").write_bytes(end.join(["text,n", '5" disk,007', "", "NA,", "", ""]).encode())
    rows = list(open_rows(tmp_path / "rows.csv", label_column="n"))
    assert [(row.number, row.text, row.label) for row in rows] == [(0, '5" disk', "007"), (1, "NA", None)]


def test_rows_of_a_table_that_do_not_fit_its_header(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(
        b'\nid,text,label\n\na,short\nb\nc,one,x,more\n"d",two,y\ne,"said "so"",y\nf,"line\nline" x,y\n"g",last,z\n'
    )
    rows = list(open_rows(tmp_path / "rows.csv", id_column="id", label_column="label"))
    assert [row.text for row in rows] == ["short", "", "", "two", "", "", "last"]
    assert [row.id for row in rows] == ["a", "b", "2", "d", "4", "5", "g"]
    assert [row.label for row in rows] == [None, None, None, "y", None, None, "z"]
    assert [row.problem for row in rows] == [
        None,
        "the text is missing",
        "row has 4 cells, the header 3",
        None,
        "line 8 is not well-formed CSV (',' expected after '\"')",
        "lines 9 to 10 are not well-formed CSV (',' expected after '\"')",
        None,
    ]


def test_a_quote_that_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows after it are in its cell: no number of problem rows would be right."""
    path = tmp_path / "rows.csv"
    path.write_text('text,n\none,1\n"two,2\nthree,3\n')
    rows = iter(open_rows(path))
    assert next(rows).text == "one"
    with pytest.raises(ValueError, match=r"data must close every quote, got '.*rows.csv' .* from line 3 on\."):
        next(rows)


def test_bytes_that_are_not_utf8_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text\none\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"^data must be UTF-8 text, got .* in '.*rows.csv', line 3 .* as UTF-8\.$"):
        list(open_rows(path))
    path.write_bytes("text\none\n".encode("utf-16"))
    with pytest.raises(ValueError, match="line 1"):
        open_rows(path)


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,n,n,text\na,1,2,b\n")
    with pytest.raises(ValueError, match="text_column must name one column of .*, which it has twice"):
        open_rows(tmp_path / "rows.csv")
