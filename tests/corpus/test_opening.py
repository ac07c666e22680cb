# SPDX-License-Identifier: Apache-2.0
"""Whatever is opened: every text as it was, and one sentence where that cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

import mhex_nlp
from helpers.row_files import (
    HOSTILE,
    KINDS,
    ONE_LINE,
    SUFFIXES,
    check_shares,
    expected,
    write,
)
from mhex_nlp.corpus.readers.opening import open_rows, rows_of
from mhex_nlp.corpus.readers.records import StreamedRows
from mhex_nlp.corpus.readers.rows import text_problem

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_text_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    texts = ONE_LINE if suffix == ".txt" else HOSTILE
    path = write(tmp_path / f"rows{suffix}", texts)
    source = open_rows(str(path))
    assert source.share_read() == 0.0
    assert list(source) == expected(texts) == list(source)
    assert source.name == path.name and source.identity["bytes"] == path.stat().st_size
    assert str(tmp_path) not in json.dumps(source.identity)
    assert source.total == (len(texts) if suffix in (".json", ".parquet") else None)
    check_shares(source, len(texts))
    check_shares(source, len(texts))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texts_of_a_million_characters(tmp_path: Path, suffix: str) -> None:
    text = "word " * 200_000 + "end"
    path = write(tmp_path / f"long{suffix}", [text])
    assert [row.text for row in open_rows(path, max_characters=len(text))] == [text]


CELLS = [
    {"text": "fine", "two": "also", "id": "a", "label": "x"},
    {"text": None, "two": "also", "id": "b", "label": "x"},
    {"text": " \t", "two": "also", "id": "c", "label": None},
    {"text": "fine", "two": None, "id": None, "label": "y"},
    {"text": "fine", "two": "", "id": "e", "label": ""},
]


PROBLEMS = [None, "the text is missing", "the text is empty", "the second text is missing", "the second text is empty"]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "dataset", "stream"])
def test_rows_that_cannot_be_explained(tmp_path: Path, kind: str) -> None:
    columns: dict[str, Any] = {"text_pair_column": "two", "id_column": "id", "label_column": "label"}
    dataset = Dataset.from_list(CELLS)
    if kind == "dataset":
        source = rows_of(dataset, **columns)
    elif kind == "stream":
        (tmp_path / "folder").mkdir()
        dataset.save_to_disk(tmp_path / "saved")
        next((tmp_path / "saved").glob("*.arrow")).rename(tmp_path / "folder" / "train.arrow")
        source = open_rows(tmp_path / "folder", **columns)
        assert isinstance(source, StreamedRows)
    else:
        path = tmp_path / f"rows.{kind}"
        lines = [json.dumps(cells) for cells in CELLS]
        if kind == "parquet":
            dataset.to_parquet(path)
        else:
            path.write_text("\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]")
        source = open_rows(path, **columns)
    rows = list(source)
    assert [row.problem for row in rows] == PROBLEMS
    assert [row.number for row in rows] == [0, 1, 2, 3, 4]
    assert [row.id for row in rows] == ["a", "b", "c", "3", "e"]
    assert [row.label for row in rows] == ["x", "x", None, "y", None]
    assert [(row.text, row.text_pair) for row in rows] == [("fine", "also")] + [("", None)] * 4
    assert list(source) == rows


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_that_are_not_there(tmp_path: Path, suffix: str) -> None:
    path = str(write(tmp_path / f"rows{suffix}", ["one"]))
    there = "other, text" if suffix == ".parquet" else "text"
    for argument in ("text_column", "text_pair_column", "id_column", "label_column"):
        wrong: dict[str, Any] = {argument: "wrong"}
        with pytest.raises(ValueError) as raised:
            open_rows(path, **wrong)
        assert str(raised.value) == f"{argument} must name a column of {path!r}, got 'wrong'; it has {there}."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zero.csv", b""),
        ("mark.csv", b"\xef\xbb\xbf"),
        ("blank.csv", b"\n\n"),
        ("header.tsv", b"text\tlabel\n"),
        ("zero.jsonl", b""),
        ("blank.jsonl", b"\n \r\n"),
        ("zero.json", b""),
        ("list.json", b" [ ] "),
        ("zero.txt", b""),
        ("mark.txt", b"\xef\xbb\xbf"),
    ],
)
def test_sources_without_a_row(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as raised:
        open_rows(tmp_path / name)
    assert str(raised.value) == f"data must have at least one row, got none in {str(tmp_path / name)!r}."


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.parquet", b"nothing", "Parquet file size is 7 bytes"),
        ("broken.json", b'[{"text": "a"}', "Expecting"),
        ("latin.json", b'[{"text": "caf\xe9"}]', "save it as UTF-8"),
        ("object.json", b'{"data":\n [{"text": "a"}]}', "list of JSON objects, or an object a line, got .* a dict"),
        ("table.xlsx", b"PK", "CSV, TSV, JSON, JSONL, Parquet or text file"),
        ("header.csv", b'"te"xt"\na\n', "line 1 is not well-formed CSV"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        open_rows(tmp_path / name)
    sentence = str(raised.value)
    assert sentence.startswith("data must") and sentence.endswith(".") and "\n" not in sentence and name in sentence


@pytest.mark.parametrize(
    ("name", "kind"), [("none.csv", None), ("none.txt", None), ("none", "csv"), ("/nowhere/at/all", None)]
)
def test_files_that_are_not_there(name: str, kind: str | None) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        open_rows(name, kind=kind)
    assert str(raised.value) == f"data must be a file that exists or the name of a dataset, got {name!r}."


def test_things_that_are_no_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty name"):
        open_rows("")
    with pytest.raises(ValueError, match="kind must be one of text, jsonl, csv, tsv, got 'xml'"):
        open_rows("-", kind="xml")
    with pytest.raises(ValueError, match="kind must be left out where data is a folder"):
        open_rows(tmp_path, kind="csv")
    with pytest.raises(FileNotFoundError, match="a folder with CSV, .* files"):
        open_rows(tmp_path)
    for data in (write(tmp_path / "rows.txt", ["one"]), "-"):
        with pytest.raises(ValueError, match="split must be one that .* has, got 'test'; it has train"):
            open_rows(data, split="test")


@pytest.mark.parametrize(("kind", "suffix"), KINDS.items())
def test_a_kind_in_place_of_the_suffix(tmp_path: Path, kind: str, suffix: str) -> None:
    path = write(tmp_path / f"rows{suffix}", ["one", "two"]).rename(tmp_path / "rows.data")
    assert [row.text for row in open_rows(path, kind=kind)] == ["one", "two"]


def test_a_hub_name_while_offline(tmp_path: Path) -> None:
    """In a process of its own: whether the hub may be asked is fixed when datasets is imported."""
    code = """
import sys
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.corpus.readers import lines, records
assert not {"datasets", "pyarrow", "torch", "transformers"} & set(sys.modules)
try:
    open_rows("somebody/reviews")
except FileNotFoundError as error:
    print(error)
"""
    root = str(Path(mhex_nlp.__file__).parents[1])
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "where the hub cannot be reached, got 'somebody/reviews'" in done.stdout


def test_problems_of_a_cell() -> None:
    assert text_problem("fine") is None and text_problem("\x00") is None
    assert text_problem(None, "the second text") == "the second text is missing"
    assert text_problem([1] * 1000) == "the text must be a string, got " + repr([1] * 1000)[:80]
