# SPDX-License-Identifier: Apache-2.0
"""The explanation methods that a comparison of images knows, by name (experimental)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...metrics.arrays import Floats
from ...metrics.games import leave_one_out
from ...metrics.shapley import sampled_shapley
from ..choosing import budgets_of, check_budgets, choose_methods
from ..peers import kernel_shap_game, lime_game, load_peer
from . import peers
from .values import ImageValues

Explain = Callable[[ImageValues, int], Floats]

PEER_MODULES = {
    "captum_integrated_gradients": "captum.attr",
    "kernel_shap": "shap",
    "lime": "lime.lime_text",
}
OWN_METHODS = (
    "mhex_fitted",
    "random",
    "gradient_norm",
    "integrated_gradients",
    "grad_cam",
    "cam",
    "rollout",
    "occlusion",
    "rise",
    "shapley",
)
METHODS = (*OWN_METHODS, *PEER_MODULES)
DEFAULT_METHODS = tuple(name for name in OWN_METHODS if name != "shapley")  # Shapley values are the reference already


@dataclass(frozen=True, slots=True)
class ImageMethod:
    """One method: `name` is its key, `label` what tables call it.

    `explain` takes an image made by `ImageModelValues.of` and a class id, and gives (N,) float64 scores of its cells.
    """

    name: str
    label: str
    explain: Explain


@dataclass(frozen=True, slots=True)
class ImageBudgets:
    """How much a method may spend: steps of a path, masks of RISE, orders of Shapley, samples of the peers."""

    steps: int = 20
    masks: int = 200
    permutations: int = 8
    kernel_samples: int = 200
    lime_samples: int = 500

    def __post_init__(self) -> None:
        check_budgets(self)


def image_methods(
    probe: ImageValues,
    names: Sequence[str] | None = None,
    *,
    ours: Explain | None = None,
    seed: int = 0,
    notes: list[str] | None = None,
    **budgets: int,
) -> list[ImageMethod]:
    """The methods named, in the order of `METHODS`; by default all that this model and installation can do.

    Args:
        probe: an image of the model, on which methods that some models cannot have are tried.
        names: keys out of `METHODS`.
        ours: the fitted map; `None` where the model has no fit.
        seed: of the methods that sample.
        notes: gets a sentence for each method that cannot be had, named or not, in the place of an error.
        budgets: fields of `ImageBudgets`.

    Raises:
        ValueError: an unknown name or budget, a method that was named and cannot be had of this model.
        ImportError: a peer that was named and is not installed.
    """
    table = _table(ours, budgets_of(ImageBudgets, budgets), seed)

    def make(name: str) -> ImageMethod:
        _check(name, ours, probe)
        return table[name]

    return choose_methods(names, METHODS, make, notes)


def _check(name: str, ours: Explain | None, probe: ImageValues) -> None:
    if name in PEER_MODULES:
        load_peer(PEER_MODULES[name])
    if name == "mhex_fitted" and ours is None:
        raise ValueError("the model has no fit; `mhex fit` (fit_equivalent_matrices) makes one.")
    tried = {"grad_cam": peers.grad_cam, "cam": peers.class_activation_map, "rollout": peers.attention_rollout}
    if name in tried:
        tried[name](probe, 0)


def _table(ours: Explain | None, budgets: ImageBudgets, seed: int) -> dict[str, ImageMethod]:
    steps, masks, orders = budgets.steps, budgets.masks, budgets.permutations
    kernel, lime = budgets.kernel_samples, budgets.lime_samples
    rows: list[tuple[str, str, Explain]] = [
        ("random", "random", partial(random_map, seed)),
        ("gradient_norm", "gradient norm", peers.gradient_norm),
        (
            "integrated_gradients",
            f"integrated gradients, {steps} steps",
            partial(peers.integrated_gradients, steps=steps),
        ),
        ("grad_cam", "Grad-CAM", peers.grad_cam),
        ("cam", "CAM", peers.class_activation_map),
        ("rollout", "attention rollout", peers.attention_rollout),
        (
            "occlusion",
            "occlusion of each cell",
            lambda image, target: leave_one_out(image.explained(target), image.n),
        ),
        ("rise", f"RISE, {masks} masks", partial(peers.rise, samples=masks, seed=seed)),
        (
            "shapley",
            f"Shapley, {orders} permutations",
            lambda image, target: (
                sampled_shapley(image.explained(target), image.n, permutations=orders, seed=seed).values
            ),
        ),
        (
            "captum_integrated_gradients",
            f"integrated gradients, {steps} steps (captum)",
            partial(peers.captum_integrated_gradients, steps=steps),
        ),
        (
            "kernel_shap",
            f"KernelSHAP, {kernel} samples (shap)",
            lambda image, target: kernel_shap_game(image.explained(target), image.n, samples=kernel, seed=seed),
        ),
        (
            "lime",
            f"LIME, {lime} samples (lime)",
            lambda image, target: lime_game(image.explained(target), image.n, samples=lime, seed=seed),
        ),
    ]
    if ours is not None:
        rows.insert(0, ("mhex_fitted", "MHEX, fitted", ours))
    return {name: ImageMethod(name, label, explain) for name, label, explain in rows}


def random_map(seed: int, image: ImageValues, target: int) -> Floats:
    """Normal draws that depend on the seed and on the image."""
    return np.random.default_rng([seed, image.number]).normal(size=image.n)
