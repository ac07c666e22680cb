# SPDX-License-Identifier: Apache-2.0
"""Every verb reads the same rows of one file, text stays text, and a row that cannot be used is named."""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from datasets import Dataset

from helpers.row_files import HOSTILE, ONE_LINE, SUFFIXES, write_table
from helpers.tiny import tiny_dataset
from mhex_nlp.cli.source import read_rows
from mhex_nlp.corpus.readers.opening import open_rows
from mhex_nlp.explain.gold_labels import class_of
from mhex_nlp.training import load_splits

pytestmark = pytest.mark.usefixtures("own_cache")


def rows_of_fit(path: Path, **options: Any) -> list[Any]:
    """What `mhex fit` and `mhex evaluate` read."""
    columns = {"text_column": "text", "text_pair_column": None, "split": "train", "max_characters": 1_000_000}
    return read_rows(argparse.Namespace(data=str(path), **columns, **options))


def names_of(dataset: Dataset) -> list[str]:
    return dataset.features["label"].int2str(list(dataset["label"]))


def labelled(folder: Path, suffix: str, texts: list[str], labels: list[str]) -> Path:
    path = folder / f"rows{suffix}"
    rows = Dataset.from_dict({"text": texts, "label": labels})
    if suffix in (".csv", ".tsv"):
        write_table(path, [["text", "label"], *map(list, zip(texts, labels, strict=True))])
    elif suffix == ".parquet":
        rows.to_parquet(path)
    else:
        rows.to_json(path, lines=suffix == ".jsonl")
    return path


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".txt"])
def test_texts_and_labels_are_those_of_the_file(tmp_path: Path, suffix: str) -> None:
    """Quotes, line ends, "NA" and "007" among the texts, and labels with leading zeros."""
    labels = ["02", "01"] * len(HOSTILE)
    path = labelled(tmp_path, suffix, HOSTILE, labels[: len(HOSTILE)])
    rows = list(open_rows(path, label_column="label"))
    assert [row.text for row in rows] == HOSTILE == [row.text for row in rows_of_fit(path)]
    train = load_splits(path, validation=path)["train"]
    assert list(train["text"]) == HOSTILE and train.features["label"].names == ["01", "02"]
    assert names_of(train) == labels[: len(HOSTILE)] == [row.label for row in rows]
    assert [class_of(row.label, ["01", "02"]) for row in rows] == labels[: len(HOSTILE)]


