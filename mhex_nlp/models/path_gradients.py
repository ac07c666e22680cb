# SPDX-License-Identifier: Apache-2.0
"""Gradients of a model's answers by its word embeddings, along the way from missing tokens to the text.

Axes: B texts, T tokens of a text, N content tokens, H embedding units, S points of a path, C labels. What is
differentiated is a weighted sum of the logits, by the word embeddings alone: positions and segments stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..inputs.encoding import TokenisedText
from .eval_mode import eval_view
from .modeling import MhexMixin
from .padding import TokenMask
from .perturbed import PerturbedModel
from .tasks import module_of

BATCH_TOKENS = 1024  # a backward pass keeps every activation, so its batches are smaller than others


class NoGradientsError(ValueError):
    """Of a model that cannot give gradients by its word embeddings."""


@dataclass(frozen=True, slots=True)
class PathGradient:
    """One text: the mean gradient over the points of its path, the path, and the text's embeddings; (T, H) float64.

    `path` is text less baseline: zero on tokens that always stay.
    """

    mean: Tensor
    path: Tensor
    embedded: Tensor


def check_gradients(model: Any) -> None:
    """NoGradientsError for a model whose tokens have another way to the label than their word embeddings once."""
    if model.config.is_encoder_decoder:
        raise NoGradientsError(
            "gradients by the embeddings need a model without a decoder beside its encoder, got "
            f"{type(model).__name__}, whose decoder sees the tokens a second time."
        )


def path_gradients(
    perturbed: PerturbedModel,
    items: Sequence[TokenisedText],
    fixed: Sequence[Tensor],
    weights: Tensor,
    points: Sequence[float],
    *,
    shifts: Sequence[Tensor] | None = None,
) -> list[PathGradient]:
    """Gradients of each text's weighted logits, averaged over points between baseline (0) and text (1).

    The baseline has the mask token's embedding on every token that may be removed, or zeros where the tokenizer has
    none; template tokens, and the token a decoder pools, keep their own.

    Args:
        perturbed: whose model is differentiated; its weights get no gradient.
        items: B texts tokenised by it.
        fixed: (T,) bool of each, true for tokens that always stay.
        weights: (B, C) of the labels, or (B, T, C) where labels are read at positions.
        points: S places on the path.
        shifts: for each text (T, H), added to its embeddings.

    Raises:
        NoGradientsError: as `check_gradients`; no word embeddings, weights quantised or made in inference mode.
        ValueError: gradients that are not finite.
    """
    with torch.inference_mode(False), torch.enable_grad():
        model = eval_view(perturbed.model)
        check_gradients(model)
        _check_weights(model)
        rows = [(index, point) for index in range(len(items)) for point in points]
        sums: dict[int, Tensor] = {}
        ends: dict[int, tuple[Tensor, Tensor]] = {}
        ids = [items[index].features["input_ids"] for index, _ in rows]
        for batch in perturbed.batcher.indices(ids, BATCH_TOKENS):
            indices, places = zip(*(rows[number] for number in batch), strict=True)
            moved = None if shifts is None else [shifts[index] for index in indices]
            blank = _blank(model, perturbed.tokenizer.mask_token_id)
            probe = _Probe(torch.tensor(places), [fixed[index] for index in indices], blank, moved)
            chosen = [items[index] for index in indices]
            gradient = _gradient(probe, model, perturbed, chosen, weights[list(indices)])
            for row, index in enumerate(indices):
                of_text = gradient[row, : len(items[index])]
                sums[index] = sums[index] + of_text if index in sums else of_text
                if index not in ends:
                    path, embedded = (part[row, : len(of_text)].double().cpu() for part in (probe.path, probe.embedded))
                    ends[index] = path, embedded
    return [PathGradient(sums[index] / len(points), *ends[index]) for index in range(len(items))]


def _gradient(
    probe: _Probe, model: Any, perturbed: PerturbedModel, items: Sequence[TokenisedText], weights: Tensor
) -> Tensor:
    """(B, T, H) float64 on the CPU, at the points of the probe; ValueError where a text's is not finite."""
    inputs = perturbed.batcher.collate([item.features for item in items])
    gradient = probe.gradient(model, inputs, weights, [len(item) for item in items]).double().cpu()
    if not all(bool(gradient[row, : len(item)].isfinite().all()) for row, item in enumerate(items)):
        raise ValueError("the model's gradients are not finite, so nothing can be said of them.")
    return gradient


