# SPDX-License-Identifier: Apache-2.0
"""Explained images as Arrow columns of fixed types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ...inputs.checks import as_integer
from ..columns import PREFIX
from .explained import ExplainedImage

_GRID = pa.list_(pa.list_(pa.float32()))
_FILE = pa.struct({"bytes": pa.binary(), "path": pa.string()})  # as `datasets` stores an Image
_TYPES: dict[str, pa.DataType] = {
    "label": pa.string(),  # the predicted class
    "probability": pa.float32(),
    "probabilities": pa.list_(pa.float32()),  # every class's, in id order
    "target": pa.string(),  # the class that the scores are for
    "foil": pa.string(),
    "grid": _GRID,  # rows x columns of scores, in logits
    "boxes": pa.list_(pa.list_(pa.float32())),  # of the strongest regions: left, top, right, bottom, in image pixels
    "box_scores": pa.list_(pa.float32()),  # of each, the sum of its cells
    "geometry": pa.struct({name: pa.float32() for name in ("x0", "y0", "dx", "dy")}),  # where the grid lies
    "class_grids": pa.list_(_GRID),  # with classes="all", in id order
    "sum": pa.float32(),
    "base_value": pa.float32(),
    "p_empty": pa.float32(),  # of the target, on an image with nothing in it
    "trust": pa.bool_(),  # whether the fit reaches the bar on held-out images
    "skill": pa.float32(),  # paired, of the fit
    "skill_interval": pa.list_(pa.float32()),
    "notes": pa.list_(pa.string()),
    "overlay": _FILE,
    "error": pa.string(),  # why there is nothing else in this row
}
_SIDE = 1024  # pixels of an overlay, at the most


@dataclass(frozen=True, slots=True)
class ImageColumnOptions:
    """What stands in the columns: the strongest `top_k` regions, every class's map, the map over the image."""

    top_k: int = 5
    all_classes: bool = False
    overlay: bool = False

    def __post_init__(self) -> None:
        as_integer(self.top_k, "top_k", at_least=1)

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The columns by name, with their types."""
        asked_for = {"class_grids": self.all_classes, "overlay": self.overlay}
        return {PREFIX + name: kind for name, kind in _TYPES.items() if asked_for.get(name, True)}


def to_image_columns(rows: Iterable[ExplainedImage | str], options: ImageColumnOptions) -> dict[str, pa.Array]:
    """The columns of a chunk, an entry a row; a reason in the place of an image leaves all but `mhex_error` null."""
    columns: dict[str, list[Any]] = {name: [] for name in options.types}
    for row in rows:
        values = {"error": row} if isinstance(row, str) else _values(row, options)
        for name, column in columns.items():
            column.append(values.get(name.removeprefix(PREFIX)))
    return {name: pa.array(column, options.types[name]) for name, column in columns.items()}


def _values(row: ExplainedImage, options: ImageColumnOptions) -> dict[str, Any]:
    from ...render.image_map import image_map

    form = row.form()
    prediction, method, grid = form["prediction"], form["method"], form["grid"]
    drawn = image_map(form)
    regions = drawn.regions[: options.top_k]
    interval = method.get("skill_interval")
    values = {name: form.get(name) for name in ("sum", "base_value", "p_empty", "notes")}
    if options.overlay:
        values["overlay"] = {"bytes": _overlay(form, row.image), "path": None}
    return values | {
        "label": prediction["label"],
        "probability": prediction["probability"],
        "probabilities": list((prediction.get("probabilities") or {}).values()) or None,
        "target": form["target"]["label"],
        "foil": None if form["foil"] is None else form["foil"]["label"],
        "grid": form["scores"],
        "boxes": [list(drawn.grid.box_around(region.cells)) for region in regions],
        "box_scores": [region.score for region in regions],
        "geometry": {name: grid[name] for name in ("x0", "y0", "dx", "dy")},
        "class_grids": form.get("class_scores"),
        "trust": method.get("trusted"),
        "skill": method.get("skill"),
        "skill_interval": None if interval is None else list(interval),
    }


def _overlay(form: Mapping[str, Any], image: Any) -> bytes:
    """The map over the image as a PNG."""
    from ...render import overlay_png

    longest = max(form["image"]["width"], form["image"]["height"])
    return overlay_png(form, image, size=_SIDE if longest > _SIDE else None)
