# SPDX-License-Identifier: Apache-2.0
"""Rows of datasets and folders."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from pyarrow import parquet

from helpers.row_files import (
    HOSTILE,
    ONE_LINE,
    SUFFIXES,
    check_shares,
    expected,
    write,
    write_table,
)
from mhex_nlp.corpus.readers.opening import open_rows, rows_of
from mhex_nlp.corpus.readers.records import JoinedRows, StreamedRows
from mhex_nlp.inputs.texts import check_texts

pytestmark = pytest.mark.usefixtures("own_cache")


def test_labels_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"text": ["a"] * 4, "int": [0, 1, None, -1], "float": [0.0, None, float("nan"), 1.5]})
    parquet.write_table(table.append_column("bool", pa.array([True, False, None, None])), path)
    found = {name: [row.label for row in open_rows(path, label_column=name)] for name in ("int", "float", "bool")}
    assert found == {"int": [0, 1, None, -1], "float": [0, None, None, "1.5"], "bool": [True, False, None, None]}
    assert [row.id for row in open_rows(path, id_column="int")] == ["0", "1", "2", "-1"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    dataset = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, -1, 0]}, features=features)
    assert [row.label for row in rows_of(dataset, label_column="label")] == ["yes", None, "no"]


def test_a_parquet_file_and_a_dataset_without_a_row(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="at least one row, got none in"):
        open_rows(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="dataset must have at least one row, got none"):
        rows_of(Dataset.from_dict({"text": []}))
    with pytest.raises(TypeError, match="got DatasetDict"):
        rows_of(DatasetDict())  # type: ignore[arg-type]


def test_several_splits_are_refused_with_advice() -> None:
    splits = DatasetDict(dev=Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(TypeError, match=r"got DatasetDict; pass one of its splits, such as dataset\['dev'\]\."):
        rows_of(splits)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got DatasetDict; rows_of\(dataset\['dev'\]\) reads a dataset at hand"):
        open_rows(splits)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"got a DatasetDict; pass a column of a split, such as dataset\['dev'\]\['text'\]"
    ):
        check_texts(splits)


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


@pytest.mark.parametrize(("folder", "split"), [("one", "train"), ("both", "train"), ("both", "test")])
def test_folders_that_datasets_saved(tmp_path: Path, folder: str, split: str) -> None:
    train, test = (Dataset.from_dict({"text": [*HOSTILE, f"the {name} one"]}) for name in ("train", "test"))
    train.save_to_disk(tmp_path / "one")
    DatasetDict(train=train, test=test).save_to_disk(tmp_path / "both")
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
