# SPDX-License-Identifier: Apache-2.0
"""How well an explainer's scores predict what its model says of parts of given texts: the skill where it is used.

Axes: N content tokens of a text, S subsets of them, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    perturbed, rows = reader.perturbed(request), list[Rows]()
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        positions = [item.content_positions(request.causal) for item in chunk]
        subsets = [random_subsets(len(p), masks, [seed, start + i]) for i, p in enumerate(positions)]
        empty_last = [torch.cat([kept, torch.zeros_like(kept[:1])]) for kept in subsets]
        evidence = list(reader.read(chunk, request))  # first, for it refuses a fit of other weights
        answers = perturbed.kept_logits(chunk, empty_last)
        for batch, part in evidence:
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
    )
