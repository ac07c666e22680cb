# SPDX-License-Identifier: Apache-2.0
"""A network fitted, and its maps compared with other methods': what the groups of the study share.

Axes: B images, N cells.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mhex_nlp import MhexConfig, MhexImageExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.evaluation.benchmark.images.methods import image_methods
from mhex_nlp.evaluation.benchmark.images.study import ImageStudy
from mhex_nlp.evaluation.benchmark.images.values import ImageModelValues
from mhex_nlp.models.image_fit import image_fit_of

from .data import Images
from .models import as_input, make_processor

METHODS = (
    "mhex_fitted",
    "integrated_gradients",
    "rise",
    "occlusion",
    "grad_cam",
    "cam",
    "rollout",
    "gradient_norm",
    "random",
)


@dataclass(frozen=True)
class Settings:
    """How much is measured; `smoke` shows that it runs, and no more."""

    data: Path
    work: Path
    seeds: int = 3
    images: int = 200  # that maps are judged on
    fitted_on: int = 1500
    pairs: int = 8
    permutations: int = 8
    smoke: bool = False

    def small(self) -> Settings:
        """Of a smoke test."""
        few = {"seeds": 1, "images": 2, "fitted_on": 30, "pairs": 2, "permutations": 4}
        return replace(self, smoke=True, **few)


@dataclass(frozen=True)
class Fitted:
    """A network with its fit, the explainer over it, and how long the fit took."""

    model: Any
    explainer: MhexImageExplainer
    seconds: float

    def over(self, view: Any) -> MhexImageExplainer:
        """The explainer over a view of the network, on which passes are counted."""
        return MhexImageExplainer(view, self.explainer.image_processor)

    def maps(self, data: Images, targets: NDArray[np.int64], foils: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """(B, rows, cols) of the fitted map, for each image's target."""
        maps = np.zeros((len(data), 0, 0))
        asked = {(int(one), None if foils is None else int(foils[row])) for row, one in enumerate(targets)}
        for target, foil in asked:
            rows = np.flatnonzero((targets == target) & (True if foil is None else foils == foil))
            explanations = self.explainer([data.pixels[row] for row in rows], target=target, foil=foil)
            if not maps.size:
                maps = np.zeros((len(data), *explanations[0].map.shape))
            maps[rows] = [one.map for one in explanations]
        return maps


def fitted(model: Any, data: Images, settings: Settings, seed: int) -> Fitted:
    """The small network fitted on some images, without labels; with heads that only read, as the auto class has it."""
    return fit_to(get_mhex_model(model, MhexConfig(gate=False)).eval(), make_processor(), data, settings, seed)


def fit_to(model: Any, processor: Any, data: Images, settings: Settings, seed: int) -> Fitted:
    """A network fitted on some images, drawn by the seed, without labels."""
    start = time.perf_counter()
    chosen = np.random.default_rng(seed).permutation(len(data))[: settings.fitted_on]
    some = {"attainable_images": 2} if settings.smoke else {}
    images = [data.pixels[row] for row in chosen]
    fit_equivalent_matrices(model, processor, images, seed=seed, progress=False, **some)
    return Fitted(model, MhexImageExplainer(model, processor, batch_size=64), time.perf_counter() - start)


def compared(
    network: Fitted, data: Images, settings: Settings, seed: int, removals: tuple[str, ...] = ("mean",)
) -> tuple[dict[str, Any], ImageStudy]:
    """The comparison of methods on these images, as plain data, and the study behind it."""
    record = image_fit_of(network.model).record
    colour = torch.tensor(record["image"]["colour"])
    judges = {how: ImageModelValues(network.model, how, colour) for how in (record["removal"], *removals)}
    pixels = as_input(data.pixels)
    study = ImageStudy(
        judges,
        [one[None] for one in pixels],
        regions=None if data.regions is None else list(data.regions),
        pairs=settings.pairs,
        permutations=settings.permutations,
        seed=seed,
    )

    explainer = network.over(next(iter(judges.values())).model)

    def ours(image: Any, target: int) -> Any:
        return explainer(data.pixels[image.number], target=target).map.reshape(-1).astype(float)

    budgets = {"masks": 10, "steps": 2} if settings.smoke else {}
    notes: list[str] = []
    for method in image_methods(study.images[0], METHODS, ours=ours, seed=seed, notes=notes, **budgets):
        study.compare(method)
    fit = {key: record[key] for key in ("skill", "skill_interval", "attainable", "texts", "strength") if key in record}
    return {"fit": fit | {"seconds": network.seconds}, **study.report(notes).to_dict()}, study


def share(values: Any) -> dict[str, Any]:
    """A mean of marks with its count, for tables."""
    marks = np.asarray(values, dtype=float)
    return {"mean": round(float(marks.mean()), 4), "n": int(marks.size)}


def as_plain(settings: Settings) -> dict[str, Any]:
    """The settings without the folders of this machine."""
    return {key: value for key, value in asdict(settings).items() if key not in ("data", "work")}
