# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be read: one sentence each, which names the file and says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.tiny import tiny_dataset
from mhex_nlp.training.finetuning.data import load_splits, read_source


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("zero.csv", b"", "at least one row"),
        ("blank.csv", b"\n\n", "at least one row"),
        ("header.csv", b"text,label\n", "at least one row"),
        ("zero.jsonl", b"", "at least one row"),
        ("zero.json", b"", "at least one row"),
        ("list.json", b"[]", "at least one row"),
        ("zero.txt", b"", "at least one row"),
        ("blank.txt", b"\n \r\n", "at least one row"),
        ("latin.csv", "text,label\ncafé,a\n".encode("latin-1"), "UTF-8"),
        ("latin.txt", "café\n".encode("latin-1"), "UTF-8"),
        ("ragged.csv", b"text,label\na,b,c\nd,e,f,g,h\n", "Expected 3 fields in line 3, saw 5"),
        ("broken.jsonl", b'{"text": "a", "label": "x"}\n{"text": oops\n', "JSON parse error.*row 1"),
        ("broken.parquet", b"nothing", "Parquet file size is 7 bytes"),
        ("table.xlsx", b"PK", "CSV, TSV, JSON, JSONL, Parquet or text file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        read_source(tmp_path / name)
    told = str(raised.value)
    assert f"got {str(tmp_path / name)!r}" in told or f"in {str(tmp_path / name)!r}" in told
    assert told.startswith("data must") and told.endswith(".") and "\n" not in told


@pytest.mark.parametrize("files", [[], ["notes.md"]])
def test_a_folder_without_data_is_named(tmp_path: Path, files: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("x")
    with pytest.raises(FileNotFoundError, match=f"a folder with CSV, .* files, got '{folder}'"):
        read_source(folder)


def test_things_that_are_no_source() -> None:
    with pytest.raises(TypeError, match="got list"):
        read_source(["a text"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty name"):
        read_source("")
    with pytest.raises(FileNotFoundError, match="exists, got '/nowhere/at/all'"):
        read_source("/nowhere/at/all")


def test_a_hub_name_while_offline(tmp_path: Path) -> None:
    """In a process of its own: whether the hub may be asked is fixed when datasets is imported."""
    code = """
from mhex_nlp.corpus.readers.splits import read_source
try:
    read_source("somebody/reviews")
except FileNotFoundError as error:
    print(error)
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "where the hub cannot be reached, got 'somebody/reviews'" in done.stdout


def test_lines_of_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes("\ufeffone\r\n\r\n two\u2028still two\n  \nthree".encode())
    rows = read_source(tmp_path / "texts.txt")
    assert list(rows) == ["train"] and list(rows["train"]["text"]) == ["one", " two\u2028still two", "three"]
    with pytest.raises(ValueError, match="label_column must name a column.*it has text"):
        load_splits(tmp_path / "texts.txt")


def test_a_folder_and_a_saved_split_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    tiny_dataset(8).to_csv(tmp_path / "folder" / "train.csv")
    assert read_source(tmp_path / "folder")["train"].num_rows == 8
    tiny_dataset(6).save_to_disk(tmp_path / "saved")
    assert read_source(tmp_path / "saved")["train"].num_rows == 6
