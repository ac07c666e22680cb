# SPDX-License-Identifier: Apache-2.0
"""Plausibility: do scores mark what people marked? AUPRC, token F1 and IoU F1 as ERASER defines them.

After DeYoung et al. (2020), "ERASER", arXiv 1911.03429, and its scorer. Axes: B texts, n_i tokens of text i. A
plausible explanation need not be faithful: these say nothing about the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Bools, Floats, as_mask, as_scores, text_pairs
from .perturbation import bin_masks

RationaleSpan = tuple[int, int]  # [start, end), of code points or of tokens


@dataclass(frozen=True, slots=True)
class OverlapScores:
    """Precision, recall and their F1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class RationaleAgreement:
    """Agreement counted over all texts together (`micro`) and averaged over texts (`macro`)."""

    micro: OverlapScores
    macro: OverlapScores


def rationale_mask(
    text: str, offsets: Sequence[tuple[int | None, int | None]], spans: Sequence[RationaleSpan]
) -> Bools:
    """Which tokens a human rationale marks: those that share at least one code point with one of its spans.

    Args:
        text: the source.
        offsets: [start, end) of each token in code points; `None` for special tokens, which are never marked.
        spans: [start, end) of each piece of the rationale, in code points of `text`.

    Returns:
        (T,) bool.

    Raises:
        ValueError: a span that is empty or not inside the text, or that covers no token (whitespace, or cut off).
    """
    marked = np.zeros(len(offsets), dtype=bool)
    for index, (start, end) in enumerate(spans):
        if not 0 <= start < end <= len(text):
            raise ValueError(
                f"spans[{index}] must lie in the text of {len(text)} characters and not be empty, got {start} to {end}."
            )
        touched = [
            first is not None and last is not None and max(first, start) < min(last, end) for first, last in offsets
        ]
        if not any(touched):
            raise ValueError(
                f"spans[{index}] must cover a token, got {text[start:end]!r:.40}, which has none: it is whitespace or "
                "was cut off."
            )
        marked |= np.asarray(touched, dtype=bool)
    return marked


def mask_spans(mask: ArrayLike) -> tuple[RationaleSpan, ...]:
    """The runs of marked tokens as [start, end) token spans, in order. ValueError for anything but 0 and 1."""
    marks = np.concatenate([[False], as_mask(mask, "mask"), [False]])
    edges = np.flatnonzero(marks[1:] != marks[:-1]).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def mean_rationale_share(rationales: Sequence[ArrayLike]) -> float:
    """The share of tokens that people mark, averaged over texts: how large ERASER makes hard rationales.

    Raises:
        ValueError: zero texts, or masks that are not (n,) of 0 and 1.
    """
    if not len(rationales):
        raise ValueError("rationales must hold at least one text, got none.")
    shares = [as_mask(mask, f"rationales[{index}]").mean() for index, mask in enumerate(rationales)]
    return float(np.mean(shares))


