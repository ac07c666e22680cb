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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ...inputs.checks import as_integer
from ...inputs.texts import SurrogateWarnings, check_pairs, check_texts
from ...models.eval_mode import evaluating
from ...models.heads.readout import FeatureLayout
from ...models.modeling import MhexMixin
from . import skill
from .equations import EquationSource
from .ridge import RidgeStream
from .skill import Rows

STRENGTHS = tuple(10.0**power for power in range(-6, 1))  # then thirds and threefolds of the best
MIN_TEXTS = 20
MAX_HELD_OUT = 300  # more would only make the choice slower, and memory grow
_CHUNK = 32  # texts whose rows are made together


@dataclass(frozen=True, slots=True)
class FitReport:
    """How far the fitted scores can be trusted, on held-out texts; kept in `config.mhex_fit`.

    `skill` = 1 - SSE / SSE of spreading the text's total evenly over its tokens: 0 says nothing about single tokens, 1
    predicts every masked output. `r2` is the plain share of variance. Both on random subsets only, after adding to each
    content token the same share of what the scores miss of the whole. `base_error`: mean and 95th percentile of
    |base value - v(empty)|.
    """

    skill: float
    skill_interval: tuple[float, float]  # 95 %, bootstrap over held-out texts
    r2: float
    base_error: tuple[float, float]
    depth_share: tuple[float, ...]  # of the mean absolute score, one value a depth read
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    flow_widths: tuple[int, ...]  # 0 where the flow into a depth is not read
    strength: float
    texts: int
    held_out: int
    masks: int
    rows: int
    removal: str
    contrast: str
    seed: int
    seconds: float

    @property
    def trusted(self) -> bool:
        """Whether the lower end of the skill's interval is above 0."""
        return self.skill_interval[0] > 0

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
        held_out: share of the texts on which the fit is judged and the ridge strength chosen.
        max_features: depths are thinned evenly until the features are no more than this.
        removal: "mask", "attention", or "auto": by mask token where the tokenizer has one.
        seed: of the split and of the subsets.
        batch_tokens: texts times longest text of one batch.
        progress: show a bar on a terminal.

    Raises:
        ValueError: a model without heads, a slow tokenizer, too few texts, an option out of range.
        MemoryError: the features would not fit into half of the free memory.
    """
    start = time.perf_counter()
    masks = as_integer(masks, "masks", at_least=2)
    checked, pairs = _check(model, texts, text_pairs, held_out)
    source = EquationSource(model, tokenizer, removal, masks, batch_tokens)
    order = np.random.default_rng(seed).permutation(len(checked)).tolist()
    judged = min(max(round(held_out * len(checked)), 5), MAX_HELD_OUT)
    judges, learners = order[:judged], order[judged:]

    def rows(indices: Sequence[int], say: str) -> Iterator[Rows]:
        starts = range(0, len(indices), _CHUNK)
        bar = track(starts, say, console=Console(stderr=True), disable=not (progress and sys.stderr.isatty()))
        for begin in bar:
            chosen = indices[begin : begin + _CHUNK]
            halves = None if pairs is None else [pairs[i] for i in chosen]
            yield from source.rows([checked[i] for i in chosen], halves, chosen, seed)

    with evaluating(model), torch.inference_mode():
        source.layout = source.find_layout(checked[0], None if pairs is None else pairs[0]).thinned(max_features)
        stream = RidgeStream(source.layout.parts, model.config.num_labels)
        for text_rows in rows(learners, "Fitting"):
            stream.add(*text_rows.equations())
        held = list(rows(judges, "Judging"))
        weights, strength = _best(stream, held)
    report = FitReport(
        **_judge(weights, held, source.layout, seed),
        depths=source.layout.depths,
        widths=source.layout.widths,
        flow_widths=source.layout.flow_widths,
        strength=strength,
        texts=len(learners),
        held_out=len(held),
        masks=masks,
        rows=stream.rows,
        removal=source.removal,
        contrast=source.contrast,
        seed=seed,
        seconds=round(time.perf_counter() - start, 1),
    )
    readout = model.add_readout(report.to_dict())
    with torch.no_grad():
        readout.fill(weights.float())
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


def _judge(weights: Tensor, held: Sequence[Rows], layout: FeatureLayout, seed: int) -> dict[str, Any]:
    """The part of the report that says how good a solution is on held-out rows."""
    errors = skill.errors(weights, held)
    misses = [(rows.values[-1] - rows.sums[-1].double() @ weights)[rows.target].abs() for rows in held]
    base = np.array([float(miss) for miss in misses])
    return {
        "skill": skill.ratio(errors),
        "skill_interval": skill.interval(errors, seed),
        "r2": skill.r2(weights, held),
        "base_error": (float(base.mean()), float(np.quantile(base, 0.95))),
        "depth_share": skill.depth_share(weights, held, layout.blocks),
    }


def _best(stream: RidgeStream, held: Sequence[Rows]) -> tuple[Tensor, float]:
    """The solution with the most skill on held-out rows, and its strength."""

    def attempt(strength: float) -> tuple[float, float, Tensor]:
        weights = stream.solve(strength)
        return skill.skill(weights, held), strength, weights

    best = max(map(attempt, STRENGTHS), key=lambda candidate: candidate[0])
    nearby = map(attempt, (best[1] / 3, best[1] * 3))
    _, strength, weights = max([best, *nearby], key=lambda candidate: candidate[0])
    return weights, strength
