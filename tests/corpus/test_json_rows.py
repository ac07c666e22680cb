# SPDX-License-Identifier: Apache-2.0
"""Rows of JSON and JSONL: objects as they stand, and one problem row for each entry that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from helpers.row_files import (
    expected,
    few,
)
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.corpus.readers.rows import Row
from mhex_nlp.inputs.texts import repair_surrogates

pytestmark = pytest.mark.usefixtures("own_cache")


@few
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=8), escaped=st.booleans(), data=st.data())
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_of_any_texts(tmp_path: Path, suffix: str, texts: list[str], escaped: bool, data: st.DataObject) -> None:
    """Lone surrogates too, which JSON can escape."""
    if not escaped:
        texts = [repair_surrogates(text) for text in texts]
    lines = [json.dumps({"text": text}, ensure_ascii=escaped) for text in texts]
    end = data.draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    content = end.join(lines) if suffix == ".jsonl" else f"[{(',' + end).join(lines)}]"
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + content.encode())
    assert list(open_rows(path)) == expected([repair_surrogates(json.loads(line)["text"]) for line in lines])


def test_surrogates_are_repaired_and_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(r'{"text": "a \ud83d\ude00 b \ud83d c", "two": "\udc00", "id": "\ud800", "label": "\udfff"}')
    (row,) = open_rows(path, text_pair_column="two", id_column="id", label_column="label")
    assert row == Row(0, "\ufffd", "a 😀 b \ufffd c", "\ufffd", "\ufffd")


def test_lines_that_are_no_objects(tmp_path: Path) -> None:
    lines = [
        b"{oops",
        b'{"text": "one", "n": 1}',
        b"",
        b"  \r",
        b'"text"',
        b"[1]",
        b'{"text": "caf\xe9"}',
        b'{"text": 5}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"n": 2}',
        b'{"text": "last"}',
    ]
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    rows = list(open_rows(tmp_path / "rows.jsonl", label_column="n"))
    assert [row.number for row in rows] == list(range(10)) and [row.id for row in rows] == list("0123456789")
    assert {row.number: row.text for row in rows if row.problem is None} == {1: "one", 9: "last"}
    problems = [row.problem or "" for row in rows]
    assert problems[0].startswith("the line is not JSON (Expecting property name")
    assert problems[2] == "the line must be a JSON object, got 'text'" and problems[3].endswith("got [1]")
    assert problems[4] == "the line is not UTF-8" and problems[5] == "the text must be a string, got 5"
    assert all(problem.startswith("the line cannot be read as JSON (") for problem in problems[6:8])
    assert problems[8] == "the text is missing" and rows[8].label == 2 and rows[1].label == 1


def test_the_first_object_that_parses_has_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('oops\n5\n{"text": "one"}\n')
    assert [row.number for row in open_rows(path)] == [0, 1, 2]
    with pytest.raises(ValueError, match="id_column must name a column"):
        open_rows(path, id_column="id")
    path.write_text("oops\n5\n")
    assert len(list(open_rows(path, id_column="id"))) == 2


def test_json_files_that_hold_a_list_or_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    Dataset.from_list([{"text": "one"}, {"text": "two"}]).to_json(path)  # lines
    assert [row.text for row in open_rows(path)] == ["one", "two"]
    path.write_text('[{"text": "one"}, 5, {"text": "two"}]')
    rows = [row.text or row.problem for row in open_rows(path)]
    assert rows == ["one", "the entry must be a JSON object, got 5", "two"]
