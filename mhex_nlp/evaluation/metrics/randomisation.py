# SPDX-License-Identifier: Apache-2.0
"""Parameter randomisation (Adebayo et al. 2018, "Sanity Checks for Saliency Maps"): do scores follow the weights?

An explanation that stays the same when what it explains is drawn anew explains something else. For a model with heads
there are two things to draw anew, each with the other kept: the backbone, and the heads with their fitted matrices.

Axes: R re-initialisations, B texts, n_i content tokens of text i.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...models.families import find_site
from ...models.loading import HEAD_PREFIXES
from ...models.unwrap import inner_model
from .arrays import Floats
from .ranking import randomisation_similarity

if TYPE_CHECKING:
    from ...explain.explainer import MhexExplainer
    from ...explain.explanation import Explanation

Part = Literal["backbone", "layers", "heads"]


@contextmanager
def randomised(model: Any, part: Part = "backbone", seed: int = 0) -> Iterator[None]:
    """The model with one part of its weights drawn anew inside; afterwards they are back, bit for bit.

    The weights change in place, so that an explainer of the model explains the randomised one; nothing else should run
    the model meanwhile. Memory: the part once more, and a fresh model while it is drawn.

    Args:
        model: a model with heads.
        part: "backbone", every weight but the heads', embeddings and classifier among them; "layers", the weights of
            the layers that have heads; either is drawn as the family itself starts (norms at 1 and 0, linear maps and
            embeddings normal). "heads", heads and fitted matrices, each tensor drawn normal with its own root mean
            square, since a fresh head is zero and would explain nothing.
        seed: of the draw; equal seeds give equal weights, and torch's own generator is left as it was.

    Raises:
        ValueError: a model without heads, an unknown part, or weights that a fresh model of the same config does not
            have (adapters, quantised layers).
    """
    inner = inner_model(model)
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {list(get_args(Part))}, got {part!r}.")
    tensors = _tensors(inner, part)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = _same_scale(tensors) if part == "heads" else _fresh(inner, tensors)
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    try:
        _fill(tensors, drawn)
        yield
    finally:
        _fill(tensors, before)


def parameter_randomisation(
    explainer: MhexExplainer, texts: Sequence[str], part: Part = "backbone", seeds: Sequence[int] = (0, 1, 2)
) -> Floats:
    """Signed Spearman between each text's scores and those of the randomised model, for the same class and tokens.

    Content tokens only, as the explainer's options say, always for the class that the unchanged model predicts. |mean|
    near 0 is what is wanted; a single draw may lean to a side, so report several.

    Args:
        explainer: of a model with trained or fitted heads.
        texts: B texts of at least two content tokens each.
        part: what is drawn anew, as in `randomised`.
        seeds: R seeds, at least one.

    Returns:
        (R, B) float64, -1 to 1.

    Raises:
        TypeError, ValueError: as the explainer and `randomised`; no texts, no seeds, or a text of a single content
            token, which has no order.
    """
    if isinstance(texts, str):
        raise TypeError(f"texts must be a sequence of texts, got the single text {texts[:40]!r}.")
    texts = list(texts)
    if not texts or not len(seeds):
        raise ValueError(f"texts and seeds must hold at least one entry each, got {len(texts)} and {len(seeds)}.")
    explanations = explainer(texts)
    explainer = copy.copy(explainer)
    explainer.changed_weights = "note"  # random weights under the fit of others are what is looked at
    targets = [explanation.target.id for explanation in explanations]
    original = [_content(explanation) for explanation in explanations]
    for index, row in enumerate(original):
        if len(row) < 2:
            raise ValueError(f"texts[{index}] must have at least two content tokens to be ordered, got {len(row)}.")
    changed = []
    for seed in seeds:
        with randomised(explainer.model, part, seed):
            of_random = explain_classes(explainer, texts, [None] * len(texts), targets)
            changed.append([_content(explanation) for explanation in of_random])
    return randomisation_similarity(original, changed)


def explain_classes(
    explainer: MhexExplainer, texts: Sequence[str], pairs: Sequence[str | None], targets: Sequence[int]
) -> list[Explanation]:
    """Each text, or pair of texts, explained for its own class id; those of one class, and of one kind, go together."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for index, (pair, target) in enumerate(zip(pairs, targets, strict=True)):
        groups.setdefault((target, pair is not None), []).append(index)
    explanations: dict[int, Explanation] = {}
    for (target, paired), indices in sorted(groups.items()):
        halves = [pairs[index] for index in indices] if paired else None
        batch = explainer([texts[index] for index in indices], halves, target=target)
        explanations.update(zip(indices, batch, strict=True))
    return [explanations[index] for index in range(len(texts))]


def _content(explanation: Explanation) -> Floats:
    return np.asarray([token.score for token in explanation.tokens if not token.special], dtype=np.float64)


def _tensors(model: Any, part: Part) -> dict[str, Tensor]:
    """Name to tensor of what `part` draws anew; fitted matrices are buffers."""
    tensors, heads = dict(model.named_parameters()), part == "heads"
    if heads:
        tensors |= {name: value for name, value in model.named_buffers() if value.is_floating_point()}
    tensors = {name: value for name, value in tensors.items() if name.startswith(HEAD_PREFIXES) == heads}
    if part != "layers":
        return tensors
    layers = find_site(model.config.model_type).find_layers(model.base_model)
    inside = {id(value) for layer in layers for value in layer.parameters()}
    return {name: value for name, value in tensors.items() if id(value) in inside}


def _fresh(model: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights of a new model of the same config: transformers' own initialisation, by its constructor."""
    new = dict(type(model)(copy.deepcopy(model.config)).named_parameters())
    for name, value in tensors.items():
        if name not in new or new[name].shape != value.shape:
            raise ValueError(
                f"model must have the weights that its config alone gives it, got {name}: merge adapters first."
            )
    return {name: new[name] for name in tensors}


def _same_scale(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Normal draws with the root mean square of each tensor, made on the CPU so that a seed means the same anywhere."""
    return {
        name: torch.randn(value.shape, dtype=torch.float32) * value.detach().float().pow(2).mean().sqrt().cpu()
        for name, value in tensors.items()
    }


@torch.no_grad()
def _fill(tensors: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])
