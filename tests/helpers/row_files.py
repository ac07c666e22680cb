# SPDX-License-Identifier: Apache-2.0
"""Texts that readers stumble over, and files of every kind that hold them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pyarrow import parquet

from mhex_nlp.corpus.readers.rows import Row, RowSource

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