def hard_rationale(scores: ArrayLike, share: float) -> Bools:
    """The ceil(share * n) tokens with the highest scores, (n,) bool; equal scores in reading order.

    Raises:
        ValueError: a share that is not in (0, 1], or scores that are not finite.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}.")
    _, marked = bin_masks(scores, [share])
    return marked[0]


def auprc(scores: Sequence[ArrayLike], rationales: Sequence[ArrayLike]) -> Floats:
    """Area under the precision-recall curve of soft scores against the human mask, a text; ERASER reports the mean.

    By trapezoids over the points of every distinct score, from (recall 0, precision 1) on, which is what ERASER's
    scorer does with scikit-learn's `precision_recall_curve` and `auc`, as here. Average precision, steps instead of
    trapezoids, is another figure; the two must not share a table.

    Args:
        scores: B arrays (n_i,) finite; higher means more in the rationale.
        rationales: B masks (n_i,) of 0 and 1, each with at least one 1.

    Returns:
        (B,) float64 in [0, 1]. A random order comes near the share of marked tokens.

    Raises:
        ValueError: zero texts, scores and masks that do not align, scores that are not finite, or a text in which
            nothing is marked: its recall is undefined, leave it out.
    """
    from sklearn.metrics import auc, precision_recall_curve

    areas = []
    for name, rationale_name, row, rationale in text_pairs(scores, rationales, ("scores", "rationales")):
        values, marks = as_scores(row, name), as_mask(rationale, rationale_name)
        if not marks.any():
            raise ValueError(f"{rationale_name} must mark at least one token, got none: leave the text out.")
        precision, recall, _ = precision_recall_curve(marks, values)
        areas.append(auc(recall, precision))
    return np.asarray(areas, dtype=np.float64)


def token_f1(predicted: Sequence[ArrayLike], rationales: Sequence[ArrayLike]) -> RationaleAgreement:
    """Token-level agreement of hard rationales; ERASER reports the macro F1, the mean of each text's own F1.

    Args:
        predicted: B masks (n_i,), such as `hard_rationale(scores, mean_rationale_share(rationales))`.
        rationales: B masks (n_i,).

    Returns:
        micro: all tokens counted together; macro: means over texts. 0 where nothing is marked on a side.

    Raises:
        ValueError: zero texts, or masks that do not align or are not 0 and 1.
    """
    counts = []  # (marked in both, predicted, true) of each text
    for name, rationale_name, mask, rationale in text_pairs(predicted, rationales, ("predicted", "rationales")):
        marks, truth = as_mask(mask, name), as_mask(rationale, rationale_name)
        counts.append((int((marks & truth).sum()), int(marks.sum()), int(truth.sum())))
    per_text = [_scores_of(*row) for row in counts]
    macro = (float(np.mean([getattr(row, key) for row in per_text])) for key in ("precision", "recall", "f1"))
    return RationaleAgreement(_scores_of(*np.sum(counts, axis=0).tolist()), OverlapScores(*macro))


def iou_f1(
    predicted: Sequence[Sequence[RationaleSpan]], rationales: Sequence[Sequence[RationaleSpan]], threshold: float = 0.5
) -> RationaleAgreement:
    """Span-level agreement: a predicted span is right if its best intersection over union reaches the threshold.

    As in ERASER's scorer: micro counts the right spans of all texts together; macro averages the precision over the
    texts with predictions and the recall over the texts with rationales, and takes F1 of the two means. Two predicted
    halves of one human span are both right, so recall may pass 1 there, as it does in the scorer.

    Args:
        predicted: for each of B texts its [start, end) token spans, such as `mask_spans` gives.
        rationales: likewise, the human ones.
        threshold: least IoU of a match, in (0, 1].

    Raises:
        ValueError: zero texts, lists of different lengths, an empty span, or a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}.")
    if len(predicted) != len(rationales) or not len(predicted):
        raise ValueError(
            f"predicted and rationales must have one entry a text and one text at least, got {len(predicted)} and "
            f"{len(rationales)}."
        )
    counts = []  # (right, predicted, true) of each text
    for index in range(len(predicted)):
        spans = _distinct(predicted[index], f"predicted[{index}]")
        truth = _distinct(rationales[index], f"rationales[{index}]")
        right = sum(max((_iou(span, other) for other in truth), default=0.0) >= threshold for span in spans)
        counts.append((right, len(spans), len(truth)))
    precisions = [right / count for right, count, _ in counts if count]
    recalls = [right / count for right, _, count in counts if count]
    macro = _with_f1(float(np.mean(precisions)) if precisions else 0.0, float(np.mean(recalls)) if recalls else 0.0)
    return RationaleAgreement(_scores_of(*np.sum(counts, axis=0).tolist()), macro)


def _iou(one: RationaleSpan, other: RationaleSpan) -> float:
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (one[1] - one[0] + other[1] - other[0] - shared)


def _distinct(spans: Sequence[RationaleSpan], name: str) -> set[RationaleSpan]:
    distinct = {(int(start), int(end)) for start, end in spans}
    if any(not 0 <= start < end for start, end in distinct):
        raise ValueError(f"{name} must hold [start, end) token spans that are not empty, got {sorted(distinct)!r:.80}.")
    return distinct


def _scores_of(right: int, predicted: int, true: int) -> OverlapScores:
    return _with_f1(right / predicted if predicted else 0.0, right / true if true else 0.0)


def _with_f1(precision: float, recall: float) -> OverlapScores:
    f1 = 2 * precision * recall / (precision + recall) if precision and recall else 0.0
    return OverlapScores(precision, recall, f1)
