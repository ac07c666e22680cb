# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..intervals import Interval

SCHEMA = "mhex-evaluation/1"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of explaining all texts in one go: seconds and rows through the model a text, and peak memory in all."""

    seconds_per_text: float
    rows_per_text: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method: its figures by key of `MEASURES`, what it has more than MHEX on the same texts, and its cost."""

    name: str
    label: str
    figures: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """Explanation methods compared on one model and the same texts.

    `texts` were measured, `left_out` had a single unit, `cut` were longer than the model takes. `reliability` is the
    Spearman-Brown corrected split-half reliability of the reference Shapley values, mean over texts; `None` without a
    reference. `compared_with` is the method that differences are taken to, `None` where MHEX took no part.
    """

    model: str
    task: str
    explained: str
    texts: int
    left_out: int
    cut: int
    plausibility_texts: int
    removal: str
    unit: str
    seed: int
    random_seeds: int
    bootstrap_draws: int
    reference_permutations: int
    reliability: Interval | None
    compared_with: str | None
    methods: tuple[MethodResult, ...]
    notes: tuple[str, ...]
    own_measures: Mapping[str, tuple[str, str, int]]  # of the caller's figures: title, which way is better, decimals
    machine: str
    versions: Mapping[str, str]

    def method(self, name: str) -> MethodResult:
        """The result of one method; ValueError lists those there are."""
        by_name = {method.name: method for method in self.methods}
        if name not in by_name:
            raise ValueError(f"name must be one of {', '.join(by_name)}, got {name!r}.")
        return by_name[name]

    def ranked(self) -> list[MethodResult]:
        """The methods, best comprehensiveness first."""
        return sorted(self.methods, key=lambda method: -method.figures["comprehensiveness"].value)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; equal for equal seeds but for each method's `cost`."""
        return {"schema": SCHEMA, **asdict(self)}
