# SPDX-License-Identifier: Apache-2.0
"""Other explanations of one image: by gradients, states, attention, or by asking about parts of it.

Each takes an `ImageValues` and the class id to explain, and gives (N,) float64 scores of the grid's cells. What is
explained is the target's logit less the mean over classes, as everywhere here. A published method that says something
else stands in its docstring. Axes: N = R x C cells, K channels, h x w places of a state, S samples. Experimental.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ....models.image_families import find_image_site
from ....models.image_states import read_grids
from ...metrics.arrays import Floats, as_finite
from ..attention import eager_view, rollout
from ..peers import load_peer
from .values import ImageValues

_ALIKE = 1e-3  # how far CAM's sum may be from the logits, as a share of their largest: float32, and no further


def grad_cam(image: ImageValues, target: int) -> Floats:
    """ReLU(sum_k mean(d f / d A_k) A_k) over the deepest state that f reads by place (Selvaraju et al. 2017, eq. 1, 2).

    That is the last state of a convolutional network, and the one before the last block of a transformer that reads
    one token: of what comes later its patches have no part in f.

    Raises:
        ValueError: no hidden state with places that f depends on.
    """
    with torch.enable_grad():
        outputs = _with_states(image)
        explained = image.owner.explained(outputs.logits, target).sum()
    states = [state for state in outputs.hidden_states if state.requires_grad]
    gradients = torch.autograd.grad(explained, states, allow_unused=True)
    for state, gradient in zip(reversed(states), reversed(gradients), strict=True):
        if gradient is None:
            continue
        activation, change = _by_place(state, image), _by_place(gradient, image)
        if change.any():
            return image.of_places(torch.einsum("k,khw->hw", change.mean((1, 2)), activation).relu())
    raise ValueError("Grad-CAM needs a hidden state with places, on which the logits depend; this model has none.")


def class_activation_map(image: ImageValues, target: int) -> Floats:
    """w_target · A[place] / (h w) of a network with global average pooling and one linear layer (Zhou et al. 2016).

    Exact there, which is checked on this image: the map and the bias must add up to the logits.

    Raises:
        ValueError: another kind of network.
    """
    with torch.no_grad():
        outputs = _with_states(image)
    state, classes = _by_place(outputs.hidden_states[-1], image), outputs.logits.shape[-1]
    linear = [module for module in image.owner.model.modules() if isinstance(module, nn.Linear)]
    layer = next((module for module in reversed(linear) if module.out_features == classes), None)
    if layer is not None and layer.in_features == len(state):
        pooled = layer(state.mean((1, 2)))
        if (pooled - outputs.logits[0]).abs().max() <= _ALIKE * outputs.logits.abs().max():
            by_place = torch.einsum("khw,ck->hwc", state, layer.weight) / state[0].numel()
            return image.of_places(image.owner.explained(by_place.flatten(0, 1), target).reshape(state.shape[1:]))
    raise ValueError("CAM is exact for global average pooling and one linear layer alone, which this model has not.")


def gradient_norm(image: ImageValues, target: int) -> Floats:
    """|d f / d x|, the L2 norm over the pixels and channels of each cell (Simonyan et al. 2014 take their maximum)."""
    squares = _pixel_gradients(image, target, [1.0]).square().sum((0, 1))
    return np.sqrt(image.cell_sums(squares))


def integrated_gradients(image: ImageValues, target: int, steps: int = 20) -> Floats:
    """Along the way from the empty image, summed over each cell, by the midpoint rule (Sundararajan et al. 2017).

    With many steps the scores add up to f(image) - f(empty image).
    """
    gradient = _pixel_gradients(image, target, [(step + 0.5) / steps for step in range(steps)])
    return image.cell_sums((gradient * (image.pixels - image.empty)).sum((0, 1)))


def captum_integrated_gradients(image: ImageValues, target: int, steps: int = 20) -> Floats:
    """The same by captum (extra `bench`)."""
    owner = image.owner
    method = load_peer("captum.attr").IntegratedGradients(
        lambda pixels: owner.explained(owner.model(pixel_values=pixels).logits, target)
    )
    scores = method.attribute(
        image.pixels,
        baselines=image.empty,
        n_steps=steps,
        method="riemann_middle",
        internal_batch_size=owner.batch_size,
    )
    return image.cell_sums(scores.sum((0, 1)))


def rise(image: ImageValues, target: int, samples: int = 200, side: int = 7, seed: int = 0) -> Floats:
    """E[f M] / E[M] over soft masks M that are drawn coarsely, half kept, enlarged and shifted (Petsiuk et al. 2018).

    Theirs is divided by the expected, not the drawn mass of the masks; f there is the probability, and what is hidden
    is black, here the empty image.

    Args:
        samples: masks.
        side: cells of the coarse masks a side, as theirs, at most the pixels'.
        seed: of the masks.
    """
    owner, (height, width) = image.owner, image.pixels.shape[2:]
    draw = np.random.default_rng(seed)
    side = min(side, height, width)
    step = (-(-height // side), -(-width // side))
    weighted, mass = torch.zeros(height, width, dtype=torch.float64), torch.zeros(height, width, dtype=torch.float64)
    for start in range(0, samples, owner.batch_size):
        count = min(owner.batch_size, samples - start)
        coarse = torch.from_numpy((draw.random((count, 1, side + 1, side + 1)) < 0.5).astype(np.float32))
        fine = interpolate(coarse, ((side + 1) * step[0], (side + 1) * step[1]), mode="bilinear", align_corners=False)
        shifts = draw.integers(0, step, (count, 2))
        masks = torch.stack(
            [mask[:, top : top + height, left : left + width] for mask, (top, left) in zip(fine, shifts, strict=True)]
        )
        kept = masks.to(image.pixels)
        said = torch.from_numpy(owner.logits(image.pixels * kept + image.empty * (1 - kept)))
        values = owner.explained(said, target)
        weighted += torch.einsum("s,shw->hw", values, masks[:, 0].double())
        mass += masks[:, 0].double().sum(0)
    saliency, ones = weighted / mass.clamp_min(1e-12), torch.ones_like(mass)
    return image.cell_sums(saliency) / image.cell_sums(ones)


def attention_rollout(image: ImageValues, target: int) -> Floats:
    """The row of the position that is read in (0.5 W + 0.5 I) multiplied over all layers (Abnar and Zuidema 2020).

    It does not know the class. In a family that `models/image_families.py` does not know the first token is read, or
    every patch where there is no token beside them.

    Raises:
        ValueError: a model whose attention is no (T, T) over one row of patches.
    """
    owner, grid = image.owner, image.grid
    kind = type(owner.model).__name__
    try:
        with torch.no_grad():
            maps = getattr(
                eager_view(owner.model)(pixel_values=image.pixels, output_attentions=True), "attentions", None
            )
    except (TypeError, ValueError):  # a family without "eager" attention, or without attention at all
        maps = None
    tokens = grid.special + image.n
    if not maps or any(layer is None or layer.shape[2:] != (tokens, tokens) or len(layer) != 1 for layer in maps):
        raise ValueError(
            f"rollout needs a vision transformer in which every patch attends to every other, which {kind} is not."
        )
    mixed = rollout(torch.stack([layer[0].double().mean(0).cpu() for layer in maps]))
    site = find_image_site(owner.model.config.model_type)
    start = None if site is None else site.start_row(owner.model, tokens)
    read = torch.ones(tokens) / tokens if grid.special == 0 else torch.eye(tokens)[0]
    row = (read if start is None else start[0]).to(mixed) @ mixed
    return as_finite(row[grid.special :].numpy(), "attention weights")


def _pixel_gradients(image: ImageValues, target: int, points: Sequence[float]) -> Tensor:
    """(1, 3, H, W), the mean gradient of what is explained at points of the way from the empty image to the image."""
    owner, total = image.owner, torch.zeros_like(image.pixels)
    where = torch.tensor(points, dtype=image.pixels.dtype, device=image.pixels.device)
    for part in where.split(owner.batch_size):
        pixels = image.empty + part[:, None, None, None] * (image.pixels - image.empty)
        with torch.enable_grad():
            pixels.requires_grad_(True)
            explained = owner.explained(owner.model(pixel_values=pixels).logits, target).sum()
            (gradient,) = torch.autograd.grad(explained, pixels)
        total += gradient.sum(0, keepdim=True)
    return total / len(points)


def _with_states(image: ImageValues) -> Any:
    """The output with the hidden states, ready for gradients where these are on."""
    pixels = image.pixels.clone().requires_grad_(torch.is_grad_enabled())
    outputs = image.owner.model(pixel_values=pixels, output_hidden_states=True)
    if not getattr(outputs, "hidden_states", None):
        raise ValueError(f"the model must give its hidden states, which {type(image.owner.model).__name__} does not.")
    return outputs


def _by_place(state: Tensor, image: ImageValues) -> Tensor:
    """A hidden state of one image to (K, h, w); errors as in `read_grids`."""
    (places,) = read_grids(SimpleNamespace(hidden_states=(state,)), image.pixels, image.owner.model.config)
    return places[0].float()
