# SPDX-License-Identifier: Apache-2.0
"""One ImageExplanation for each image of a batch, from what one pass showed.

Axes: B images, K maps of each (the target's, and with classes="all" every class's), L depths, N cells, C labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..._version import __version__
from ...inputs.image_geometry import ImageGeometry
from ...inputs.image_inputs import OTHER_SETTINGS
from ...inputs.images import LoadedImage
from ...models.fit_record import IMAGES, trusted_from
from ...models.heads.readout import FittedReadout
from ...models.image_states import ImageGrid
from ..parts import ModelRef, Prediction
from ..targets import ClassTable
from .explanation import EmptyAnswer, Grid, ImageExplanation, ImageInfo, ImageMethod, Rows

_TINY = 1.0  # pixels: the least side of a cell


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What one call asks for, checked."""

    table: ClassTable
    target: int | None
    foil: int | None
    all_classes: bool
    layers: bool
    contrast: str
    readout: FittedReadout | None  # without: the heads explain
    fit_holds: bool | None  # whether the fit is of the model's weights; None: it does not say
    other_processor: str | None  # in what the processor differs from the fit's
    names: bool
    model: ModelRef

    @property
    def fit(self) -> Mapping[str, Any]:
        """The record of the fit; empty where the heads explain."""
        return {} if self.readout is None else self.readout.record

    @property
    def figures(self) -> Mapping[str, Any]:
        """That record where its figures are of the model's weights and of the processor's settings, or else nothing."""
        return self.fit if self.fit_holds and self.other_processor != OTHER_SETTINGS else {}


@dataclass(frozen=True, slots=True)
class Maps:
    """What one pass showed: logits (B, C), those explained, targets (B,), scores (B, K, L, N) float64, logits of empty
    images (B, C).
    """

    logits: Tensor
    explained: Tensor  # of the heads, where they explain
    targets: Tensor
    by_depth: Tensor
    empty: Tensor | None
    grid: ImageGrid


def contrasts(targets: Tensor, labels: int, request: ImageRequest) -> Tensor:
    """(B, K, C) float32: the weights of the labels in each map that is asked for."""
    chosen = torch.eye(labels)[targets][:, None]  # (B, 1, C)
    if request.all_classes:
        chosen = torch.cat([chosen, torch.eye(labels).expand(len(targets), -1, -1)], dim=1)
    if request.contrast == "none":
        return chosen
    return chosen - (torch.full((labels,), 1 / labels) if request.foil is None else torch.eye(labels)[request.foil])


def assemble(
    images: Sequence[LoadedImage],
    ids: Sequence[str],
    places: Sequence[ImageGeometry],
    maps: Maps,
    request: ImageRequest,
) -> Iterator[ImageExplanation]:
    """The explanations of a batch, in its order.

    Raises:
        ValueError: scores that are not finite; names the image.
    """
    table, method = request.table, _method(request)
    weights = contrasts(maps.targets, len(table), request)[:, 0].double()
    explained = (maps.explained.double() * weights).sum(1).tolist()
    for row, (image, id, place) in enumerate(zip(images, ids, places, strict=True)):
        by_depth = maps.by_depth[row].unflatten(2, (maps.grid.rows, maps.grid.cols))  # (K, L, rows, cols)
        if not by_depth.isfinite().all():
            raise ValueError(f"the scores of image {id} are not finite, so nothing can be said of its cells.")
        scores = by_depth.sum(1)
        total = math.fsum(scores[0].flatten().tolist())
        target = int(maps.targets[row])
        prediction = table.prediction(maps.logits[row])
        known = None if maps.empty is None else table.probabilities(maps.empty[row][None])
        chances = None if known is None else known[0]
        empty = None if chances is None else _empty_answer(table, chances)
        yield ImageExplanation(
            id=id,
            image=ImageInfo(image.width, image.height, image.sha256, image.name if request.names else None),
            grid=Grid(place.rows, place.cols, place.x0, place.y0, place.dx, place.dy),
            prediction=prediction,
            target=table.class_ref(target),
            foil=None if request.foil is None else table.class_ref(request.foil),
            scores=_rows(scores[0]),
            sum=total,
            base_value=explained[row] - total,
            empty=empty,
            p_empty=None if chances is None else chances[target],
            method=method,
            model=request.model,
            library=f"mhex_nlp {__version__}",
            notes=_notes(image, place, prediction, empty, request, int(maps.explained[row].argmax())),
            classes=table.labels if request.all_classes else None,
            class_scores=tuple(map(_rows, scores[1:])) if request.all_classes else None,
            layers=tuple(map(_rows, by_depth[0])) if request.layers else None,
            depths=_depths(request, by_depth.shape[1]) if request.layers else None,
            pixels=image.image,
        )


