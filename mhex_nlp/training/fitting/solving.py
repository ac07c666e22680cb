# SPDX-License-Identifier: Apache-2.0
"""From a stream of equations to the best solution, and how good it is on rows that were held out.

Axes: F features, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from math import inf, log10
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...explain import skill
from ...explain.skill import Rows
from ...models.heads.readout import FeatureLayout
from .attainable import Attainable
from .ridge import RidgeStream

FIRST_POWER = -1  # of ten, of the strength tried first; from there to its neighbours while they are better
WIDEST = range(-12, 7)
FEW_JUDGED = 30  # a bootstrap over fewer texts makes intervals that are too narrow


class Solution(NamedTuple):
    """Weights (F, C) float64, the strength they are of, and their skill on the rows that it was chosen by."""

    weights: Tensor
    strength: float
    skill: float


def judge_solution(weights: Tensor, held: Sequence[Rows], layout: FeatureLayout, seed: int) -> dict[str, Any]:
    """The part of the report that says how good a solution is on held-out rows."""
    errors = skill.errors(weights, held)
    misses = [(rows.values[-1] - rows.sums[-1].double() @ weights)[rows.target].abs() for rows in held]
    base = np.array([float(miss) for miss in misses])
    return {
        "skill": skill.ratio(errors),
        "skill_interval": skill.interval(errors, seed),
        "absolute_skill": skill.ratio(skill.errors(weights, held, skill.absolute_residuals)),
        "r2": skill.r2(weights, held),
        "base_error": (float(base.mean()), float(np.quantile(base, 0.95))),
        "misfit": (float(np.median(base)), float(np.quantile(base, 0.9))),
        "depth_share": _depth_share(weights, held, layout.blocks),
    }


def _depth_share(weights: Tensor, held: Sequence[Rows], widths: Sequence[int]) -> tuple[float, ...]:
    """The share of each depth in the mean absolute score of whole texts."""
    ones = len(weights) - sum(widths)  # constants
    parts = weights[ones:].split(list(widths))
    sums = torch.stack([rows.sums[-1, ones:].double() for rows in held]).split(list(widths), dim=1)
    size = torch.stack([(x @ w).abs().mean() for x, w in zip(sums, parts, strict=True)])
    return tuple((size / size.sum().clamp(min=1e-12)).tolist())


def describe_attainable(best: Attainable | None) -> dict[str, Any]:
    """The part of the report that says how good any solution could be."""
    if best is None:
        names = ("attainable", "attainable_interval", "attainable_reliability")
        return {**dict.fromkeys(names), "attainable_texts": 0, "refinement": None}
    return {
        "attainable": best.skill,
        "attainable_interval": best.interval,
        "attainable_reliability": best.reliability,
        "attainable_texts": best.texts,
        "refinement": best.prior and asdict(best.prior),
    }


def best_solution(stream: RidgeStream, rows: Sequence[Rows]) -> Solution:
    """The solution with the most skill on rows of texts kept for the choice."""

    @cache
    def attempt(power: float) -> tuple[float, Tensor | None]:
        try:
            weights = stream.solve(10.0**power)
        except torch.linalg.LinAlgError:  # lost in rounding
            return -inf, None
        return skill.skill(weights, rows), weights

    def best_of(powers: Iterable[float]) -> float:
        return max(powers, key=lambda power: attempt(power)[0])

    # each attempt is a factorisation, so that not all are made: skill has one peak
    power: float = FIRST_POWER
    while (better := best_of(p for p in (power, power - 1, power + 1) if p in WIDEST)) != power:
        power = better
    power = best_of((power, power - log10(3), power + log10(3)))
    best, weights = attempt(power)
    if weights is None:
        raise ValueError("the model's states are not finite, so that nothing can be fitted to them.")
    return Solution(weights, 10.0**power, best)