def integrated_gradients(
    perturbed: PerturbedModel, items: Sequence[TokenisedText], weights: Tensor, steps: int
) -> list[Tensor] | None:
    """(N,) float64 of each text's tokens but for a place (Sundararajan et al. 2017), by the midpoint rule.

    The arguments are those of `path_gradients`. None where tokens are not removed by mask, or the model cannot give
    gradients.
    """
    if perturbed.removal != "mask":
        return None
    positions = [item.removable_positions(perturbed.causal) for item in items]
    fixed = [torch.ones(len(item), dtype=torch.bool) for item in items]
    for stays, content in zip(fixed, positions, strict=True):
        stays[content] = False
    try:
        gradients = path_gradients(perturbed, items, fixed, weights, midpoints(steps))
    except NoGradientsError:
        return None
    return [(one.mean * one.path).sum(-1)[content] for one, content in zip(gradients, positions, strict=True)]


def midpoints(steps: int) -> list[float]:
    """The middles of `steps` equal pieces of a path."""
    return [(step + 0.5) / steps for step in range(steps)]


def _check_weights(model: Any) -> None:
    """NoGradientsError where autograd would stumble on them."""
    if getattr(model, "is_quantized", False) or any(not w.is_floating_point() for w in model.parameters()):
        raise NoGradientsError(f"gradients need weights that are not quantised, which {type(model).__name__} has.")
    if any(w.is_inference() for w in (*model.parameters(), *model.buffers())):
        raise NoGradientsError("gradients need weights that were not made under torch.inference_mode().")


def _blank(model: Any, mask: int | None) -> Tensor:
    """(H,) what stands for a missing token."""
    embedded: Tensor = model.get_input_embeddings()(torch.tensor([mask or 0], device=model.device))[0].detach()
    return torch.zeros_like(embedded) if mask is None else embedded


def _at_positions(model: Any, inputs: Mapping[str, Tensor], output: Any, lengths: Sequence[int]) -> Tensor:
    """(B, T, C) what the model says at each position, of answers less the mean over the text."""
    mask = TokenMask.of_lengths(lengths, inputs["input_ids"])
    logits: Tensor = module_of(model).position_logits(output, mask, centred=True)
    return logits


class _Probe:
    """Forward hook of the word embeddings: puts points of the paths in their place and keeps what to differentiate by.

    A class because a hook can hand nothing back. Only the first call counts: some families embed padding again.
    """

    def __init__(self, places: Tensor, fixed: Sequence[Tensor], blank: Tensor, shifts: Sequence[Tensor] | None) -> None:
        self.places, self.fixed, self.blank, self.shifts = places, fixed, blank, shifts
        self.point: Tensor | None = None
        self.embedded = self.path = blank

    def gradient(self, model: Any, inputs: Mapping[str, Tensor], weights: Tensor, lengths: Sequence[int]) -> Tensor:
        """(B, T, H) of the weighted logits by the points; `lengths` are the texts' tokens."""
        options = {"output_head_logits": False} if isinstance(model, MhexMixin) else {}
        hook = model.get_input_embeddings().register_forward_hook(self)
        try:
            output = model(**inputs, **options)
            logits = output.logits if weights.dim() == 2 else _at_positions(model, inputs, output, lengths)
            weights = weights[:, : logits.shape[1]]
        finally:
            hook.remove()
        if self.point is None:
            raise NoGradientsError(
                f"gradients need a model that embeds its tokens, which {type(model).__name__} does not."
            )
        if not logits.requires_grad:
            raise NoGradientsError(f"gradients need logits that {type(model).__name__} does not cut off.")
        return torch.autograd.grad((logits * weights.to(logits)).sum(), self.point)[0]

    def __call__(self, module: Any, args: Any, out: Tensor) -> Tensor:
        if not isinstance(out, Tensor):
            raise NoGradientsError(
                f"gradients need word embeddings that give one tensor, which {type(module).__name__} does not."
            )
        if self.point is not None:
            return out
        embedded = out.detach().clone()  # (B, T, H), T with padding, which longformer and big_bird add inside
        moves = torch.zeros(embedded.shape[:2], dtype=torch.bool, device=out.device)
        for row, fixed in enumerate(self.fixed):
            moves[row, : len(fixed)] = ~fixed.to(out.device)
            if self.shifts is not None:
                embedded[row, : len(fixed)] += self.shifts[row].to(embedded)
        base = torch.where(moves[..., None], self.blank, embedded)
        self.embedded, self.path = embedded, embedded - base
        self.point = (base + self.places.to(embedded)[:, None, None] * self.path).requires_grad_()
        return self.point
