# SPDX-License-Identifier: Apache-2.0
"""What a fit says of itself: `FitReport`, kept in `config.mhex_fit`. Pure Python."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...models.fit_record import trusted_from

_OF_IMAGES = ("removals of cells", "images", "cells")


@dataclass(frozen=True, slots=True)
class FitReport:
    """How far the fitted scores can be trusted, on texts that were held out; kept in `config.mhex_fit`.

    `skill`, the figure to trust a fit by, is the paired skill: 1 - SSE / SSE of spreading the text's total evenly over
    its tokens, of v(S) - v(N - S), what the model says with a random half of the tokens less what it says with the
    other. 0 says nothing about single tokens, 1 predicts every difference. No additive scores predict more than
    `attainable`, the same figure of each text's own best scores (`attainable.py`). `absolute_skill` and `r2`, the plain
    share of variance, are of v(S) - v(empty), which additive scores cannot predict where removal shifts all answers.
    All are taken after adding to each content token the same share of what the scores miss of the whole text.
    `base_error`: mean and 95th percentile of |base value - v(empty)|, and `misfit` its median and 90th percentile.
    """

    skill: float
    skill_interval: tuple[float, float]  # 95 %, bootstrap over held-out texts
    attainable: float | None  # None where it was not measured
    attainable_interval: tuple[float, float] | None
    attainable_reliability: float | None  # of the best scores: 1 where subsets were many enough
    attainable_texts: int
    refinement: dict[str, Any] | None  # how far scores are off, the prior of a budget (`explain.refinement.Prior`)
    absolute_skill: float
    r2: float
    base_error: tuple[float, float]
    misfit: tuple[float, float]
    empty: dict[str, Any] | None  # v(empty) by length (`empty_texts.py`)
    depth_share: tuple[float, ...]  # of the mean absolute score, one value a depth read
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    flow_widths: tuple[int, ...]  # 0 where the flow into a depth is not read
    strength: float
    texts: int  # learnt from
    curve: tuple[tuple[int, float], ...]  # texts, and skill on those chosen by, after each stage (`learning.py`)
    chosen_on: int  # texts that the strength was chosen by
    held_out: int  # texts that the figures are of
    pairs: bool  # whether they were pairs of texts
    longest: int  # tokens of the longest that was learnt from, without the template's
    scripts: tuple[str, ...]  # the writing systems of more than a twentieth of the letters
    masks: int
    rows: int
    removal: str
    contrast: str
    seed: int
    seconds: float
    weights: dict[str, str]  # hashes of the weights that it is of (`models.fit_weights`)
    task: str = "sequence_classification"
    at: str = "text"  # "position": of what is said at places, judged on the scores of the other tokens there
    positions: str | None = None  # which places were learnt from: "predicted" or "all"
    per_text: int | None = None  # the most places of a text
    places: int | None = None  # predicted places that the figures are of
    image: dict[str, Any] | None = None  # of images, which "texts" are then: what `image_fit` records of them

    @property
    def trusted(self) -> bool:
        """Whether the lower end of the skill's interval is above the bar: 0, of images 0.2."""
        return self.skill_interval[0] > trusted_from(self.task)

    @property
    def share_of_attainable(self) -> float | None:
        """`skill` / `attainable`; None where that was not measured or is not above 0."""
        return self.skill / self.attainable if self.attainable is not None and self.attainable > 0 else None

    def __str__(self) -> str:
        """How good the fit is, for people; `repr` has every figure."""

        def figure(value: float, interval: tuple[float, float]) -> str:
            return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"

        skill = figure(self.skill, self.skill_interval)
        removals, items, parts = ("removals", "texts", "words") if self.image is None else _OF_IMAGES
        if self.at == "position":
            removals = f"removals of other tokens, at {self.places:,} predicted positions"
        lines = [
            f"skill: one pass explains {skill} of the model's answers to {removals}, "
            f"on {self.held_out:,} held-out {items}"
        ]
        if self.attainable is not None and self.attainable_interval is not None:
            best = figure(self.attainable, self.attainable_interval)
            lines.append(f"attainable by any scores of {parts}: {best}, on {self.attainable_texts} of them")
            if self.share_of_attainable is not None:
                lines[-1] += f"; {self.share_of_attainable:.2f} of it is reached"
        lines.append(f"absolute skill {self.absolute_skill:.2f}, R\u00b2 {self.r2:.2f}: of single answers")
        if not self.trusted:
            bar = f"{trusted_from(self.task):g}"
            lines.append(f"The skill's interval reaches {bar}: do not trust single {parts}; more {items} may help.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
