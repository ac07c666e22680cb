# SPDX-License-Identifier: Apache-2.0
"""The rows of files, datasets and standard input: exactly what was written, in order, bad ones with a reason."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from mhex_nlp.highlights.rows import open_rows, rows_of

HOSTILE = [
    'He said "no", and left.',
    "two\nlines",
    "two\r\nWindows lines",
    "a\u2028b\u0085c",
    "nul\x00 and bell\x07",
    "👩‍👩‍👧 ñandú ﬁn İstanbul",
    "None",
    "007",
    "1e5",
    "NA",
    "שלום عربى",
    "x" * 200_000,
    "\ufefftext",
]


def write_csv(path, rows, encoding="utf-8", dialect="excel", **options):
    with open(path, "w", encoding=encoding, newline="") as file:
        csv.writer(file, dialect, **options).writerows(rows)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_cells_come_through_as_they_are(tmp_path, encoding, end):
    rows = [["text", "name"], *[[text, f"n{i}"] for i, text in enumerate(HOSTILE)]]
    path = write_csv(tmp_path / "a.csv", rows, encoding, lineterminator=end)
    found = list(open_rows(str(path), id_column="name"))
    assert [row.text for row in found] == HOSTILE
    assert [row.id for row in found] == [f"n{i}" for i in range(len(HOSTILE))]
    assert [row.number for row in found] == list(range(len(HOSTILE)))


def test_tsv_jsonl_json_and_parquet_give_the_same_rows(tmp_path):
    cells = [{"text": text, "gold": i % 2} for i, text in enumerate(HOSTILE)]
    write_csv(tmp_path / "a.tsv", [["text", "gold"], *[[c["text"], c["gold"]] for c in cells]], dialect="excel-tab")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(c) + "\r\n" for c in cells), "utf-8-sig")
    (tmp_path / "a.json").write_text(json.dumps(cells), "utf-8")
    Dataset.from_list(cells).to_parquet(tmp_path / "a.parquet")
    Dataset.from_list(cells).save_to_disk(tmp_path / "saved")
    for name in ("a.tsv", "a.jsonl", "a.json", "a.parquet", "saved"):
        source = open_rows(str(tmp_path / name), label_column="gold")
        found = list(source)
        assert [row.text for row in found] == HOSTILE, name
        assert [str(row.label) for row in found] == [str(c["gold"]) for c in cells], name
        assert list(source) == found, "a second pass"
        assert source.share_read() == 1.0
        json.dumps(source.identity)
        assert str(tmp_path) not in json.dumps(source.identity)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8))
def test_csv_and_jsonl_lose_nothing(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("rows")
    write_csv(folder / "a.csv", [["text", "more"], *[[text, "x"] for text in texts]], quoting=csv.QUOTE_ALL)
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts), "utf-8")
    for name in ("a.csv", "a.jsonl"):
        found = list(open_rows(str(folder / name)))
        assert [row.problem is None for row in found] == [bool(text.strip()) for text in texts]
        assert [row.text for row in found if row.problem is None] == [text for text in texts if text.strip()]


def test_lines_of_a_text_file_are_rows_blank_ones_too(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\ntw\xc3\xb6\x0bx\n\xff\xfe\nlast")
    found = list(open_rows(str(tmp_path / "a.txt")))
    assert [row.text for row in found] == ["one", "", "twö\x0bx", "", "last"]
    assert [row.problem for row in found[:2]] == [None, "the text is empty"]
    assert found[3].problem == "the line is not UTF-8"


def test_bad_rows_have_a_number_an_id_and_a_reason(tmp_path):
    lines = [
        '{"text": "good", "key": "a"}',
        '{"text": null, "key": "b"}',
        '{"text": 5, "key": "c"}',
        '{"text": "  ", "key": "d"}',
        '{"key": "e"}',
        "not json",
        "[1]",
        "",
        '{"text": "lone \\ud83d and pair \\ud83d\\ude00", "key": "g"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), "utf-8")
    found = list(open_rows(str(tmp_path / "a.jsonl"), id_column="key"))
    assert [row.number for row in found] == list(range(8))
    assert [row.id for row in found] == ["a", "b", "c", "d", "e", "5", "6", "g"]
    assert [row.problem for row in found[:5]] == [
        None,
        "the text is missing",
        "the text must be a string, got 5",
        "the text is empty",
        "the text is missing",
    ]
    assert all("JSON" in row.problem for row in found[5:7])
    assert found[7].text == "lone \ufffd and pair 😀"


def test_csv_rows_with_too_few_or_too_many_cells(tmp_path):
    (tmp_path / "a.csv").write_text("text,second\na,b\nc\nd,e,f\n", "utf-8")
    found = list(open_rows(str(tmp_path / "a.csv"), text_pair_column="second"))
    assert found[0].text_pair == "b"
    assert found[1].problem == "the second text is missing"
    assert found[2].problem == "row has 3 cells, the header 2"


@pytest.mark.parametrize("kind", [None, "jsonl", "csv"])
def test_standard_input(monkeypatch, kind):
    content = {None: "one\ntwo\n", "jsonl": '{"text": "one"}\n{"text": "two"}\n', "csv": "text\none\ntwo\n"}[kind]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    source = open_rows("-", kind=kind)
    assert [row.text for row in source] == ["one", "two"]
    with pytest.raises(ValueError, match="got standard input"):
        list(source)


def test_reading_goes_no_further_than_it_must(monkeypatch):
    class Endless(io.RawIOBase):
        lines = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            self.lines += 1
            buffer[:4] = b"row\n"
            return 4

    raw = Endless()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(raw)))
    rows = iter(open_rows("-"))
    assert [next(rows).text for _ in range(100)] == ["row"] * 100
    assert raw.lines < 200


def test_the_share_that_was_read_rises_to_one(tmp_path):
    write_csv(tmp_path / "a.csv", [["text"], *[["word " * 200] for _ in range(300)]])
    source = open_rows(str(tmp_path / "a.csv"))
    seen = [source.share_read() for _ in source]
    assert seen == sorted(seen) and seen[0] < 0.2 and source.share_read() == 1.0


def test_datasets_at_hand_and_their_class_names(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    dataset = Dataset.from_dict({"text": ["a", None], "label": [1, -1]}, features=features)
    found = list(rows_of(dataset, label_column="label"))
    assert [(row.text, row.label, row.problem) for row in found] == [
        ("a", 1, None),
        ("", None, "the text is missing"),
    ]
    DatasetDict(test=dataset).save_to_disk(tmp_path / "d")
    assert next(iter(open_rows(str(tmp_path / "d"), split="test"))).text == "a"
    with pytest.raises(ValueError, match="split must be one that .* has, got 'train'"):
        open_rows(str(tmp_path / "d"))


def test_bad_sources(tmp_path):
    (tmp_path / "a.csv").write_text("text,b\nx,y\n", "utf-8")
    (tmp_path / "empty.jsonl").write_text("", "utf-8")
    (tmp_path / "head.csv").write_text("text\n", "utf-8")
    (tmp_path / "latin.csv").write_bytes("text\nÄrger\n".encode("latin-1"))
    (tmp_path / "a.doc").write_text("x", "utf-8")
    (tmp_path / "bad.parquet").write_text("x", "utf-8")
    with pytest.raises(ValueError, match="id_column must name a column of .*a.csv', got 'z'; it has text, b"):
        open_rows(str(tmp_path / "a.csv"), id_column="z")
    with pytest.raises(FileNotFoundError, match="data must be a file that exists"):
        open_rows(str(tmp_path / "none.csv"))
    for name, message in {
        "empty.jsonl": "at least one row",
        "head.csv": "at least one row",
        "latin.csv": "save it as UTF-8",
        "a.doc": "must be a CSV, TSV",
        "bad.parquet": "must be readable as what its name says",
    }.items():
        with pytest.raises(ValueError, match=message):
            list(open_rows(str(tmp_path / name)))
