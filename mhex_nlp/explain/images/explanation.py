# SPDX-License-Identifier: Apache-2.0
"""The result object of images: one image, its prediction and a signed score for every cell of a grid. Experimental."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...inputs.checks import check_share, integer_or_none
from ...render import image_map
from ...render.display import figure_format, show_here, text_or_file
from ...render.numbers import signed
from ..json_form import check_schema, dumps, from_plain, loads, to_plain
from ..parts import ClassRef, ModelRef, Prediction
from ..sums import check_count
from .parts import Cell, EmptyAnswer, Grid, ImageInfo, ImageMethod, Region
from .pixels import data_url

__all__ = ["Cell", "EmptyAnswer", "Grid", "ImageExplanation", "ImageInfo", "ImageMethod", "Region"]
IMAGE_SCHEMA = "mhex-image-explanation/1.1"
Rows = tuple[tuple[float, ...], ...]  # of the grid


def image_explanation_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one image explanation, as shipped in the package."""
    file = resources.files("mhex_nlp.explain.images").joinpath("image_explanation_schema.json")
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ImageExplanation:
    """Signed scores of one image's cells for one class, `target`, in logits. Experimental.

    Scores add up to `sum`, and `base_value + sum` is the (contrasted) logit explained. Boxes are in pixels of the image
    as given, turned upright. Equal and hashed by value, without the pixels. Raises ValueError where the parts
    contradict each other.
    """

    kind: Literal["image"] = field(default="image", init=False)
    id: str
    image: ImageInfo
    grid: Grid
    prediction: Prediction
    target: ClassRef
    foil: ClassRef | None
    scores: Rows  # (rows, cols)
    sum: float
    base_value: float
    empty: EmptyAnswer | None  # what the model says of an image with nothing in it; None for regression
    p_empty: float | None  # the probability of the target there
    method: ImageMethod
    model: ModelRef
    library: str
    notes: tuple[str, ...]
    classes: tuple[str, ...] | None = None
    class_scores: tuple[Rows, ...] | None = None  # (classes, rows, cols)
    layers: tuple[Rows, ...] | None = None  # (depths, rows, cols)
    depths: tuple[int, ...] | None = None  # the numbers of these depths
    pixels: Image.Image | None = field(default=None, compare=False)  # for pictures; never part of the JSON form

    def __post_init__(self) -> None:
        shape = (self.grid.rows, self.grid.cols)
        maps = {"scores": (self.scores,), "class_scores": self.class_scores or (), "layers": self.layers or ()}
        for name, values in maps.items():
            for one in values:
                if len(one) != shape[0] or any(len(row) != shape[1] for row in one):
                    raise ValueError(f"{name} must have {shape[0]} rows of {shape[1]} numbers, as the grid has")
        if (self.classes is None) != (self.class_scores is None):
            raise ValueError("classes and class_scores must be given together or not at all")
        if self.classes is not None and len(self.classes) != len(self.class_scores or ()):
            raise ValueError(f"class_scores must be {len(self.classes)} maps, one a class")
        if self.depths is not None and (
            len(self.depths) != len(self.layers or ()) or list(self.depths) != sorted({*self.depths})
        ):
            raise ValueError(f"depths must be ascending numbers, one for each of the layers, got {self.depths!r:.80}")
        if self.p_empty is not None and not 0 <= self.p_empty <= 1:
            raise ValueError(f"p_empty must be a probability from 0 to 1, got {self.p_empty}")
        flat = [score for row in self.scores for score in row]
        if abs(math.fsum(flat) - self.sum) > 1e-4 * (1 + math.fsum(map(abs, flat))):
            raise ValueError(f"sum must be the sum of the scores, {math.fsum(flat):.6g}, got {self.sum:.6g}")

    @property
    def label(self) -> str | None:
        """The predicted label; None for regression."""
        return self.prediction.label

    @property
    def probability(self) -> float | None:
        """The probability of the predicted label; None for regression."""
        return self.prediction.probability

    @property
    def skill(self) -> float | None:
        """The paired skill of the fit on held-out images; None without a fit."""
        return self.method.skill

    @property
    def trusted(self) -> bool:
        """Whether the lower end of that skill's interval is above 0.2."""
        return self.method.trusted

    @property
    def map(self) -> NDArray[np.float32]:
        """(rows, cols) float32, signed, for the target."""
        return np.asarray(self.scores, dtype=np.float32)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, row by row; its box is cut at the image's border."""
        drawn = self._drawn
        return tuple(
            Cell(row, col, drawn.box(row, col), score)
            for row, scores in enumerate(self.scores)
            for col, score in enumerate(scores)
        )

    def top(self, k: int = 5, by: Literal["score", "abs"] = "score") -> tuple[Cell, ...]:
        """The k cells with the largest scores, or with by="abs" the largest magnitudes; ties in reading order."""
        if by not in ("score", "abs"):
            raise ValueError(f"by must be 'score' or 'abs', got {by!r}")
        check_count(k)
        return tuple(sorted(self.cells, key=lambda cell: -(abs(cell.score) if by == "abs" else cell.score))[:k])

    def regions(self, k: int | None = None, *, least: float = image_map.REGION_FROM) -> tuple[Region, ...]:
        """Cells of one sign that touch by a side, most evidence first; cells outside the image belong to none.

        Args:
            k: return only the k first.
            least: the magnitude, as a share of the largest, from which on a cell belongs to a region.

        Raises:
            TypeError, ValueError: `k` below 0, or `least` outside 0 to 1.
        """
        check_count(k)
        floor = check_share(least, "least") * image_map.top_score(self.scores)
        drawn = self._drawn
        return tuple(
            Region(cells, drawn.box_around(cells), math.fsum(self.scores[row][col] for row, col in cells))
            for cells in image_map.connected_cells(drawn, self.scores, floor)[:k]
        )

    @property
    def _drawn(self) -> image_map.Grid:
        """The grid over the image, whose boxes are cut at the border."""
        grid = self.grid
        size = self.image.width, self.image.height
        return image_map.Grid(grid.rows, grid.cols, grid.x0, grid.y0, grid.dx, grid.dy, *size)

    def heatmap(self, size: tuple[int, int] | None = None, *, smooth: bool = False) -> NDArray[np.float32]:
        """(height, width) float32 over the image: the score of the cell that each pixel's centre lies in.

        Args:
            size: (height, width) of the result; by default the image's own.
            smooth: bilinear between the centres of cells.

        Returns:
            0 where the model sees nothing of the image.
        """
        y, x, inside = self._places(size)
        scores = self.map
        if not smooth:
            values = scores[np.clip(np.floor(y), 0, len(scores) - 1).astype(int)]
            values = values[:, np.clip(np.floor(x), 0, scores.shape[1] - 1).astype(int)]
        else:
            across = np.stack([np.interp(x - 0.5, np.arange(scores.shape[1]), row) for row in scores])
            values = np.stack([np.interp(y - 0.5, np.arange(len(scores)), column) for column in across.T], axis=1)
        return np.where(inside, values, 0).astype(np.float32)

    def mask(self, regions: Sequence[Region] | Region | None = None, size: tuple[int, int] | None = None) -> Any:
        """(height, width) bool: the pixels of some regions, by default of the first that speaks for the target.

        Args:
            regions: one of `regions()`, or several.
            size: as in `heatmap`.

        Raises:
            TypeError, ValueError: no regions, or those of another grid.
        """
        if regions is None:
            regions = [region for region in self.regions() if region.score > 0][:1]
        chosen = np.zeros((self.grid.rows, self.grid.cols), dtype=bool)
        several = [regions] if isinstance(regions, Region) or not isinstance(regions, Iterable) else regions
        for region in several:
            if not isinstance(region, Region):
                raise TypeError(f"regions must be some of regions(), got {region!r:.80}.")
            for row, col in region.cells:
                if not (0 <= row < self.grid.rows and 0 <= col < self.grid.cols):
                    raise ValueError(f"regions must be of this image, got the cell {(row, col)} of another grid.")
                chosen[row, col] = True
        y, x, inside = self._places(size)
        rows = np.clip(np.floor(y), 0, len(chosen) - 1).astype(int)
        cols = np.clip(np.floor(x), 0, chosen.shape[1] - 1).astype(int)
        return chosen[rows][:, cols] & inside

    def _places(self, size: tuple[int, int] | None) -> tuple[Any, Any, Any]:
        """In cells, where the rows and columns of pixels of a picture of the image lie, and which the grid covers."""
        sides = (self.image.height, self.image.width) if size is None else size
        if not isinstance(sides, tuple | list) or len(sides) != 2 or any((integer_or_none(n) or 0) < 1 for n in sides):
            raise ValueError(f"size must be (height, width) of at least 1 pixel, got {size!r}.")
        high, wide = sides
        grid = self.grid
        x = ((np.arange(wide) + 0.5) * self.image.width / wide - grid.x0) / grid.dx
        y = ((np.arange(high) + 0.5) * self.image.height / high - grid.y0) / grid.dy
        return y, x, ((y >= 0) & (y < grid.rows))[:, None] & ((x >= 0) & (x < grid.cols))

    def to_dict(self, *, embed: bool = False) -> dict[str, Any]:
        """The JSON form as a plain dict of new values; with `embed` the pixels are in it, as a data: URL of a PNG.

        Raises:
            TypeError: a part breaks its declared type.
            ValueError: `embed` without pixels, as in an explanation that was loaded.
        """
        whole = self
        if embed and self.image.data is None:
            if self.pixels is None:
                raise ValueError("embed=True needs the pixels, which an explanation that was loaded does not have.")
            whole = replace(self, image=replace(self.image, data=data_url(self.pixels)))
        form = to_plain(replace(whole, pixels=None), ImageExplanation, "explanation")
        return {"schema": IMAGE_SCHEMA, "kind": "image", **form}

    def to_json(self, indent: int | None = None, *, embed: bool = False) -> str:
        """The JSON form as a string, valid by image_explanation_schema.json; no pixels and no path unless asked for."""
        return dumps(self.to_dict(embed=embed), indent)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> ImageExplanation:
        """The explanation of a JSON form. ValueError names what is missing, unknown, wrong or newer than we read."""
        document = dict(check_schema(document, IMAGE_SCHEMA))
        del document["schema"]
        if document.pop("kind", "image") != "image":
            raise ValueError("explanation.kind must be 'image'")
        if "pixels" in document:
            raise ValueError('explanation has an unknown key "pixels"')
        return from_plain(cls, document)

    @classmethod
    def from_json(cls, source: str | bytes) -> ImageExplanation:
        """The explanation of a JSON string; errors as in `from_dict`, and ValueError for what is not JSON."""
        return cls.from_dict(loads(source))

    @overload
    def to_html(self, path: None = None, *, smooth: bool = False) -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str], *, smooth: bool = False) -> None: ...

    def to_html(self, path: str | PathLike[str] | None = None, *, smooth: bool = False) -> str | None:
        """One self-contained page, with the picture where it is known: as a string, or written to `path`."""
        return text_or_file(_render().image_page(self.to_dict(), self.pixels, smooth=smooth), path)

    def to_png(self, path: str | PathLike[str] | None = None, *, smooth: bool = False) -> bytes | None:
        """The map over the picture as a PNG: as bytes, or written to `path`."""
        picture: bytes = _render().overlay_png(self.to_dict(), self.pixels, smooth=smooth)
        if path is None:
            return picture
        Path(path).write_bytes(picture)
        return None

    def to_figure(self, path: str | PathLike[str], **options: Any) -> None:
        """Write a figure for a paper, as the end of `path` says: SVG, PDF or PNG; options of `render.image_figure`."""
        kind = figure_format(path)
        Path(path).write_bytes(_render().image_figure(self.to_dict(), kind, pixels=self.pixels, **options))

    def show(self) -> None:
        """Display in a notebook, or print the best regions to the terminal where there is no notebook."""
        form, render = self.to_dict(), _render()
        show_here(lambda: render.image_fragment(form, self.pixels), lambda: render.image_terminal(form))

    def _repr_html_(self) -> str:
        fragment: str = _render().image_fragment(self.to_dict(), self.pixels)
        return fragment

    def __repr__(self) -> str:
        chance = "" if self.probability is None else f" {self.probability:.3f}"
        best = ", ".join(f"({cell.row}, {cell.col}) {signed(cell.score)}" for cell in self.top(3))
        trust = "" if self.trusted else ", not trusted"
        return f"<ImageExplanation {self.label!r}{chance}, for {self.target.label!r}: {best}{trust}>"


def _render() -> Any:
    """The room of pictures, which takes long to import."""
    from ... import render

    return render
