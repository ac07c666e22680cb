# SPDX-License-Identifier: Apache-2.0
"""How well an explainer's scores predict what its model says of parts of given texts: the skill where it is used.

Axes: N content tokens of a text, S subsets of them, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..inputs.encoding import TokenisedText
from ..inputs.removal import random_subsets
from . import skill
from .evidence import EvidenceReader
from .request import Request
from .skill import Rows

_CHUNK = 32  # texts that are asked about together


@dataclass(frozen=True, slots=True)
class Judgement:
    """What `MhexExplainer.judge` measured, on the texts it was given and on no others.

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
            scores = part.per_depth.sum(2)  # (B, T, C)
            for row, index in enumerate(batch):
                phi, said = scores[row, positions[index]], answers[index]  # (N, C), (S + 1, C)
                if request.contrast == "centred":
                    phi, said = (values - values.mean(-1, keepdim=True) for values in (phi, said))
                kept = subsets[index].to(phi.dtype)
                rows.append(Rows(kept @ phi, said[:-1] - said[-1], kept.sum(1), int(part.logits[row].argmax())))
    identity = torch.eye(len(request.table), dtype=torch.float64)
    errors = skill.errors(identity, rows)
    return Judgement(
        skill=skill.ratio(errors),
        skill_interval=skill.interval(errors, seed),
        absolute_skill=skill.ratio(skill.errors(identity, rows, skill.absolute_residuals)),
        texts=len(errors),
        masks=masks,
        removal=perturbed.removal,
        seed=seed,
        **(_of_fit(request.fit) if fit_holds else {}),
    )


def _of_fit(fit: Mapping[str, Any] | None) -> dict[str, Any]:
    """Its own paired skill, which fits of earlier versions did not measure."""
    if fit is None or fit.get("absolute_skill") is None or fit.get("skill_interval") is None:
        return {}
    return {"fit_skill": fit["skill"], "fit_interval": tuple(fit["skill_interval"])}
