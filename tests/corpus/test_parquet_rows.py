# SPDX-License-Identifier: Apache-2.0
"""Rows of Parquet files."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset
from pyarrow import parquet

from mhex_nlp.corpus.readers.opening import open_rows, rows_of

pytestmark = pytest.mark.usefixtures("own_cache")


def test_strings_of_parquet_that_are_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"one", b"caf\xe9", b"two"], pa.binary())
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), 3, raw.buffers())})
    parquet.write_table(table, tmp_path / "rows.parquet")
    rows = list(open_rows(tmp_path / "rows.parquet"))
    assert [row.text for row in rows] == ["one", "", "two"]
    assert rows[1].problem == "the text must be a string, got b'caf\\xe9'"


@pytest.mark.parametrize(
    "kind",
    [pa.string_view(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())],
    ids=["view", "large", "dictionary"],
)
def test_strings_of_every_arrow_type(tmp_path: Path, kind: pa.DataType) -> None:
    texts = ["one", "", None, "a long text that no view holds inline"]
    column = pa.array(texts, kind) if kind == pa.string_view() else pa.array(texts).cast(kind)
    table = pa.table({"text": column, "label": column})
    parquet.write_table(table, tmp_path / "rows.parquet")
    wanted = [(text or "", text or None) for text in texts]
    for source in (
        open_rows(tmp_path / "rows.parquet", label_column="label"),
        rows_of(Dataset(table), label_column="label"),
    ):
        assert [(row.text, row.label) for row in source] == wanted


def test_parquet_of_several_row_groups_and_types(tmp_path: Path) -> None:
    texts = [f"text {index}" for index in range(2000)]
    columns = {"text": pa.array(texts, pa.large_string()), "a.b": pa.array(texts).dictionary_encode()}
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet", row_group_size=700)
    source = open_rows(tmp_path / "rows.parquet", id_column="a.b")
    assert [(row.number, row.id, row.text) for row in source] == [(i, text, text) for i, text in enumerate(texts)]
    assert source.total == source.identity["rows"] == 2000


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
