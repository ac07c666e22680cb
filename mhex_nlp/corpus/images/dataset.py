# SPDX-License-Identifier: Apache-2.0
"""What `highlight_dataset` does with the images of a `datasets` dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, Image, IterableDataset

from ..columns import PREFIX
from ..readers.images import ImageColumns
from .columns import ImageColumnOptions, to_image_columns
from .explained import AT_ONCE, explain_images, identity_of_images


def explained_images(
    dataset: Dataset | IterableDataset,
    explainer: Any,
    *,
    image_column: str,
    batch_size: int,
    request: Mapping[str, Any],
    options: ImageColumnOptions,
    errors: str,
) -> tuple[ExplainImages, dict[str, Any]]:
    """What `map` calls to add the columns, and how; arguments, checked, and errors as in `highlight_dataset`."""
    columns = ImageColumns(image=image_column)
    if dataset.column_names is not None:
        _check_columns(dataset, columns)
    explainer.request(**request, layers=False, names=False)  # refuses what would be refused image by image
    explain = ExplainImages(explainer, request, columns, options, errors)
    how: dict[str, Any] = {"with_indices": True, "batched": True, "batch_size": min(batch_size, AT_ONCE)}
    how["features"] = None if dataset.features is None else Features({**dataset.features, **_added(options)})
    if isinstance(dataset, Dataset):
        state: list[Any] = [dataset._fingerprint, image_column, repr(options), batch_size, errors]
        state.append(identity_of_images(explainer, request))
        how["new_fingerprint"] = hashlib.sha256(json.dumps(state, default=str).encode()).hexdigest()[:16]
    return explain, how


def _added(options: ImageColumnOptions) -> Features:
    """The columns as features; the overlay is an Image, which `datasets` shows."""
    added = Features.from_arrow_schema(pa.schema(list(options.types.items())))
    return Features({**added, f"{PREFIX}overlay": Image()}) if options.overlay else added


@dataclass
class ExplainImages:
    """Adds the columns to a chunk of the dataset."""

    explainer: Any
    request: Mapping[str, Any]
    columns: ImageColumns
    options: ImageColumnOptions
    errors: str

    def __call__(self, table: pa.Table, indices: list[int]) -> pa.Table:
        self.columns.check(table.column_names, "the dataset")
        name = self.columns.image
        rows = [
            self.columns.row(index, {name: cell}) for index, cell in zip(indices, table[name].to_pylist(), strict=True)
        ]

        def checked() -> Any:
            for row, result in zip(rows, explain_images(self.explainer, self.request, rows), strict=True):
                if isinstance(result, str) and self.errors == "raise":
                    raise ValueError(f"row {row.number} of the dataset cannot be explained: {result}")
                yield result

        for column, values in to_image_columns(checked(), self.options).items():
            table = table.append_column(column, values)
        return table


def _check_columns(dataset: Dataset | IterableDataset, columns: ImageColumns) -> None:
    columns.check(dataset.column_names or [], "the dataset")
    if taken := sorted(name for name in dataset.column_names or [] if name.startswith(PREFIX)):
        raise ValueError(f"dataset must have no column that begins with {PREFIX}, got {', '.join(taken)}.")
    feature = (dataset.features or {}).get(columns.image)
    kind = getattr(feature, "dtype", "string")
    is_file = isinstance(feature, Image) or (isinstance(feature, dict) and {"bytes", "path"} <= set(feature))
    if not is_file and kind not in ("string", "large_string", "binary"):
        raise TypeError(
            f"image_column must name a column of images, file names or bytes, got {columns.image!r}, which holds "
            f"{kind}."
        )