def _depths(request: ImageRequest, count: int) -> tuple[int, ...]:
    """The numbers of the depths: a fit may have thinned them; heads are at every block, from 1."""
    return tuple(range(1, count + 1)) if request.readout is None else request.readout.layout.depths


def _rows(values: Tensor) -> Rows:
    return tuple(map(tuple, values.tolist()))


def _empty_answer(table: ClassTable, chances: Sequence[float]) -> EmptyAnswer:
    best = max(range(len(chances)), key=chances.__getitem__)
    return EmptyAnswer(table.labels[best], best, chances[best])


def _method(request: ImageRequest) -> ImageMethod:
    fit, kind, figures = request.fit, request.contrast, request.figures
    interval = figures.get("skill_interval")
    return ImageMethod(
        name="mhex",
        fitted=request.readout is not None,
        removal=fit.get("removal"),
        contrast=kind,  # type: ignore[arg-type]
        skill=figures.get("skill"),
        skill_interval=None if interval is None else tuple(interval),
        attainable=figures.get("attainable"),
        trusted=interval is not None and interval[0] > trusted_from(IMAGES),
    )


def _notes(
    image: LoadedImage,
    place: ImageGeometry,
    prediction: Prediction,
    empty: EmptyAnswer | None,
    request: ImageRequest,
    explained: int,
) -> tuple[str, ...]:
    """What a reader must know of one explanation, a sentence each."""
    notes, fit = list(image.notes), request.fit
    if min(place.dx, place.dy) < _TINY:
        size = f"{image.width} x {image.height} pixels"
        notes.append(f"The image of {size} is smaller than its grid of {place.rows} x {place.cols} cells.")
    if empty is not None and empty.id == prediction.id:
        notes.append(
            f"An empty image is {empty.label} to the model already, with probability {empty.probability:.2f}: little "
            "of this prediction may lie in the image."
        )
    if request.readout is None:
        notes.append(
            "The scores explain what the heads say, and no fit says how far the model does as they say: do not trust "
            "single cells."
        )
        if request.table.exclusive and explained != prediction.id:
            notes.append(f"The heads choose {request.table.labels[explained]}, the model does not.")
    elif not request.fit_holds:
        unknown = "does not record which weights it was made on"
        why = unknown if request.fit_holds is None else "was made on other weights"
        notes.append(f"The fit {why}: how far to trust these scores is not known.")
    elif request.figures and fit["skill_interval"][0] <= trusted_from(IMAGES):
        low, high = fit["skill_interval"]
        notes.append(
            f"Do not trust single cells: on held-out images the fit has a paired skill of {fit['skill']:.2f} "
            f"[{low:.2f}, {high:.2f}], and trust begins above {trusted_from(IMAGES):g}; more images for the fit, or "
            "integrated gradients, may say more."
        )
    if request.other_processor is not None:
        doubt = "" if request.figures or not request.fit_holds else ": how far to trust these scores is not known"
        notes.append(
            f"The fit was made with another image processor than this one, which has {request.other_processor}{doubt}."
        )
    return tuple(notes)
