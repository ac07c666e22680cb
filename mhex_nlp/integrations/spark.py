# SPDX-License-Identifier: Apache-2.0
"""Explanations in Spark: a function for `DataFrame.mapInArrow`, and the schema of what it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from .batches import BatchOptions, TableExplainer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


def explain_batches(model: str | PathLike[str], column: str = "text", **options: Unpack[BatchOptions]) -> SparkBatches:
    """A function for `DataFrame.mapInArrow` that adds the columns of `highlight_dataset`.

    >>> explain = explain_batches(model="my-model", column="text")
    >>> explained = rows.mapInArrow(explain, explain.schema(rows))

    Each Python worker of Spark loads the model once, for all its tasks. A row that cannot be explained stays, with null
    in its columns and the reason in `mhex_error`.

    Args:
        model: a folder or hub name of a model with heads, or a folder that `export_onnx` wrote; every worker must be
            able to read it, and the driver its config.
        column: the column of the texts.
        options: see `BatchOptions`.

    Raises:
        TypeError, ValueError: an option that is unknown or out of range.
    """
    return SparkBatches(TableExplainer.of(model, column, options))


class SparkBatches:
    """What `explain_batches` gives: called with the record batches of a partition, it yields those with the columns."""

    def __init__(self, explainer: TableExplainer) -> None:
        self._explainer = explainer

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches with the columns.

        Raises:
            TypeError: a column that does not hold strings.
            ValueError: one that is not there, or would be overwritten; with errors="raise" a row that cannot be
                explained; as `MhexExplainer.from_pretrained`.
        """
        for batch in batches:
            for table in self._explainer.tables(pa.Table.from_batches([batch])):
                yield from table.combine_chunks().to_batches()

    def schema(self, rows: DataFrame | StructType) -> StructType:
        """The second argument of `mapInArrow`: the fields of `rows`, or of its schema, and those of the columns.

        Raises:
            ImportError: there is no pyspark.
            ValueError: a column that is not there, or would be overwritten; a model that cannot be read.
        """
        try:
            from pyspark.sql.pandas.types import from_arrow_schema
            from pyspark.sql.types import StructType
        except ImportError as error:
            raise ImportError("pyspark is not installed; pip install 'mhex_nlp[spark]' installs it.") from error
        before: Any = getattr(rows, "schema", rows)
        added = self._explainer.types(before.names)
        return StructType([*before.fields, *from_arrow_schema(pa.schema(list(added.items()))).fields])
