# SPDX-License-Identifier: Apache-2.0
"""From what the heads say of a batch to the numbers that explain it: scores, targets, base values.

Axes: B texts, T tokens, L depths, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inputs.encoding import TokenisedText
from ..models.heads.attribution import aggregate, contrast, depth_weights
from .request import Request


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a forward pass says of each text, on the CPU: scores by depth (B, T, L, C) float32, zero where a token has
    none; the logits (B, C) float32; and the logits (B, C) that the scores explain.
    """

    per_depth: Tensor
    logits: Tensor
    explained: Tensor

    def rows(self, chosen: Sequence[int]) -> Evidence:
        """That of some texts of the batch."""
        index = torch.tensor(chosen, dtype=torch.long)
        return Evidence(self.per_depth[index], self.logits[index], self.explained[index])


@dataclass(frozen=True, slots=True)
class Attributed:
    """A batch explained.

    `scores` (B, T) float32 are the target's; with all classes asked for, `class_scores` (B, T, C); with layers,
    `layer_scores` (B, T, L). `sums` and `bases` (B,) float64 add up to the (contrasted) logits explained, before any
    clamp. `logits` and `explained` (B, C) float32.
    """

    scores: NDArray[np.float32]
    class_scores: NDArray[np.float32] | None
    layer_scores: NDArray[np.float32] | None
    sums: NDArray[np.float64]
    bases: NDArray[np.float64]
    targets: list[int]
    logits: Tensor
    explained: Tensor


def read_evidence(items: Sequence[TokenisedText], output: Any, asked: Request) -> Evidence:
    """What the output of a forward pass with attributions says of its texts.

    Raises:
        ValueError: logits that are not one a class, or not finite; names the text.
    """
    logits = output.logits.float().cpu()  # (B, C)
    if logits.shape[1] != len(asked.table):
        raise ValueError(
            f"model.config.id2label must name the {logits.shape[1]} classes of the model, got {len(asked.table)}."
        )
    for item, finite in zip(items, logits.isfinite().all(1).tolist(), strict=True):
        if not finite:
            raise ValueError(f"the model's logits are not finite, so nothing can be explained: {item.place}.")
    if asked.fit is None:
        per_depth = output.layer_attributions.cpu()
        weights = depth_weights(asked.aggregation, per_depth.shape[2], asked.beta)
        explained = aggregate(output.head_logits.cpu(), weights)
        return Evidence(per_depth * weights.to(per_depth)[:, None], logits, explained)
    per_depth = output.fitted_attributions.cpu()
    own = torch.zeros(per_depth.shape[:2], dtype=torch.bool)
    places = [(row, place) for row, item in enumerate(items) for place in item.content_positions(asked.causal)]
    own[tuple(torch.tensor(places, dtype=torch.long).view(-1, 2).T)] = True
    # tokens that the fit never removed have no score; padding has none either
    return Evidence(torch.where(own[..., None, None], per_depth, 0.0), logits, logits)


def attribute(evidence: Evidence, places: Sequence[str], asked: Request) -> Attributed:
    """The numbers of a batch; `places` are what sentences call its texts.

    Raises:
        ValueError: a foil that the model predicts, or scores that are not finite; names the text.
    """
    table, kind = asked.table, asked.contrast
    targets = table.targets(evidence.logits, asked.target, asked.foil, places)  # (B,)
    foils = None if asked.foil is None else torch.full_like(targets, asked.foil)
    phi = evidence.per_depth.sum(2)  # (B, T, C)
    for place, finite in zip(places, phi.isfinite().flatten(1).all(1).tolist(), strict=True):
        if not finite:
            raise ValueError(f"the scores are not finite, so nothing can be explained: {place}.")
    scores = contrast(phi, targets, kind, foils)  # (B, T)
    sums = scores.double().sum(1)
    class_scores = layer_scores = None
    if asked.all_classes:
        each = [contrast(phi, torch.full_like(targets, c), kind, foils) for c in range(len(table))]
        class_scores = torch.stack(each, dim=-1)  # (B, T, C)
    if asked.layers:
        layer_scores = contrast(evidence.per_depth, targets, kind, foils)  # (B, T, L)
    rows = [
        None if value is None else (value.clamp(min=0) if asked.non_negative else value).numpy()
        for value in (scores, class_scores, layer_scores)
    ]
    assert rows[0] is not None
    explained = contrast(evidence.explained.double(), targets, kind, foils)  # (B,)
    return Attributed(
        scores=rows[0],
        class_scores=rows[1],
        layer_scores=rows[2],
        sums=sums.numpy(),
        bases=(explained - sums).numpy(),
        targets=targets.tolist(),
        logits=evidence.logits,
        explained=evidence.explained,
    )
