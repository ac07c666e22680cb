# SPDX-License-Identifier: Apache-2.0
"""What a job does with rows: of texts, and of images. How it is resumed and shared is the same (`job.py`)."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from ...explain.base import ExplainerBase
from ...explain.json_form import dumps
from ...explain.request import Request
from ...inputs.atomic_files import content_hash, durable
from ...inputs.encoding import TokenisedText
from ...inputs.texts import warn
from ...render import render_summary
from ..columns import ColumnOptions
from ..explained_rows import ExplainedRow, explain_rows, summary_labels, tokenise_rows
from ..gold_tags import tagged_rows
from ..images.columns import ImageColumnOptions, to_image_columns
from ..images.explained import ExplainedImage, explain_images
from ..images.summary import ImageSummary
from ..labelled_rows import labelled_rows
from ..readers.images import content_of
from ..readers.rows import Row, RowSource
from ..summary import CorpusSummary
from .parts import write_part


class Work(ABC):
    """One kind of rows, explained by `explainer` into files of `formats`."""

    explainer: Any
    noun = "texts"

    @abstractmethod
    def rows(self, rows: Iterator[Row], source: RowSource, ahead: int) -> Iterator[Row]:
        """The rows with labels that are classes of the model; `ahead` as in `labelled_rows`."""

    @abstractmethod
    def prepare(self, rows: Sequence[Row]) -> Sequence[Any]:
        """What can be made of rows without the model, ahead of time."""

    @abstractmethod
    def digest(self, rows: Sequence[Row]) -> str:
        """A hash of what is in the rows."""

    @abstractmethod
    def explain(self, rows: Sequence[Row], items: Sequence[Any]) -> Iterator[Any]:
        """What `summary` and `write` take, or the reason why there is nothing, for each of the rows."""

    @abstractmethod
    def write(self, folder: Path, name: str, rows: Sequence[Row], explained: Sequence[Any]) -> dict[str, str]:
        """Writes the files of a part; their names and hashes."""

    @abstractmethod
    def summary(self) -> CorpusSummary:
        """Nothing counted yet."""

    def page(self, summary: Mapping[str, Any], pages: Sequence[str]) -> str | None:
        """The page about the whole, where there is one; `pages` are the names of those of the parts."""
        return None


class TextWork(Work):
    """Texts, with or without places in them."""

    def __init__(
        self, explainer: ExplainerBase[Any], request: Request, formats: Sequence[str], columns: ColumnOptions
    ) -> None:
        self.explainer, self.request, self.formats, self.columns = explainer, request, formats, columns

    def rows(self, rows: Iterator[Row], source: RowSource, ahead: int) -> Iterator[Row]:
        labelled = labelled_rows(rows, source, self.request.table.gold, ahead)
        return labelled if source.columns.rationale is None else tagged_rows(labelled, self.request.table.labels)

    def prepare(self, rows: Sequence[Row]) -> list[TokenisedText | str]:
        return tokenise_rows(self.explainer, rows)

    def digest(self, rows: Sequence[Row]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for row in rows:
            cells = [row.id, row.text, row.text_pair, row.label, row.problem]
            cells += [] if row.rationale is None else [repr(row.rationale)]
            digest.update(json.dumps(cells).encode() + b"\n")
        return digest.hexdigest()

    def explain(self, rows: Sequence[Row], items: Sequence[Any]) -> Iterator[ExplainedRow | str]:
        results = explain_rows(self.explainer, self.request, items)
        cuts = [
            (row.number, result.item.cut_note())
            for row, result in zip(rows, results, strict=True)
            if not isinstance(result, str) and result.item.truncated
        ]
        if cuts:  # the first of the part; the closing line counts them all
            more = f" (and {len(cuts) - 1} more from row {rows[0].number} to {rows[-1].number})" if cuts[1:] else ""
            warn(f"row {cuts[0][0]}{more}: {cuts[0][1]}")
        yield from results

    def write(self, folder: Path, name: str, rows: Sequence[Row], explained: Sequence[Any]) -> dict[str, str]:
        return write_part(folder, name, rows, explained, self.formats, self.columns)

    def summary(self) -> CorpusSummary:
        return CorpusSummary(summary_labels(self.explainer))

    def page(self, summary: Mapping[str, Any], pages: Sequence[str]) -> str:
        return render_summary(summary, pages)


class ImageWork(Work):
    """Images; `request` are the keyword options of a call of the explainer."""

    noun = "images"

    def __init__(
        self, explainer: Any, request: Mapping[str, Any], formats: Sequence[str], columns: ImageColumnOptions
    ) -> None:
        if "html" in formats:
            raise ValueError("format must be some of jsonl, parquet for images, got html: `mhex report` makes pages.")
        self.explainer, self.request, self.formats, self.columns = explainer, request, formats, columns

    def rows(self, rows: Iterator[Row], source: RowSource, ahead: int) -> Iterator[Row]:
        return labelled_rows(rows, source, self.explainer.classes.gold, ahead)

    def prepare(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows

    def digest(self, rows: Sequence[Row]) -> str:
        """Of the files' contents, wherever they lie and whatever they are called."""
        digest = hashlib.blake2b(digest_size=16)
        for row in rows:
            cells = [row.id, _content_hash(row), row.label, row.problem]
            digest.update(json.dumps(cells).encode() + b"\n")
        return digest.hexdigest()

    def explain(self, rows: Sequence[Row], items: Sequence[Any]) -> Iterator[ExplainedImage | str]:
        for result in explain_images(self.explainer, self.request, rows):
            kept = self.columns.overlay and "parquet" in self.formats
            yield result if isinstance(result, str) or kept else replace(result, image=None)

    def write(self, folder: Path, name: str, rows: Sequence[Row], explained: Sequence[Any]) -> dict[str, str]:
        hashes = {}
        for kind in self.formats:
            path = folder / f"{name}.{kind}"
            with durable(path) as file:
                if kind == "jsonl":
                    file.writelines(f"{dumps(image.form())}\n".encode() for image in explained)
                else:
                    labels = [None if row.label is None else str(row.label) for row in rows]
                    about = {
                        "id": pa.array([row.id for row in rows], pa.string()),
                        "row": pa.array([row.number for row in rows], pa.int64()),
                        "gold_label": pa.array(labels, pa.string()),
                    }
                    table = pa.table(about | to_image_columns(explained, self.columns))
                    pq.write_table(table, file, compression="zstd")
            hashes[path.name] = content_hash(path)
        return hashes

    def summary(self) -> ImageSummary:
        return ImageSummary()


def _content_hash(row: Row) -> str | None:
    try:
        return None if row.image is None else xxhash.xxh3_128_hexdigest(content_of(row.image))
    except OSError:
        return None


def work_of(explainer: Any, request: Any, formats: Sequence[str], columns: Any) -> Work:
    """What a job of that explainer does, by what is to stand in its columns."""
    if isinstance(columns, ImageColumnOptions):
        return ImageWork(explainer, request, formats, columns)
    return TextWork(explainer, request, formats, columns)
