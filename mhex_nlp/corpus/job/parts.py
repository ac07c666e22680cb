# SPDX-License-Identifier: Apache-2.0
"""The part files of a job: some rows of the input, explained, in each format of the job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...explain.json_form import dumps
from ...explain.positioned import render_any_page
from ...inputs.atomic_files import content_hash, durable
from ..columns import ColumnOptions, to_columns
from ..explained_rows import ExplainedRow
from ..readers.rows import Row

FORMATS = ("jsonl", "parquet", "html")


def write_part(
    folder: Path,
    name: str,
    rows: Sequence[Row],
    explained: Sequence[ExplainedRow],
    formats: Sequence[str],
    options: ColumnOptions,
) -> dict[str, str]:
    """Writes the files of a part, whose rows that were explained come in the input's order; their names and hashes."""
    hashes = {}
    documents: list[dict[str, Any]] = []
    if {"jsonl", "html"} & set(formats):
        documents = [text.explanation(row.id).to_dict() for row, text in zip(rows, explained, strict=True)]
    for kind in formats:
        path = folder / f"{name}.{kind}"
        with durable(path) as file:
            if kind == "jsonl":
                for document in documents:
                    file.write(f"{dumps(document)}\n".encode())
            elif kind == "html":
                title = f"Rows {rows[0].number:,} to {rows[-1].number:,}" if rows else "No rows"
                page = render_any_page(documents, title=title, unit=options.unit)
                file.write(page.encode())
            else:
                pq.write_table(_table(rows, explained, options), file, compression="zstd")
        hashes[path.name] = content_hash(path)
    return hashes


def _table(rows: Sequence[Row], explained: Sequence[ExplainedRow], options: ColumnOptions) -> pa.Table:
    labels = [None if row.label is None else str(row.label) for row in rows]
    columns = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "row": pa.array([row.number for row in rows], pa.int64()),
        "text": pa.array([row.text for row in rows], pa.string()),
        "text_pair": pa.array([row.text_pair for row in rows], pa.string()),
        "gold_label": pa.array(labels, pa.string()),
    }
    return pa.table(columns | to_columns(explained, options))
