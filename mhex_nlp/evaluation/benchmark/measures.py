# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison: what each is called, which way is better, and how it comes from scores.

Axes: B texts, n_i units of text i, k columns of a figure (one a text, or precision and recall).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..intervals import Statistic, f1_of, mean_of
from ..metrics.arrays import Bools, Floats
from ..metrics.perturbation import ERASER_BINS, average_drop, comprehensiveness, log_odds, sufficiency
from ..metrics.plausibility import (
    RationaleSpan,
    auprc,
    hard_rationale,
    iou_f1,
    mask_spans,
    mean_rationale_share,
    rationale_mask,
    token_f1,
)
from ..metrics.ranking import rank_agreement
from ..model_values import TextValues, perturb

AOPC_BINS = tuple(round(step / 10, 1) for step in range(1, 10))
_TOP = ERASER_BINS.index(0.2)  # the share that published log-odds and drops are at


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of the table: its title, which way is better, decimals, and its statistic over texts."""

    title: str
    better: Literal["higher", "lower"]
    digits: int = 3
    statistic: Statistic = mean_of

    @property
    def arrow(self) -> str:
        """The way that is better."""
        return "↑" if self.better == "higher" else "↓"


@dataclass(frozen=True, slots=True)
class OwnMeasure:
    """A figure of your own for `evaluate_explanations(metrics={"name": OwnMeasure(function, better="lower")})`.

    `function` takes B texts made by `ModelValues.of`, the (n_i,) float64 scores of each, and the class id each is
    explained for, and gives B finite numbers, of which the table shows the mean.
    """

    function: Callable[[Sequence[TextValues], Sequence[Floats], Sequence[int]], Any]
    better: Literal["higher", "lower"] = "higher"
    title: str = ""  # by default its name
    digits: int = 3

    def column(
        self, name: str, texts: Sequence[TextValues], scores: Sequence[Floats], targets: Sequence[int]
    ) -> Floats:
        """(B, 1) float64; ValueError for anything else."""
        values = np.asarray(self.function(texts, scores, targets), dtype=np.float64)
        if values.shape != (len(texts),) or not np.isfinite(values).all():
            raise ValueError(
                f"metrics[{name!r}] must give a finite number for each of {len(texts)} texts, got shape {values.shape}."
            )
        return values[:, None]

    @property
    def shown(self) -> tuple[str, str, int]:
        """Title, which way is better, decimals."""
        return self.title, self.better, self.digits


def own_measures(metrics: Mapping[str, Any] | None) -> dict[str, OwnMeasure]:
    """Figures by name, functions alone being better where they are higher.

    Raises:
        ValueError: a name that a figure of ours has, or what is neither a function nor an `OwnMeasure`.
    """
    measures = {}
    for name, metric in (metrics or {}).items():
        if name in MEASURES:
            raise ValueError(f"metrics must have names of their own, got {name!r}, a figure that is there anyway.")
        if not isinstance(metric, OwnMeasure) and not callable(metric):
            raise ValueError(f"metrics[{name!r}] must be a function or an OwnMeasure, got {type(metric).__name__}.")
        measure = metric if isinstance(metric, OwnMeasure) else OwnMeasure(metric)
        if measure.better not in ("higher", "lower"):
            raise ValueError(f"metrics[{name!r}].better must be 'higher' or 'lower', got {measure.better!r}.")
        measures[name] = replace(measure, title=measure.title or name)
    return measures


MEASURES: dict[str, Measure] = {
    "comprehensiveness": Measure("comprehensiveness", "higher"),
    "sufficiency": Measure("sufficiency", "lower"),
    "aopc": Measure("AOPC 10–90 %", "higher"),
    "log_odds": Measure("log-odds at 20 %", "lower", 2),
    "average_drop": Measure("average drop at 20 %", "lower", 1),
    "kendall_leave_one_out": Measure("Kendall τ to leave one out", "higher", 2),
    "spearman_shapley": Measure("Spearman ρ to Shapley", "higher", 2),
    "auprc": Measure("AUPRC", "higher"),
    "token_f1": Measure("token F1", "higher"),
    "iou_f1": Measure("IoU F1", "higher", statistic=f1_of),
}
PLAUSIBILITY = ("auprc", "token_f1", "iou_f1")


def faithfulness_columns(
    texts: Sequence[TextValues],
    scores: Sequence[Floats],
    targets: Sequence[int],
    leave_one_out: Sequence[Floats],
    shapley: Sequence[Floats] | None,
) -> dict[str, Floats]:
    """Each figure of faithfulness and agreement, (B, 1), of one method's scores.

    For each of B texts made by one `ModelValues`: (n_i,) scores, the class explained, and the references
    `leave_one_out` and `shapley` of the same units; no Spearman where `shapley` is `None`.
    """
    perturbed = perturb(texts, scores, list(targets), (*ERASER_BINS, *AOPC_BINS))
    eraser = len(ERASER_BINS)
    rows = {
        "comprehensiveness": comprehensiveness(perturbed.full, perturbed.without[:, :eraser]),
        "sufficiency": sufficiency(perturbed.full, perturbed.only[:, :eraser]),
        "aopc": comprehensiveness(perturbed.full, perturbed.without[:, eraser:]),
        "log_odds": log_odds(perturbed.full, perturbed.without[:, _TOP]),
        "average_drop": average_drop(perturbed.full, perturbed.only[:, _TOP]),
        "kendall_leave_one_out": rank_agreement(scores, leave_one_out, "kendall"),
    }
    if shapley is not None:
        rows["spearman_shapley"] = rank_agreement(scores, shapley, "spearman")
    return {name: values[:, None] for name, values in rows.items()}


def plausibility_columns(scores: Sequence[Floats], marks: Sequence[Bools]) -> dict[str, Floats]:
    """AUPRC and token F1 (B, 1), and precision and recall of spans (B, 2), against what people marked.

    Hard rationales are as long as the human ones on average, and F1 is ERASER's macro. `scores` and `marks` are B
    arrays (n_i,), each text with a mark.
    """
    share = mean_rationale_share(marks)
    chosen = [hard_rationale(row, share) for row in scores]
    pairs = list(zip(chosen, marks, strict=True))
    spans = [iou_f1([mask_spans(mask)], [mask_spans(mark)]).macro for mask, mark in pairs]
    tokens = [token_f1([mask], [mark]).macro.f1 for mask, mark in pairs]
    return {
        "auprc": auprc(scores, marks)[:, None],
        "token_f1": np.asarray(tokens)[:, None],
        "iou_f1": np.asarray([[span.precision, span.recall] for span in spans]),
    }


def unit_marks(text: TextValues, spans: Sequence[RationaleSpan], name: str) -> Bools:
    """Which units of a text share a code point with a rationale, (n,) bool; errors begin with `name`."""
    try:
        pairs = [(int(start), int(end)) for start, end in spans]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a list of [start, end) pairs, got {spans!r:.80}.") from error
    try:
        marked = rationale_mask(text.item.text, [(token.start, token.end) for token in text.tokens], pairs)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return np.asarray([marked[list(unit)].any() for unit in text.units], dtype=bool)
