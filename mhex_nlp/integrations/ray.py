# SPDX-License-Identifier: Apache-2.0
"""Explanations in Ray Data: a class for `map_batches`. Imports no Ray: Ray imports it."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Unpack

import pyarrow as pa

from .batches import BatchOptions, TableExplainer


class ExplainBatches:
    """Adds the columns of `highlight_dataset` to the rows of a Ray dataset; each worker loads the model once.

    >>> explained = rows.map_batches(
    ...     ExplainBatches,
    ...     fn_constructor_kwargs={"model": "my-model", "column": "text"},
    ...     batch_format="pyarrow",
    ...     batch_size=1000,
    ...     concurrency=2,
    ... )

    A row that cannot be explained stays, with null in its columns and the reason in `mhex_error`. Batches of Arrow
    (`batch_format="pyarrow"`) keep the types of the other columns; NumPy's and pandas' work too.

    Args:
        model: a folder or hub name of a model with heads, or a folder that `export_onnx` wrote; every worker must be
            able to read it.
        column: the column of the texts.
        options: see `BatchOptions`.

    Raises:
        TypeError, ValueError: an option that is unknown or out of range; as `MhexExplainer.from_pretrained`.
    """

    def __init__(self, model: str | PathLike[str], column: str = "text", **options: Unpack[BatchOptions]) -> None:
        self._explainer = TableExplainer.of(model, column, options)
        self._explainer.load()

    def __call__(self, batch: Any) -> pa.Table:
        """The batch with the columns.

        Raises:
            TypeError: a batch that is no table, a column that does not hold strings or is no table's.
            ValueError: a column that is not there, or would be overwritten; with errors="raise" a row that cannot be
                explained.
        """
        return pa.concat_tables(self._explainer.tables(_as_table(batch)))


def _as_table(batch: Any) -> pa.Table:
    """Ray's batches, whichever format they have."""
    if isinstance(batch, pa.Table):
        return batch
    if hasattr(batch, "to_records"):
        return pa.Table.from_pandas(batch, preserve_index=False)
    if not isinstance(batch, Mapping):
        kind = type(batch).__name__
        raise TypeError(f"batch must be a pyarrow.Table, a DataFrame or a dict of arrays, got a {kind}.")
    columns = {}
    for name, values in batch.items():
        if getattr(values, "ndim", 1) != 1:
            raise TypeError(
                f"batch must have one value a row to be made a table, got {name!r} of shape {values.shape}: "
                'pass batch_format="pyarrow" to map_batches.'
            )
        columns[name] = pa.array(values)
    return pa.table(columns)
