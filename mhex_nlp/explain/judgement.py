# SPDX-License-Identifier: Apache-2.0
"""How well an explainer's scores predict what its model says of parts of given texts: the skill where it is used.

Axes: N content tokens of a text, S subsets of them, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..inputs.encoding import TokenisedText
from ..inputs.removal import random_subsets
from . import skill
from .evidence import EvidenceReader
from .place_reader import PlaceReader
from .request import Request
from .skill import Rows

J = TypeVar("J", bound="Judgement")
_CHUNK = 32  # texts that are asked about together


@dataclass(frozen=True, slots=True)
class Judgement:
    """What `judge` of an explainer measured, on the texts, or images, that it was given and on no others.

    `skill` is the paired skill, 1 - SSE / SSE of spreading the text's total evenly over its tokens, of what the model
    says with a random half of a text's tokens less what it says with the other: 0 says nothing about single tokens, 1
    predicts every difference. `absolute_skill` is the same of single halves less the empty text.
    """

    skill: float
    skill_interval: tuple[float, float]  # 95 %, bootstrap over texts
    absolute_skill: float
    texts: int  # with two tokens and more; windows of longer texts count by themselves
    masks: int  # random subsets of each
    removal: str
    seed: int
    fit_skill: float | None = None  # of the fit, on texts of its own kind
    fit_interval: tuple[float, float] | None = None

    @property
    def foreign(self) -> bool:
        """Whether the texts are told apart from the fit's: the skill's interval lies below the fit's own."""
        return self.fit_interval is not None and self.skill_interval[1] < self.fit_interval[0]

    @property
    def trusted(self) -> bool:
        """Whether the lower end of the skill's interval is above 0."""
        return self.skill_interval[0] > 0


def judge(
    inputs: Sequence[TokenisedText],
    reader: EvidenceReader,
    request: Request,
    masks: int,
    seed: int,
) -> Judgement:
    """Asks the model about `masks` random subsets of each input, in complementary pairs.

    Raises:
        ValueError: no text of two tokens and more.
    """
    perturbed, rows, fit_holds = reader.perturbed(request), list[Rows](), True
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        positions = [item.content_positions(request.causal) for item in chunk]
        subsets = [random_subsets(len(p), masks, [seed, start + i]) for i, p in enumerate(positions)]
        empty_last = [torch.cat([kept, torch.zeros_like(kept[:1])]) for kept in subsets]
        evidence = list(reader.read(chunk, request))  # first, for it refuses a fit of other weights
        answers = perturbed.kept_logits(chunk, empty_last)
        for batch, part in evidence:
            fit_holds = fit_holds and bool(part.fit_holds)
            scores = torch.from_numpy(part.per_depth).sum(2)  # (B, T, C)
            for row, index in enumerate(batch):
                target = int(part.logits[row].argmax())
                rows.append(_rows(scores[row, positions[index]], answers[index], subsets[index], target, request))
    fit = request.fit if fit_holds else None
    return judgement_of(rows, masks, perturbed.removal, seed, fit, Judgement)


def judge_places(
    items: Sequence[TokenisedText], reader: PlaceReader, request: Request, masks: int, seed: int
) -> Judgement:
    """The same of the places that a model finds in texts, by the tokens outside of each, which stays as it is.

    A place's own tokens decide most of what is said of it, which any scores would tell. Texts, of which the places are
    parts, are what the interval is drawn from.

    Raises:
        ValueError: no place with two tokens and more outside of it.
    """
    model, rows, fit_holds = reader.placed_model(request), list[Rows](), True
    for batch in reader.batches(reader.finders(items, request), request):
        if batch.evidence is None:
            continue
        fit_holds = fit_holds and bool(batch.evidence.fit_holds)
        parts: list[Any] = [part for of_text in batch.rows for row in of_text for part in row.inputs]
        texts = [
            text for text, of_text in zip(batch.texts, batch.rows, strict=True) for row in of_text for _ in row.inputs
        ]
        outside = [part.removable_positions(request.causal) for part in parts]
        subsets = [random_subsets(len(others), masks, [seed, n]) for n, others in enumerate(outside)]
        answers = model.kept_logits(parts, [torch.cat([kept, torch.zeros_like(kept[:1])]) for kept in subsets])
        scores = torch.from_numpy(batch.evidence.per_depth).sum(2)
        of_places = batch.evidence.answers or ()
        for row, (text, others) in enumerate(zip(texts, outside, strict=True)):
            if len(others) > 1:
                target = of_places[row].predicted
                rows.append(_rows(scores[row, others], answers[row], subsets[row], target, request, text))
    fit = request.fit if fit_holds else None
    return judgement_of(rows, masks, model.removal, seed, fit, Judgement)


def _rows(phi: Tensor, said: Tensor, subset: Tensor, target: int, request: Request, text: int | None = None) -> Rows:
    """(N, C) scores against what the model says (S + 1, C) of subsets (S, N) and of none; `text` has several rows."""
    if request.contrast == "centred":
        phi, said = (values - values.mean(-1, keepdim=True) for values in (phi, said))
    kept = subset.to(phi.dtype)
    return Rows(kept @ phi, said[:-1] - said[-1], kept.sum(1), target, text)


def judgement_of(
    rows: Sequence[Rows],
    masks: int,
    removal: str,
    seed: int,
    fit: Mapping[str, Any] | None,
    kind: type[J],
) -> J:
    """The figures of rows, one or several a text, whose features are scores; `fit` is the record to compare with."""
    identity = torch.eye(rows[0].values.shape[1] if rows else 1, dtype=torch.float64)
    errors, absolute = (
        skill.errors(identity, rows, residuals) for residuals in (skill.paired_residuals, skill.absolute_residuals)
    )
    return kind(
        skill=skill.ratio(errors),
        skill_interval=skill.interval(errors, seed),
        absolute_skill=skill.ratio(absolute),
        texts=len(errors),
        masks=masks,
        removal=removal,
        seed=seed,
        **_of_fit(fit),
    )


def _of_fit(fit: Mapping[str, Any] | None) -> dict[str, Any]:
    """Its own paired skill, which fits of earlier versions did not measure."""
    if fit is None or fit.get("absolute_skill") is None or fit.get("skill_interval") is None:
        return {}
    return {"fit_skill": fit["skill"], "fit_interval": tuple(fit["skill_interval"])}
