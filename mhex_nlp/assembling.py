# SPDX-License-Identifier: Apache-2.0
"""From what the heads say of a batch to its Explanations.

Axes: B texts, T tokens, L depths, C labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import __version__
from .alignment import align
from .attribution import aggregate, contrast, depth_weights
from .classes import ClassTable
from .explanation import Explanation, HeadsChoice, Method, ModelRef, Token
from .inputs import TokenisedText


@dataclass(frozen=True, slots=True)
class Request:
    """What one call asks for, checked: classes by id, the contrast and the aggregation by name."""

    table: ClassTable
    target: int | None
    foil: int | None
    all_classes: bool
    layers: bool
    contrast: str
    aggregation: str
    beta: float
    non_negative: bool
    language: str | None
    model: ModelRef
    causal: bool  # a decoder: its last token, which it reads the label off, is never the text's own
    fit: Mapping[str, Any] | None  # the record of the fit where fitted matrices explain


def assemble(
    items: Sequence[TokenisedText], names: Sequence[str], output: Any, asked: Request
) -> Iterator[Explanation]:
    """The explanations of a batch, in its order, from the output of its forward pass with attributions.

    Raises:
        ValueError: logits that are not finite or not one a class, a foil that the model predicts; names the text.
    """
    logits = output.logits.float().cpu()  # (B, C)
    table = asked.table
    if logits.shape[1] != len(table):
        raise ValueError(
            f"model.config.id2label must name the {logits.shape[1]} classes of the model, got {len(table)}."
        )
    for item, finite in zip(items, logits.isfinite().all(1).tolist(), strict=True):
        if not finite:
            raise ValueError(f"the model's logits are not finite, so nothing can be explained: {item.place}.")
    per_depth, weights, explained = _evidence(items, output, logits, asked)
    targets = table.targets(logits, asked.target, asked.foil, [item.place for item in items])  # (B,)
    foils = None if asked.foil is None else torch.full_like(targets, asked.foil)
    kind = asked.contrast
    phi = aggregate(per_depth, weights)  # (B, T, C)
    rows = {"score": contrast(phi, targets, kind, foils)}  # (B, T)
    if asked.all_classes:
        each = [contrast(phi, torch.full_like(targets, c), kind, foils) for c in range(len(table))]
        rows["scores"] = torch.stack(each, dim=-1)  # (B, T, C)
    if asked.layers:
        rows["layers"] = contrast(per_depth * weights.float()[:, None], targets, kind, foils)  # (B, T, L)
    if asked.non_negative:
        rows = {name: value.clamp(min=0) for name, value in rows.items()}
    bases = contrast(explained - phi.sum(1), targets, kind, foils)  # (B,)
    for row, (item, name) in enumerate(zip(items, names, strict=True)):
        own = {key: value[row, : len(item)].tolist() for key, value in rows.items()}
        tokens = _tokens(item, own, asked.language)
        heads = table.heads_choice(explained[row], logits[row]) if asked.fit is None else None
        yield Explanation(
            id=name,
            text=item.text,
            text_pair=item.text_pair,
            prediction=table.prediction(logits[row]),
            target=table.ref(int(targets[row])),
            foil=None if asked.foil is None else table.ref(asked.foil),
            method=_method(asked),
            model=asked.model,
            library=f"mhex_nlp {__version__}",
            heads=heads,
            tokens=tokens,
            sum=math.fsum(token.score for token in tokens),
            base_value=float(bases[row]),
            classes=table.labels if asked.all_classes else None,
            truncated=item.truncated,
            windows=1,
            notes=_notes(item, heads, asked.fit),
        )


def _evidence(
    items: Sequence[TokenisedText], output: Any, logits: Tensor, asked: Request
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores by depth (B, T, depths, C), the weights of the depths, and the logits (B, C) that they explain."""
    if asked.fit is None:
        per_depth = output.layer_attributions.cpu()
        weights = depth_weights(asked.aggregation, per_depth.shape[2], asked.beta)
        return per_depth, weights, aggregate(output.head_logits.cpu(), weights)
    per_depth = output.fitted_attributions.cpu()
    own = torch.zeros(per_depth.shape[:2], dtype=torch.bool)
    for row, item in enumerate(items):
        own[row, item.content_positions(asked.causal)] = True
    # tokens that the fit never removed have no score; padding has none either
    per_depth = torch.where(own[..., None, None], per_depth, 0.0)
    return per_depth, torch.ones(per_depth.shape[2], dtype=torch.float64), logits


def _tokens(item: TokenisedText, rows: dict[str, Any], language: str | None) -> tuple[Token, ...]:
    return tuple(
        Token(
            text=aligned.text,
            piece=aligned.piece,
            start=aligned.start,
            end=aligned.end,
            sequence=aligned.sequence,
            word=aligned.word,
            special=aligned.special,
            score=rows["score"][index],
            scores=tuple(rows["scores"][index]) if "scores" in rows else None,
            layers=tuple(rows["layers"][index]) if "layers" in rows else None,
        )
        for index, aligned in enumerate(align(item.encoding, item.text, item.text_pair, language=language))
    )


def _method(asked: Request) -> Method:
    aggregation: Any = asked.aggregation
    kind: Any = asked.contrast
    if asked.fit is None:
        return Method("mhex", "heads", aggregation, kind, asked.non_negative, None, False, None, None)
    removal, skill, r2 = (asked.fit.get(name) for name in ("removal", "skill", "r2"))
    return Method("mhex", "model", aggregation, kind, asked.non_negative, removal, True, skill, r2)


def _notes(item: TokenisedText, heads: HeadsChoice | None, fit: Mapping[str, Any] | None) -> tuple[str, ...]:
    notes = [item.cut_note()] if item.truncated else []
    if fit is not None and fit.get("skill_interval", [1.0])[0] <= 0:
        notes.append(
            f"Do not trust single words: on held-out texts the fit has skill {fit['skill']:.2f}, no better than none."
        )
    if heads is not None and not heads.agrees:
        notes.append(f"The heads choose {heads.label}, the model does not: the scores explain the heads.")
    return tuple(notes)
