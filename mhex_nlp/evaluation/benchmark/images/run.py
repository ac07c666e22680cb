# SPDX-License-Identifier: Apache-2.0
"""`evaluate_image_explanations`: explanation methods on one image classifier and the same images, with intervals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from ....explain.images.explainer import MhexImageExplainer
from ....inputs.checks import as_integer
from ....inputs.image_inputs import ImageInputs
from ....inputs.images import LoadedImage, iterate_images, load_image
from ....models.eval_mode import eval_view
from ....models.image_fit import image_fit_of
from ....models.image_perturbed import IMAGE_REMOVALS, choose_image_removal
from ...metrics.arrays import Bools, Floats
from .methods import DEFAULT_METHODS, METHODS, Explain, image_methods
from .study import ImageEvaluationReport, ImageStudy
from .values import ImageModelValues, ImageValues


def evaluate_image_explanations(
    model: Any,
    image_processor: Any,
    images: Any,
    *,
    methods: Sequence[str] | Literal["all"] | None = None,
    regions: Sequence[Any] | None = None,
    removals: Sequence[str] | None = None,
    pairs: int = 8,
    reference_permutations: int = 8,
    road: bool = False,
    seed: int = 0,
    batch_size: int = 64,
    window: tuple[float, float] | None = None,
    progress: bool = True,
    **budgets: int,
) -> ImageEvaluationReport:
    """Compares explanations of what an image classifier predicts: faithfulness, regions, cost. Experimental.

    (Long because of its many arguments.)

    Args:
        model: an image classifier of transformers; with a fit MHEX takes part.
        image_processor: its own.
        images: at least two, as `MhexImageExplainer` takes several.
        methods: keys of `METHODS`; by default the package's own that this model can do; "all" adds Shapley values and
            the peers that are installed. What is left out stands in the report's notes.
        regions: for each image a mask of 0 and 1 over its pixels, (height, width), of where the truth lies. A cell
            counts as inside where half of what it shows of the image is.
        removals: how cells are removed to judge by, of "mean", "blur" and "attention"; methods explain by the first.
            By default the fit's (without a fit "mean") and another.
        pairs: random pairs of complementary subsets of each image, for the paired skill.
        reference_permutations: orders of the reference Shapley values, a multiple of 4; 0 for none.
        road: remove and debias as well.
        seed: of everything drawn; equal seeds give equal figures.
        batch_size: images of one forward pass.
        window: (black, white) of images of more than 8 bits.
        progress: show a bar on a terminal.
        budgets: fields of `methods.ImageBudgets`, such as `steps=50`.

    Raises:
        TypeError, ValueError: bad images, fewer than two, a regression model, an unknown method or removal or one that
            was named and cannot be had, regions that do not align.
        ImportError: a peer that was named and is not installed.
    """
    pairs, seed = as_integer(pairs, "pairs", at_least=1), as_integer(seed, "seed", at_least=0)
    permutations = as_integer(reference_permutations, "reference_permutations", at_least=0)
    if permutations % 4:
        raise ValueError(f"reference_permutations must be 0 or a multiple of 4, got {permutations}.")
    inputs, judges = ImageInputs(image_processor), _judges(eval_view(model), removals, batch_size)
    loaded = [load_image(one, window=window, id=str(number)) for number, one in enumerate(iterate_images(images))]
    pixels = [inputs.pixel_values(image)[None] for image in loaded]
    first = next(iter(judges.values()))
    if first.classes.task == "regression":
        raise ValueError("model must be a classifier, got a regression model: it has no probabilities to measure by.")
    truths = None if regions is None else _regions(regions, loaded, [first.of(one) for one in pixels], inputs)
    names = DEFAULT_METHODS if methods is None else METHODS if methods == "all" else methods
    notes: list[str] = []
    left_out = notes if methods in (None, "all") else None
    view = first.model  # on which passes are counted
    ours = None if image_fit_of(view) is None else _fitted(view, image_processor, loaded, window)
    with Progress(console=Console(stderr=True), transient=True, disable=not (progress and sys.stderr.isatty())) as bar:
        task = bar.add_task("references", total=None)
        study = ImageStudy(judges, pixels, regions=truths, pairs=pairs, permutations=permutations, road=road, seed=seed)
        compared = image_methods(study.images[0], names, ours=ours, seed=seed, notes=left_out, **budgets)
        bar.update(task, total=len(compared))
        for method in compared:
            bar.update(task, advance=1, description=method.label)
            study.compare(method)
    return study.report(notes)


def _judges(view: Any, removals: Sequence[str] | None, batch_size: int) -> dict[str, ImageModelValues]:
    """The model by removal, first the fit's where none is named."""
    fit = image_fit_of(view)
    record = {} if fit is None else fit.record
    if removals is None:
        first = record.get("removal", "mean")
        removals = (first, "blur" if first != "blur" else "mean")
    if isinstance(removals, str) or not len(removals):
        raise ValueError(f"removals must be a list of some of {', '.join(IMAGE_REMOVALS)}, got {removals!r}.")
    colour = (record.get("image") or {}).get("colour")
    middle: Tensor | None = None if colour is None else torch.tensor(colour)
    size = as_integer(batch_size, "batch_size", at_least=1)
    return {how: ImageModelValues(view, choose_image_removal(how, view), middle, batch_size=size) for how in removals}


def _fitted(
    view: Any, image_processor: Any, loaded: Sequence[LoadedImage], window: tuple[float, float] | None
) -> Explain:
    """The fitted map by its explainer, which raises here where the fit is not this model's."""
    explainer = MhexImageExplainer(view, image_processor, window=window)
    explainer.request(None, None, "target", False, False)

    def explain(image: ImageValues, target: int) -> Floats:
        scores: Floats = explainer(loaded[image.number], target=target).map.reshape(-1).astype(np.float64)
        return scores

    return explain


def _regions(
    regions: Sequence[Any], loaded: Sequence[LoadedImage], images: Sequence[ImageValues], inputs: ImageInputs
) -> list[Bools]:
    """The cells of each image of which at least half of what they show lies in its true region."""
    if len(regions) != len(loaded):
        raise ValueError(f"regions must be one for each of the {len(loaded)} images, got {len(regions)}.")
    cells = []
    for number, (region, image, values) in enumerate(zip(regions, loaded, images, strict=True)):
        mask = np.asarray(region)
        if mask.shape != (image.height, image.width) or not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"regions[{number}] must be ({image.height}, {image.width}) of 0 and 1 as its image, got shape "
                f"{mask.shape}."
            )
        grid = values.grid
        place = inputs.geometry(image, grid.rows, grid.cols, grid.patch)
        row = np.floor((np.arange(image.height) + 0.5 - place.y0) / place.dy).astype(int)
        column = np.floor((np.arange(image.width) + 0.5 - place.x0) / place.dx).astype(int)
        seen = ((row >= 0) & (row < grid.rows))[:, None] & ((column >= 0) & (column < grid.cols))
        cell = (row[:, None] * grid.cols + column)[seen]
        shown, inside = (np.bincount(cell, one, grid.cells) for one in (None, mask[seen].astype(float)))
        marked = (shown > 0) & (inside * 2 >= np.maximum(shown, 1)) & (inside > 0)
        if not marked.any():
            raise ValueError(
                f"regions[{number}] must cover half of a cell that the model sees, got less: leave it out."
            )
        cells.append(marked.reshape(grid.rows, grid.cols))
    return cells
