# SPDX-License-Identifier: Apache-2.0
"""Rows of files, folders, datasets and standard input: none lost, none invented, every cell as it stands there."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import mhex_nlp
from mhex_nlp.corpus.readers.opening import open_rows, rows_of
from mhex_nlp.corpus.readers.records import JoinedRows, StreamedRows
from mhex_nlp.corpus.readers.rows import Row, RowSource, text_problem
from mhex_nlp.inputs.texts import repair_surrogates

HOSTILE = [
    "plain",
    'a "quoted" word',
    '"',
    "comma, tab\t and ; too",
    "line\nline",
    "windows\r\nline",
    "old\rline",
    "\r\n leading and trailing \r\n",
    "NUL \x00 bell \x07 escape \x1b",
    "separators \u2028 \u2029 \x85 \x0b \x0c \x1c",
    "emoji 👩🏽‍🚀 and é, e\u0301",
    "\ufeffmark",
    "None",
    "NA",
    "nan",
    "007",
    "1e5",
    "x" * 100_000,
    'ü"\n' * 33_334,
]
ONE_LINE = [text for text in HOSTILE if "\n" not in text]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SUFFIXES = [".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt"]
KINDS = {"text": ".txt", "jsonl": ".jsonl", "csv": ".csv", "tsv": ".tsv"}
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def expected(texts: list[str]) -> list[Row]:
    return [
        Row(number, str(number), text, None, None)
        if text.strip()
        else Row(number, str(number), "", None, None, "the text is empty")
        for number, text in enumerate(texts)
    ]


def write_table(path: Path, rows: list[list[str]], quoting: Any = csv.QUOTE_ALL, end: str = "\n") -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    return path


def write(path: Path, texts: list[str]) -> Path:
    """The texts in the column `text`, in the format of the suffix."""
    if path.suffix in (".csv", ".tsv"):
        return write_table(path, [["text"], *([text] for text in texts)])
    objects = [{"text": text} for text in texts]
    if path.suffix == ".jsonl":
        path.write_bytes("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects).encode())
    elif path.suffix == ".json":
        path.write_bytes(json.dumps(objects, ensure_ascii=False, indent=1).encode())
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table({"other": range(len(texts)), "text": pa.array(texts, pa.string())}), path)
    else:
        path.write_bytes("".join(f"{text}\n" for text in texts).encode())
    return path


def check_shares(source: RowSource, rows: int) -> None:
    shares = [source.share_read() for _ in source]
    assert len(shares) == rows and shares == sorted(shares) and 0.0 < shares[0] < 1.0
    assert source.share_read() == 1.0


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


@few
@given(rows=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=8), data=st.data())
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_tables_of_any_cells(tmp_path: Path, suffix: str, rows: list[tuple[str, str]], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    path = write_table(tmp_path / f"rows{suffix}", [["id", "text"], *map(list, rows)], end=end)
    if data.draw(st.booleans()):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    texts = expected([text for _, text in rows])
    found = list(open_rows(path, id_column="id"))
    assert [(row.number, row.text, row.problem) for row in found] == [(r.number, r.text, r.problem) for r in texts]
    assert [row.id for row in found] == [name or str(number) for number, (name, _) in enumerate(rows)]


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


@few
@given(content=st.text(st.sampled_from("ab \r\n\u2028\x85\x00"), min_size=1, max_size=30))
def test_lines_of_any_text(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.txt").write_bytes(content.encode())
    lines = content.removesuffix("\n").split("\n")
    assert list(open_rows(tmp_path / "rows.txt")) == expected([line.removesuffix("\r") for line in lines])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_unquoted_cells(tmp_path: Path, end: str) -> None:
    (tmp_path / "rows.csv").write_bytes(end.join(["text,n", '5" disk,007', "", "NA,", "", ""]).encode())
    found = list(open_rows(tmp_path / "rows.csv", label_column="n"))
    assert [(row.number, row.text, row.label) for row in found] == [(0, '5" disk', "007"), (1, "NA", None)]


def test_texts_of_a_million_characters(tmp_path: Path) -> None:
    text = "word " * 200_000 + "end"
    for suffix in SUFFIXES:
        assert [row.text for row in open_rows(write(tmp_path / f"long{suffix}", [text]))] == [text]


def test_surrogates_are_repaired_and_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(r'{"text": "a \ud83d\ude00 b \ud83d c", "two": "\udc00", "id": "\ud800", "label": "\udfff"}')
    (row,) = open_rows(path, text_pair_column="two", id_column="id", label_column="label")
    assert row == Row(0, "\ufffd", "a 😀 b \ufffd c", "\ufffd", "\ufffd")


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
        lines = [json.dumps(each) for each in CELLS]
        if kind == "parquet":
            dataset.to_parquet(path)
        else:
            path.write_text("\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]")
        source = open_rows(path, **columns)
    found = list(source)
    assert [row.problem for row in found] == PROBLEMS
    assert [row.number for row in found] == [0, 1, 2, 3, 4]
    assert [row.id for row in found] == ["a", "b", "c", "3", "e"]
    assert [row.label for row in found] == ["x", "x", None, "y", None]
    assert [(row.text, row.text_pair) for row in found] == [("fine", "also")] + [("", None)] * 4
    assert list(source) == found


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
    found = list(open_rows(tmp_path / "rows.jsonl", label_column="n"))
    assert [row.number for row in found] == list(range(10)) and [row.id for row in found] == list("0123456789")
    assert {row.number: row.text for row in found if row.problem is None} == {1: "one", 9: "last"}
    told = [row.problem or "" for row in found]
    assert told[0].startswith("the line is not JSON (Expecting property name")
    assert told[2] == "the line must be a JSON object, got 'text'" and told[3].endswith("got [1]")
    assert told[4] == "the line is not UTF-8" and told[5] == "the text must be a string, got 5"
    assert all(each.startswith("the line cannot be read as JSON (") for each in told[6:8])
    assert told[8] == "the text is missing" and found[8].label == 2 and found[1].label == 1


def test_lines_of_text_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ncaf\xe9\n  \n\nlast")
    found = list(open_rows(tmp_path / "rows.txt"))
    empty = "the text is empty"
    assert [row.problem for row in found] == [None, empty, "the line is not UTF-8", empty, empty, None]
    assert (found[0].text, found[5]) == ("one", Row(5, "5", "last", None, None))


def test_rows_of_a_table_that_do_not_fit_its_header(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(
        b'\nid,text,label\n\na,short\nb\nc,one,x,more\n"d",two,y\ne,"said "so"",y\nf,"line\nline" x,y\n"g",last,z\n'
    )
    found = list(open_rows(tmp_path / "rows.csv", id_column="id", label_column="label"))
    assert [row.text for row in found] == ["short", "", "", "two", "", "", "last"]
    assert [row.id for row in found] == ["a", "b", "2", "d", "4", "5", "g"]
    assert [row.label for row in found] == [None, None, None, "y", None, None, "z"]
    assert [row.problem for row in found] == [
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
    limit = csv.field_size_limit(1000)
    try:
        monkeypatch.setattr("mhex_nlp.corpus.readers.lines._LONGEST_CELL", 1000)
        path.write_text('text,n\none,1\n"two,2\n' + "three,3\n" * 1000 + '"')
        with pytest.raises(ValueError, match="from line 3 on"):
            list(open_rows(path))
    finally:
        csv.field_size_limit(limit)


def test_bytes_that_are_not_utf8_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text\none\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"^data must be UTF-8 text, got .* in '.*rows.csv', line 3 .* as UTF-8\.$"):
        list(open_rows(path))
    path.write_bytes("text\none\n".encode("utf-16"))
    with pytest.raises(ValueError, match="line 1"):
        open_rows(path)


def test_strings_of_parquet_that_are_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"one", b"caf\xe9", b"two"], pa.binary())
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), 3, raw.buffers())})
    parquet.write_table(table, tmp_path / "rows.parquet")
    found = list(open_rows(tmp_path / "rows.parquet"))
    assert [row.text for row in found] == ["one", "", "two"]
    assert found[1].problem == "the text must be a string, got b'caf\\xe9'"


def test_labels_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"text": ["a"] * 4, "int": [0, 1, None, -1], "float": [0.0, None, float("nan"), 1.5]})
    parquet.write_table(table.append_column("bool", pa.array([True, False, None, None])), path)
    found = {name: [row.label for row in open_rows(path, label_column=name)] for name in ("int", "float", "bool")}
    assert found == {"int": [0, 1, None, -1], "float": [0, None, None, "1.5"], "bool": [True, False, None, None]}
    assert [row.id for row in open_rows(path, id_column="int")] == ["0", "1", "2", "-1"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    dataset = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, -1, 0]}, features=features)
    assert [row.label for row in rows_of(dataset, label_column="label")] == [1, None, 0]


def test_parquet_of_several_row_groups_and_types(tmp_path: Path) -> None:
    texts = [f"text {index}" for index in range(2000)]
    columns = {"text": pa.array(texts, pa.large_string()), "a.b": pa.array(texts).dictionary_encode()}
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet", row_group_size=700)
    source = open_rows(tmp_path / "rows.parquet", id_column="a.b")
    assert [(row.number, row.id, row.text) for row in source] == [(i, text, text) for i, text in enumerate(texts)]
    assert source.total == source.identity["rows"] == 2000


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_that_are_not_there(tmp_path: Path, suffix: str) -> None:
    path = str(write(tmp_path / f"rows{suffix}", ["one"]))
    there = "other, text" if suffix == ".parquet" else "text"
    for argument in ("text_column", "text_pair_column", "id_column", "label_column"):
        wrong: dict[str, Any] = {argument: "wrong"}
        with pytest.raises(ValueError) as raised:
            open_rows(path, **wrong)
        assert str(raised.value) == f"{argument} must name a column of {path!r}, got 'wrong'; it has {there}."


def test_the_first_object_that_parses_has_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('oops\n5\n{"text": "one"}\n')
    assert [row.number for row in open_rows(path)] == [0, 1, 2]
    with pytest.raises(ValueError, match="id_column must name a column"):
        open_rows(path, id_column="id")
    path.write_text("oops\n5\n")
    assert len(list(open_rows(path, id_column="id"))) == 2


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,n,n,text\na,1,2,b\n")
    with pytest.raises(ValueError, match="text_column must name one column of .*, which it has twice"):
        open_rows(tmp_path / "rows.csv")


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


def test_a_parquet_file_and_a_dataset_without_a_row(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="at least one row, got none in"):
        open_rows(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="dataset must have at least one row, got none"):
        rows_of(Dataset.from_dict({"text": []}))
    with pytest.raises(TypeError, match="got DatasetDict"):
        rows_of(DatasetDict())  # type: ignore[arg-type]


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
    told = str(raised.value)
    assert told.startswith("data must") and told.endswith(".") and "\n" not in told and name in told


def test_a_parquet_file_that_is_damaged_further_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"text": [os.urandom(2000).hex() for _ in range(1000)]})
    parquet.write_table(table, path, row_group_size=500, use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) * 5 // 8
    content[middle : middle + len(content) // 4] = bytes(len(content) // 4)
    path.write_bytes(content)
    rows = iter(open_rows(path))
    assert next(rows).number == 0
    with pytest.raises(ValueError, match=r"^data must be readable as what its name says, got '.*rows.parquet': "):
        list(rows)


def test_things_that_are_no_source(tmp_path: Path) -> None:
    for name, kind in (("none.csv", None), ("none.txt", None), ("none", "csv"), (f"{tmp_path}/none/at/all", None)):
        with pytest.raises(FileNotFoundError) as raised:
            open_rows(name, kind=kind)
        assert str(raised.value) == f"data must be a file that exists or the name of a dataset, got {name!r}."
    with pytest.raises(ValueError, match="empty name"):
        open_rows("")
    with pytest.raises(ValueError, match="kind must be one of text, jsonl, csv, tsv, got 'xml'"):
        open_rows("-", kind="xml")
    with pytest.raises(ValueError, match="kind must be left out where data is a folder"):
        open_rows(tmp_path, kind="csv")
    with pytest.raises(FileNotFoundError, match="a folder with CSV, .* files"):
        open_rows(tmp_path)
    path = write(tmp_path / "rows.txt", ["one"])
    for data in (path, "-"):
        with pytest.raises(ValueError, match="split must be one that .* has, got 'test'; it has train"):
            open_rows(data, split="test")


def test_a_kind_in_place_of_the_suffix(tmp_path: Path) -> None:
    for kind, suffix in KINDS.items():
        path = write(tmp_path / f"given{suffix}", ["one", "two"]).rename(tmp_path / "given.data")
        assert [row.text for row in open_rows(path, kind=kind)] == ["one", "two"]


def test_json_files_that_hold_a_list_or_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    Dataset.from_list([{"text": "one"}, {"text": "two"}]).to_json(path)  # lines
    assert [row.text for row in open_rows(path)] == ["one", "two"]
    path.write_text('[{"text": "one"}, 5, {"text": "two"}]')
    found = [row.text or row.problem for row in open_rows(path)]
    assert found == ["one", "the entry must be a JSON object, got 5", "two"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for kind, suffix in KINDS.items():
        texts = ONE_LINE if kind == "text" else HOSTILE
        content = write(tmp_path / f"rows{suffix}", texts).read_bytes()
        streams = [io.TextIOWrapper(io.BytesIO(content), "ascii"), io.BytesIO(content), io.StringIO(content.decode())]
        for stream in streams:
            monkeypatch.setattr("sys.stdin", stream)
            source = open_rows("-", kind=None if kind == "text" else kind)
            assert list(source) == expected(texts)
            assert source.identity == {"name": "standard input", "kind": kind}
            assert source.total is None and source.share_read() is None
            with pytest.raises(ValueError, match="more than once, got standard input"):
                list(source)


def test_standard_input_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="text_column must name a column of 'standard input'"):
        open_rows("-", text_column="review")
    for kind, content in (("csv", b"a,b\n1,2\n"), ("jsonl", b'{"a": 1}\n')):
        monkeypatch.setattr("sys.stdin", io.BytesIO(content))
        with pytest.raises(
            ValueError, match="text_column must name a column of 'standard input', got 'text'; it has a"
        ):
            next(iter(open_rows("-", kind=kind)))
    for kind in KINDS:
        monkeypatch.setattr("sys.stdin", io.BytesIO(b""))
        with pytest.raises(ValueError, match="at least one row, got none in standard input"):
            list(open_rows("-", kind=kind))


@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_is_read_ahead(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Of a source without end some rows are read, and not more lines than these rows need."""
    given_lines = 0

    def lines() -> Iterator[bytes]:
        nonlocal given_lines
        yield {"csv": b"text,n\n", "tsv": b"text\tn\n"}.get(kind, b'{"text": "first"}\n')
        for number in itertools.count():
            given_lines += 1
            yield b'{"text": "a"}\n' if kind == "jsonl" else b"%d\n" % number

    monkeypatch.setattr("sys.stdin", lines())
    for rows, row in enumerate(itertools.islice(open_rows("-", kind=kind), 5000), 1):
        assert row.problem is None and given_lines <= rows + 1


