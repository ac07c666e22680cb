# SPDX-License-Identifier: Apache-2.0
"""`fit_equivalent_matrices`: closed-form equivalent matrices that explain the model's own behaviour under removal.

Ours, beyond the paper. For a text with content tokens N and a subset S, v(S) is the model's (contrasted) logits when
only S is kept, and S' is the rest of N. Token scores phi[t] = W f[t], read off states and attention flow of one forward
pass over the whole text, are to satisfy sum over S of phi - sum over S' of phi = v(S) - v(S') for random S, and sum
over N of phi = v(N) - v(empty): a ridge regression, since f is fixed.

Axes: T tokens, N content tokens, S subsets, F features, C labels.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import log10
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ...explain import skill
from ...explain.skill import Rows
from ...inputs.checks import as_integer
from ...inputs.scripts import common_scripts
from ...inputs.texts import SurrogateWarnings, check_pairs, check_texts
from ...models.eval_mode import eval_view
from ...models.fit_weights import fit_hashes
from ...models.heads.readout import FeatureLayout
from ...models.modeling import MhexMixin
from .attainable import Attainable, attainable
from .empty_texts import measure_empty_texts
from .equations import EquationSource
from .ridge import RidgeStream
from .splits import Splits, split

POWERS = range(-6, 1)  # of ten, of the strengths tried; wider where the best is at an end; then thirds and threefolds
WIDEST = range(-12, 7)
MIN_TEXTS = 20
FEW_JUDGED = 30  # a bootstrap over fewer texts makes intervals that are too narrow
_CHUNK = 32  # texts whose rows are made together


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

    @property
    def trusted(self) -> bool:
        """Whether the lower end of the skill's interval is above 0."""
        return self.skill_interval[0] > 0

    @property
    def share_of_attainable(self) -> float | None:
        """`skill` / `attainable`; None where that was not measured or is not above 0."""
        return self.skill / self.attainable if self.attainable is not None and self.attainable > 0 else None

    def __str__(self) -> str:
        """How good the fit is, for people; `repr` has every figure."""

        def figure(value: float, interval: tuple[float, float]) -> str:
            return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"

        skill = figure(self.skill, self.skill_interval)
        lines = [
            f"skill: one pass explains {skill} of the model's answers to removals, on {self.held_out:,} held-out texts"
        ]
        if self.attainable is not None and self.attainable_interval is not None:
            best = figure(self.attainable, self.attainable_interval)
            lines.append(f"attainable by any scores of words: {best}, on {self.attainable_texts} of them")
            if self.share_of_attainable is not None:
                lines[-1] += f"; {self.share_of_attainable:.2f} of it is reached"
        lines.append(f"absolute skill {self.absolute_skill:.2f}, R\u00b2 {self.r2:.2f}: of single answers")
        if not self.trusted:
            lines.append("The skill's interval reaches 0: do not trust single words; more texts may help.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def fit_equivalent_matrices(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    masks: int = 8,
    held_out: float = 0.1,
    max_features: int = 8192,
    removal: str = "auto",
    seed: int = 0,
    batch_tokens: int = 4096,
    attainable_texts: int = 30,
    progress: bool = True,
) -> FitReport:
    """Fits the model's equivalent matrices to its behaviour on `texts`; no labels are needed, no weight changes.

    Afterwards `MhexExplainer` uses them by default, `save_pretrained` keeps them, and the supervised ones stay.
    (Long because of its many arguments.)

    Args:
        model: a model with heads, trained or not, gates on or off.
        tokenizer: its fast tokenizer.
        texts: some thousand texts of the kind to be explained.
        text_pairs: second halves, one for each text.
        masks: random subsets per text, in complementary pairs.
        held_out: share of the texts on which the fit is judged, and of those by which the ridge strength is chosen;
            5 to 300 each, and near-duplicates of one text are kept on one side.
        max_features: depths are thinned evenly until the features are no more than this.
        removal: "mask", "attention", or "auto": by mask token where the tokenizer has one.
        seed: of the split and of the subsets.
        batch_tokens: texts times longest text of one batch.
        attainable_texts: held-out texts on which the attainable skill is measured, four passes for each of a text's
            tokens, altogether no more than a quarter of what the fit takes (at least 4,096); 0 leaves it out.
        progress: show a bar on a terminal.

    Raises:
        ValueError: a model without heads, a slow tokenizer, too few texts that differ, an option out of range.
        RuntimeError: somebody trained the model meanwhile.
        MemoryError: the features would not fit into half of the free memory.
    """
    start = time.perf_counter()
    masks = as_integer(masks, "masks", at_least=2)
    attainable_texts = as_integer(attainable_texts, "attainable_texts", at_least=0)
    checked, pairs = _check(model, texts, text_pairs, held_out)
    # a view, so that nobody who trains the model meanwhile switches the mode of the fit
    source = EquationSource(eval_view(model), tokenizer, removal, masks, batch_tokens)
    splits, weights_hashes = _split(checked, pairs, held_out, seed), fit_hashes(model)

    def chosen_texts(indices: Sequence[int]) -> tuple[list[str], list[str] | None]:
        return [checked[i] for i in indices], None if pairs is None else [pairs[i] for i in indices]

    def rows(indices: Sequence[int], say: str) -> Iterator[Rows]:
        starts = range(0, len(indices), _CHUNK)
        bar = track(starts, say, console=Console(stderr=True), disable=not (progress and sys.stderr.isatty()))
        for begin in bar:
            chosen = indices[begin : begin + _CHUNK]
            yield from source.rows(*chosen_texts(chosen), chosen, seed)

    with torch.inference_mode():
        source.layout = source.find_layout(checked[0], None if pairs is None else pairs[0]).thinned(max_features)
        stream = RidgeStream(source.layout.parts, model.config.num_labels)
        longest = 0
        for text_rows in rows(splits.learn, "Fitting"):
            stream.add(*text_rows.equations())
            longest = max(longest, int(text_rows.sizes[-1]))
        weights, strength = _best(stream, list(rows(splits.choose, "Choosing")))
        held = list(rows(splits.judge, "Judging"))
        measured = splits.judge[:attainable_texts]
        passes = max(4096, masks * len(checked) // 4)
        best = _attainable(attainable(source, weights, *chosen_texts(measured), measured, passes=passes, seed=seed))
        empty = measure_empty_texts(source, checked, pairs)
    report = FitReport(
        **_judge(weights, held, source.layout, seed),
        **best,
        empty=empty,
        depths=source.layout.depths,
        widths=source.layout.widths,
        flow_widths=source.layout.flow_widths,
        strength=strength,
        texts=len(splits.learn),
        chosen_on=len(splits.choose),
        held_out=len(splits.judge),
        pairs=pairs is not None,
        longest=longest,
        scripts=common_scripts([*checked, *(pairs or [])]),
        masks=masks,
        rows=stream.rows,
        removal=source.removal,
        contrast=source.contrast,
        seed=seed,
        seconds=round(time.perf_counter() - start, 1),
        weights=weights_hashes,
    )
    if fit_hashes(model) != weights_hashes:
        raise RuntimeError("the model's weights changed while it was fitted, so that the fit is of no weights at all.")
    model.add_readout(report.to_dict(), weights)
    return report


def _check(model: Any, texts: Any, text_pairs: Any, held_out: float) -> tuple[list[str], list[str] | None]:
    if not isinstance(model, MhexMixin):
        raise ValueError(
            f"model must have MHEX heads, got {type(model).__name__}; get_mhex_model(model) gives it some."
        )
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be between 0 and 1, got {held_out!r}.")
    surrogates = SurrogateWarnings()
    checked = check_texts(texts, "texts", surrogates=surrogates)
    pairs = check_pairs(checked, text_pairs, surrogates=surrogates)
    surrogates.emit()
    if len(checked) < MIN_TEXTS:
        raise ValueError(f"texts must be at least {MIN_TEXTS} to fit, got {len(checked)}; some thousand are better.")
    return checked, pairs


def _split(texts: Sequence[str], pairs: Sequence[str] | None, held_out: float, seed: int) -> Splits:
    """The three parts; ValueError where too few texts differ, UserWarning where too few are left to judge on."""
    splits = split(texts if pairs is None else [f"{a}\n{b}" for a, b in zip(texts, pairs, strict=True)], held_out, seed)
    if min(map(len, splits)) < 2:
        raise ValueError(
            f"texts must be at least {MIN_TEXTS} that differ, got {len(texts)} that are mostly near-duplicates of each "
            "other."
        )
    if len(splits.judge) < FEW_JUDGED:
        warnings.warn(
            f"the fit is judged on {len(splits.judge)} texts alone, so that the interval of its skill is itself "
            f"uncertain; give more texts or a larger held_out for {FEW_JUDGED} and more.",
            stacklevel=3,
        )
    return splits


def _judge(weights: Tensor, held: Sequence[Rows], layout: FeatureLayout, seed: int) -> dict[str, Any]:
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
    parts = weights[1:].split(list(widths))
    sums = torch.stack([rows.sums[-1, 1:].double() for rows in held]).split(list(widths), dim=1)
    size = torch.stack([(x @ w).abs().mean() for x, w in zip(sums, parts, strict=True)])
    return tuple((size / size.sum().clamp(min=1e-12)).tolist())


def _attainable(best: Attainable | None) -> dict[str, Any]:
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


def _best(stream: RidgeStream, rows: Sequence[Rows]) -> tuple[Tensor, float]:
    """The solution with the most skill on rows of texts kept for the choice, and its strength."""

    @cache
    def attempt(power: float) -> tuple[float, Tensor]:
        weights = stream.solve(10.0**power)
        return skill.skill(weights, rows), weights

    def best_of(powers: Iterable[float]) -> float:
        return max(powers, key=lambda power: attempt(power)[0])

    low, high = POWERS[0], POWERS[-1]
    while (power := best_of(range(low, high + 1))) in (low, high) and WIDEST[0] < power < WIDEST[-1]:
        low, high = min(low, int(power) - 1), max(high, int(power) + 1)
    power = best_of((power, power - log10(3), power + log10(3)))
    return attempt(power)[1], 10.0**power