def test_lines_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*ONE_LINE, "last"]).encode() + b"\n")  # the last end is no row
    rows = rows_of_fit(path)
    assert [row.text for row in rows] == [*ONE_LINE, "last"] == [row.text for row in open_rows(path)]
    with pytest.raises(ValueError, match=f"text_column must name a column of '{path}', got 'body'; it has text"):
        load_splits(path, "body")
    with pytest.raises(ValueError, match="label_column must name a column.*it has text"):
        load_splits(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_labels_that_are_integers_sort_as_numbers(tmp_path: Path, suffix: str) -> None:
    path = labelled(tmp_path, suffix, ["a"] * 9, ["10", "2", "1"] * 3)
    assert load_splits(path)["train"].features["label"].names == ["1", "2", "10"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("comma_at_the_end.csv", b"text,label\nfresh bread,up,\n", "row 0 .*row has 3 cells, the header 2"),
        ("comma_in_a_text.csv", b"text,label\na,b\nfresh, really,up\n", "row 1 .*row has 3 cells, the header 2"),
        ("short.csv", b"label,text\nup,a\ndown\n", "column 'text' of .*row 1 .*the text is missing"),
        ("quote.csv", b'text,label\n"a"b,up\n', "row 0 .*line 2 is not well-formed CSV"),
        ("broken.jsonl", b'{"text": "a", "label": "x"}\n{"text": oops\n', "row 1 .*the line is not JSON"),
        ("number.jsonl", b'{"text": 5, "label": "x"}\n', "column 'text' of .*row 0 .*must be a string, got 5"),
        ("entry.json", b'[{"text": "a", "label": "x"}, 5]', "row 1 .*the entry must be a JSON object, got 5"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (load_splits, rows_of_fit):
        with pytest.raises(ValueError, match=problem) as raised:
            read(path)
        assert "of split 'train'" in str(raised.value) or str(raised.value).startswith("split 'train', row")
        assert str(raised.value).endswith(".") and "(counted from 0)" in str(raised.value)
    assert any(row.problem for row in open_rows(path))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"one\n\nthree\n", "row 1 .*the text is empty"),
        (b"\n \r\n", "row 0 .*the text is empty"),
        ("caf\u00e9\n".encode("latin-1"), "split 'train', row 0 .*the line is not UTF-8"),
    ],
)
def test_a_line_that_is_no_text_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "texts.txt").write_bytes(content)
    with pytest.raises(ValueError, match=problem):
        rows_of_fit(tmp_path / "texts.txt")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"text": "a", "label": 0.5}', "column 'label' of split 'train', row 0 .*class name or an integer, got 0.5"),
        ('{"text": "a", "label": " "}', "column 'label' of split 'train', row 0 .*the label is missing"),
        ('{"text": "a", "label": null}', "column 'label' of split 'train', row 0 .*the label is missing"),
        ('{"text": "a", "label": 1}\n{"text": "a", "label": "x"}', "labels must be of one type, got int and str"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(rows)
    with pytest.raises(ValueError, match=message):
        load_splits(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("zero.csv", b"", "at least one row"),
        ("blank.csv", b"\n\n", "at least one row"),
        ("header.csv", b"text,label\n", "at least one row"),
        ("zero.jsonl", b"", "at least one row"),
        ("list.json", b"[]", "at least one row"),
        ("latin.csv", "text,label\ncaf\u00e9,a\n".encode("latin-1"), "UTF-8"),
        ("broken.parquet", b"nothing", "Parquet file size is 7 bytes"),
        ("open.csv", b'text,label\na,b\n"c,d\n', "must close every quote"),
        ("table.xlsx", b"PK", "CSV, TSV, JSON, JSONL, Parquet or text file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (load_splits, rows_of_fit):
        with pytest.raises(ValueError, match=message) as raised:
            read(path)
        sentence = str(raised.value)
        assert repr(str(path)) in sentence and sentence.startswith("data must")
        assert sentence.endswith(".") and "\n" not in sentence


def test_line_ends_of_old_and_texts_that_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,label\r5,01\r1e5,02\r007,01\rnan,02\r")
    texts = [row.text for row in open_rows(path)]
    assert texts == ["5", "1e5", "007", "nan"] == [row.text for row in rows_of_fit(path)]
    train = load_splits(path, validation=path)["train"]
    assert list(train["text"]) == texts and names_of(train) == ["01", "02"] * 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_a_text_file_of_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "texts.txt"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path.write_bytes(mark + "one\ntwo\nthree\n".encode(encoding))
    for read in (rows_of_fit, open_rows):
        with pytest.raises(
            ValueError, match=r"^data must be UTF-8 text, got UTF-16 or UTF-32 in '.*', line 1; save it"
        ):
            read(path)


def test_labels_that_change_their_type_far_down_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [f'{{"text": "a", "label": {index % 2}}}' for index in range(10_001)]
    path.write_text("\n".join([*rows, '{"text": "a", "label": "x"}']))
    with pytest.raises(
        ValueError, match=r"labels must be of one type, got int and str up to row 10001 \(counted from 0\)"
    ):
        load_splits(path)


@pytest.mark.parametrize("files", [[], ["notes.md"]])
def test_a_folder_without_data_is_named(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(FileNotFoundError, match=f"a folder with CSV, .* files, got '{tmp_path}'"):
        load_splits(tmp_path)


def test_things_that_are_no_source() -> None:
    with pytest.raises(TypeError, match="got list"):
        load_splits(["a text"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty name"):
        load_splits("")
    with pytest.raises(ValueError, match="got standard input"):
        load_splits("-")
    with pytest.raises(FileNotFoundError, match="exists or the name of a dataset, got '/nowhere/at/all'"):
        load_splits("/nowhere/at/all")


def test_a_hub_name_while_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the environment had said so when the libraries were imported (tests/corpus/test_opening.py)."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="where the hub cannot be reached, got 'somebody/reviews'"):
        load_splits("somebody/reviews")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_folder_of_files(tmp_path: Path, suffix: str) -> None:
    """Of CSV that `datasets` reads for us, too, every cell is text, in what is streamed and what is stored."""
    texts, labels = ["None", "007", "1e5", "NA"], ["01", "02"] * 2
    for split in ("train", "test"):
        path = labelled(tmp_path, ".csv", [*texts, split], [*labels, "01"]).rename(tmp_path / f"{split}.csv")
        if suffix == ".csv.gz":
            (tmp_path / f"{split}.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    splits = load_splits(tmp_path, validation_split="test")
    for split, name in (("train", "train"), ("validation", "test")):
        streamed = list(open_rows(tmp_path, split=name, label_column="label"))
        assert list(splits[split]["text"]) == [*texts, name] == [row.text for row in streamed]
        assert names_of(splits[split]) == [*labels, "01"] == [row.label for row in streamed]


def test_a_split_that_was_saved(tmp_path: Path) -> None:
    tiny_dataset(6).save_to_disk(tmp_path)
    assert sum(split.num_rows for split in load_splits(tmp_path).values()) == 6 == len(rows_of_fit(tmp_path))


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    """Rows of files are kept in the cache of `datasets`."""
    path = labelled(tmp_path, ".csv", ["a", "b"], ["x", "y"])
    assert list(load_splits(path, validation=path)["train"]["text"]) == ["a", "b"]
    labelled(tmp_path, ".csv", ["c", "d"], ["x", "y"])
    os.utime(path, ns=(1, 1))
    assert list(load_splits(path, validation=path)["train"]["text"]) == ["c", "d"]


def test_rationales_are_cells_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('text,spans\na b,"[[0, 1]]"\n')
    (tmp_path / "rows.jsonl").write_text('{"text": "a b", "spans": [[0, 1]]}')
    assert rows_of_fit(tmp_path / "rows.csv", rationale_column="spans")[0].rationale == "[[0, 1]]"
    assert rows_of_fit(tmp_path / "rows.jsonl", rationale_column="spans")[0].rationale == [[0, 1]]