def test_a_pipe_that_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come as they are written."""
    end, start = os.pipe()
    with os.fdopen(start, "wb", buffering=0) as writer, os.fdopen(end, "r") as reader:
        monkeypatch.setattr("sys.stdin", reader)
        rows = iter(open_rows("-"))
        for number in range(3):
            writer.write(b"a text\n")
            assert next(rows) == Row(number, str(number), "a text", None, None)


def test_a_dataset_at_hand() -> None:
    dataset = Dataset.from_dict({"t": [f"text {i}" for i in range(1000)], "n": range(1000), "other": [b"x"] * 1000})
    chosen = dataset.shuffle(seed=1).filter(lambda row: row["n"] % 2)
    numbers = list(chosen["n"])
    source = rows_of(chosen.with_format("numpy"), text_column="t", id_column="n", label_column="n")
    assert [(row.text, row.label, row.id) for row in source] == [(f"text {n}", n, str(n)) for n in numbers]
    assert source.total == source.identity["rows"] == 500 and source.identity["fingerprint"]
    check_shares(source, 500)
    with pytest.raises(ValueError, match="text_column must name a column of 'the dataset', got 'text'; it has t, n, o"):
        rows_of(dataset)


def test_folders_that_datasets_saved(tmp_path: Path) -> None:
    train, test = (Dataset.from_dict({"text": [*HOSTILE, f"the {name} one"]}) for name in ("train", "test"))
    train.save_to_disk(tmp_path / "one")
    DatasetDict(train=train, test=test).save_to_disk(tmp_path / "both")
    for folder, split in (("one", "train"), ("both", "train"), ("both", "test")):
        source = open_rows(tmp_path / folder, split=split)
        assert list(source) == expected([*HOSTILE, f"the {split} one"]) == list(source)
        assert source.name == folder and source.total == len(HOSTILE) + 1
        assert json.loads(json.dumps(source.identity)) == open_rows(tmp_path / folder, split=split).identity
        assert source.identity["split"] == split and source.identity["rows"] == len(HOSTILE) + 1
        check_shares(source, len(HOSTILE) + 1)
    with pytest.raises(ValueError, match="split must be one that .* has, got 'dev'; it has train, test"):
        open_rows(tmp_path / "both", split="dev")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_with_files(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    write(folder / f"train-0{suffix}", ONE_LINE)
    write(folder / f"train-1{suffix}", ["last of all"])
    write(folder / f"test{suffix}", ["a test"])
    (folder / "README.md").write_text("Some reviews.")
    source = open_rows(folder)
    assert isinstance(source, JoinedRows) and source.share_read() == 0.0
    assert list(source) == expected([*ONE_LINE, "last of all"]) == list(source)
    assert source.name == "reviews" and source.total in (None, len(ONE_LINE) + 1)
    size = sum(path.stat().st_size for path in folder.glob("train*"))
    assert source.identity == {"name": "reviews", "split": "train", "files": 2, "bytes": size}
    check_shares(source, len(ONE_LINE) + 1)
    assert [row.text for row in open_rows(folder, split="test")] == ["a test"]
    with pytest.raises(ValueError, match="split must be one that .* has, got 'dev'; it has train, test"):
        open_rows(folder, split="dev")
    with pytest.raises(ValueError, match="id_column must name a column"):
        open_rows(folder, id_column="id")


def test_a_folder_of_which_one_file_lacks_a_column(tmp_path: Path) -> None:
    write_table(tmp_path / "train-0.csv", [["text", "id"], ["one", "a"]])
    write_table(tmp_path / "train-1.csv", [["text"], ["two"]])
    with pytest.raises(ValueError, match="id_column must name a column of '.*train-1.csv'"):
        open_rows(tmp_path, id_column="id")


def test_a_folder_that_is_streamed(tmp_path: Path) -> None:
    """Files that we have no reader for; of CSV every cell is text still."""
    texts = ["None", "007", "1e5", 'a "b"\r\nc', "NA"]
    path = write_table(tmp_path / "rows.csv", [["text", "id"], *([text, f"0{i}"] for i, text in enumerate(texts))])
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    source = open_rows(folder, id_column="id")
    assert isinstance(source, StreamedRows)
    assert [(row.text, row.id) for row in source] == [(text, f"0{i}") for i, text in enumerate(texts)]
    assert list(source) == list(source) and source.total is None and source.share_read() is None
    assert source.identity["split"] == "train" and str(tmp_path) not in json.dumps(source.identity)
    with pytest.raises(ValueError, match="text_column must name a column of '.*', got 'review'; it has text, id"):
        open_rows(folder, text_column="review")
    with pytest.raises(ValueError, match="got 'dev'; it has train"):
        open_rows(folder, split="dev")


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
