# SPDX-License-Identifier: Apache-2.0
"""Explanations by gradients: norm, times input, and integrated along the way from [MASK] to the text.

Axes: B texts, T tokens of a text, H embedding units, S points of a path. What is differentiated is the target's
(centred) logit (`ModelValues.explained`), by the word embeddings alone: positions and segments stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.eval_mode import eval_view
from ..metrics.arrays import Floats, as_finite
from ..model_values import ModelValues, TextValues

GRADIENT_METHODS = ("gradient_norm", "gradient_x_input", "integrated_gradients")
BATCH_TOKENS = 1024  # a backward pass keeps every activation, so its batches are smaller than those of ModelValues


@dataclass(frozen=True, slots=True)
class PathGradient:
    """One text: the mean gradient over the points of its path, the path, and the text's embeddings; (T, H) float64.

    `path` is text less baseline: zero on tokens that always stay.
    """

    mean: Tensor
    path: Tensor
    embedded: Tensor


def check_gradients(values: ModelValues) -> None:
    """ValueError for a model whose tokens have another way to the label than their word embeddings once."""
    if values.model.config.is_encoder_decoder:
        raise ValueError(
            "gradients by the embeddings need a model without a decoder beside its encoder, got "
            f"{type(values.model).__name__}, whose decoder sees the tokens a second time."
        )


def path_gradients(
    values: ModelValues,
    texts: Sequence[TextValues],
    targets: Sequence[int],
    points: Sequence[float],
    *,
    shifts: Sequence[Tensor] | None = None,
) -> list[PathGradient]:
    """Gradients of each text's target, averaged over points between baseline (0) and text (1).

    The baseline has the mask token's embedding on every token that may be removed, or zeros where the tokenizer has
    none; template tokens, and the token a decoder pools, keep their own.

    Args:
        values: whose model is differentiated; its weights get no gradient.
        texts: B texts made by it.
        targets: a class id for each.
        points: S places on the path.
        shifts: for each text (T, H), added to its embeddings (for `sensitivity_max`).
    """
    check_gradients(values)
    rows = [(index, point) for index in range(len(texts)) for point in points]
    sums: dict[int, Tensor] = {}
    ends: dict[int, tuple[Tensor, Tensor]] = {}
    model, blank = eval_view(values.model), _blank(values)
    with torch.enable_grad():
        for batch, inputs in values.batches([texts[index].item for index, _ in rows], BATCH_TOKENS):
            indices, places = zip(*(rows[number] for number in batch), strict=True)
            moved = None if shifts is None else [shifts[index] for index in indices]
            probe = _Probe(torch.tensor(places), [texts[index].fixed for index in indices], blank, moved)
            gradient = probe.gradient(values, model, inputs, [targets[index] for index in indices])
            for row, index in enumerate(indices):
                tokens = len(texts[index].item)
                finite = torch.from_numpy(as_finite(gradient[row, :tokens].double().cpu(), "gradients"))
                sums[index] = sums[index] + finite if index in sums else finite
                if index not in ends:
                    path, embedded = (part[row, :tokens].double().cpu() for part in (probe.path, probe.embedded))
                    ends[index] = path, embedded
    return [PathGradient(sums[index] / len(points), *ends[index]) for index in range(len(texts))]


def gradient_scores(
    method: str, values: ModelValues, texts: Sequence[TextValues], targets: Sequence[int], steps: int = 50
) -> list[Floats]:
    """Unit scores, the sums of their tokens', by one of `GRADIENT_METHODS`.

    "gradient_norm": |d f / d e_t|, the L2 norm of the gradient by each token's embedding (Li et al. 2016).
    "gradient_x_input": <d f / d e_t, e_t> (Denil et al. 2014). "integrated_gradients" (Sundararajan et al. 2017): by
    the midpoint rule; with many `steps` the scores add up to f(text) - f(text with every unit masked).
    """
    gradients = path_gradients(values, texts, targets, path_points(method, steps))
    return [
        text.unit_scores(token_scores(method, gradient).numpy())
        for text, gradient in zip(texts, gradients, strict=True)
    ]


def token_scores(method: str, gradient: PathGradient) -> Tensor:
    """(T,) scores by one of `GRADIENT_METHODS` off a text's gradient."""
    if method == "gradient_norm":
        return gradient.mean.norm(dim=-1)
    return (gradient.mean * (gradient.path if method == "integrated_gradients" else gradient.embedded)).sum(-1)


def path_points(method: str, steps: int) -> list[float]:
    """Where a method differentiates: at the text, or in the middles of `steps` equal pieces of the path to it."""
    if method != "integrated_gradients":
        return [1.0]
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    return [(step + 0.5) / steps for step in range(steps)]


def _blank(values: ModelValues) -> Tensor:
    """(H,) what stands for a missing token."""
    mask = values.tokenizer.mask_token_id
    embedded = values.model.get_input_embeddings()(torch.tensor([mask or 0], device=values.model.device))[0].detach()
    return torch.zeros_like(embedded) if mask is None else embedded


class _Probe:
    """Forward hook of the word embeddings: puts points of the paths in their place and keeps what to differentiate by.

    A class because a hook can hand nothing back. Only the first call counts: some families embed padding again.
    """

    def __init__(self, places: Tensor, fixed: Sequence[Tensor], blank: Tensor, shifts: Sequence[Tensor] | None) -> None:
        self.places, self.fixed, self.blank, self.shifts = places, fixed, blank, shifts
        self.point: Tensor | None = None
        self.embedded = self.path = blank

    def gradient(self, values: ModelValues, model: Any, inputs: Mapping[str, Tensor], targets: Sequence[int]) -> Tensor:
        """(B, T, H) of the targets' explained output by the points; `model` is a view of the one of `values`."""
        hook = model.get_input_embeddings().register_forward_hook(self)
        try:
            logits = model(**inputs).logits
        finally:
            hook.remove()
        if self.point is None:
            raise ValueError(
                f"gradients need a model that embeds its tokens, which {type(values.model).__name__} does not."
            )
        explained = values.explained(logits, torch.tensor(targets, device=logits.device))
        return torch.autograd.grad(explained.sum(), self.point)[0]

    def __call__(self, module: Any, args: Any, out: Tensor) -> Tensor:
        if not isinstance(out, Tensor):
            raise ValueError(
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
