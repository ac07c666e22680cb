# SPDX-License-Identifier: Apache-2.0
"""From what the heads say of a batch to the numbers that explain it: scores, targets, base values.

Axes: B texts, T tokens, L depths, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inputs.encoding import TokenisedText
from .contrast import contrast
from .misfit import empty_answers
from .parts import FlipSet
from .refinement import Sureness
from .request import Request


class Answer(NamedTuple):
    """What a row that is of a place in a text is explained for, which was chosen when the place was."""

    predicted: int
    target: int
    foil: int | None = None
    chances: tuple[float, ...] | None = None  # (C,) probabilities, where logits do not tell them
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Per-token scores and logits of one batch.

    `per_depth` (B, T, L, C) float32 are scores by depth, zero where a token has none; `logits` (B, C) float32 the
    model's; `explained` (B, C) the logits that the scores explain; `empty` (B, C) float64 those of the empty text, NaN
    where they are not known; `sureness` how sure refined scores of each text are.
    """

    per_depth: NDArray[np.float32]
    logits: NDArray[np.float32]
    explained: NDArray[np.float32]
    empty: NDArray[np.float64] | None = None
    sureness: tuple[tuple[Sureness, ...], ...] | None = None
    fit_holds: bool | None = None  # the fit is of the model's weights; None: nobody knows, or there is none
    settled: tuple[bool, ...] | None = None  # of a budget that is spent as needed: whether the leading words are
    answers: tuple[Answer, ...] | None = None  # where rows are of places, and not of texts

    def select(self, rows: Sequence[int]) -> Evidence:
        """That of some texts of the batch."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            per_depth=self.per_depth[index],
            logits=self.logits[index],
            explained=self.explained[index],
            empty=None if self.empty is None else self.empty[index],
            sureness=None if self.sureness is None else tuple(self.sureness[row] for row in rows),
            settled=None if self.settled is None else tuple(self.settled[row] for row in rows),
            answers=None if self.answers is None else tuple(self.answers[row] for row in rows),
        )


def stack(parts: Sequence[Evidence]) -> Evidence:
    """Those of several batches, of one kind, as one batch, padded to the longest text."""
    size = max(part.per_depth.shape[1] for part in parts)
    padded = [np.pad(part.per_depth, ((0, 0), (0, size - part.per_depth.shape[1]), (0, 0), (0, 0))) for part in parts]
    empty = [part.empty for part in parts if part.empty is not None]
    return Evidence(
        np.concatenate(padded),
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.explained for part in parts]),
        np.concatenate(empty) if empty else None,
        None if parts[0].sureness is None else tuple(row for part in parts for row in part.sureness or ()),
        parts[0].fit_holds,
        None if parts[0].settled is None else tuple(row for part in parts for row in part.settled or ()),
        None if parts[0].answers is None else tuple(row for part in parts for row in part.answers or ()),
    )


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores that explain a batch, and what they add up to.

    `scores` (B, T) float32 are the target's; with all classes asked for, `class_scores` (B, T, C); with layers,
    `layer_scores` (B, T, L). `sums` and `bases` (B,) float64 add up to the (contrasted) logits explained, before any
    clamp. `misfits` (B,) float64 are what the scores miss of v(N) - v(empty), NaN where that is not known. `logits` and
    `explained` (B, C) float32. `covariances` (T, T) float64 of each text's scores, where
    they were refined.
    """

    scores: NDArray[np.float32]
    class_scores: NDArray[np.float32] | None
    layer_scores: NDArray[np.float32] | None
    sums: NDArray[np.float64]
    bases: NDArray[np.float64]
    targets: list[int]
    logits: NDArray[np.float32]
    explained: NDArray[np.float32]
    misfits: NDArray[np.float64]
    covariances: list[NDArray[np.float64]] | None = None
    fit_holds: bool | None = None
    passes: list[int] | None = None  # of each text, where a budget was spent as needed
    settled: list[bool] | None = None
    foils: list[int] | None = None
    answers: list[Answer] | None = None
    flips: list[tuple[FlipSet, ...]] | None = None  # of each text, where they were asked for


def checked_logits(
    items: Sequence[TokenisedText], logits: NDArray[np.float32], request: Request
) -> NDArray[np.float32]:
    """The (B, C) logits of a batch.

    Raises:
        ValueError: logits that are not one a class, or not finite; names the text.
    """
    if logits.shape[1] != len(request.table):
        raise ValueError(
            f"model.config.id2label must name the {logits.shape[1]} classes of the model, got {len(request.table)}."
        )
    finite_rows: Any = np.isfinite(logits).all(axis=1).tolist()
    for item, finite in zip(items, finite_rows, strict=True):
        if not finite:
            raise ValueError(f"the model's logits are not finite, so nothing can be explained: {item.name}.")
    return logits


def fitted_evidence(
    items: Sequence[TokenisedText],
    per_depth: NDArray[np.float32],
    logits: NDArray[np.float32],
    request: Request,
    fit: Mapping[str, Any],
) -> Evidence:
    """What fitted matrices say: (B, T, L, C) of all tokens, of which those that the fit never removed have no score."""
    content = np.zeros(per_depth.shape[:2], dtype=bool)
    for row, item in enumerate(items):
        content[row, item.content_positions(request.causal)] = True
    scores = np.where(content[..., None, None], per_depth, np.float32(0))
    return Evidence(scores, logits, logits, empty_answers(items, fit, request.causal))


def attribute(evidence: Evidence, names: Sequence[str], request: Request) -> Scores:
    """The numbers of a batch; `names` are what sentences call its texts.

    Raises:
        ValueError: a foil that the model predicts, or scores that are not finite; names the text.
    """
    table, kind = request.table, request.contrast
    targets, foils = _compared(evidence, names, request)  # (B,)
    phi = evidence.per_depth.sum(2)  # (B, T, C)
    for name, finite in zip(names, np.isfinite(phi).reshape(len(phi), -1).all(1).tolist(), strict=True):
        if not finite:
            raise ValueError(f"the scores are not finite, so nothing can be explained: {name}.")
    scores = contrast(phi, targets, kind, foils)  # (B, T)
    sums = scores.astype(np.float64).sum(1)
    class_scores = layer_scores = None
    if request.all_classes:
        by_class = [contrast(phi, np.full_like(targets, c), kind, foils) for c in range(len(table))]
        class_scores = np.stack(by_class, axis=-1)  # (B, T, C)
    if request.layers:
        layer_scores = contrast(evidence.per_depth, targets, kind, foils)  # (B, T, L)
    rows = [
        None if value is None else np.maximum(value, 0) if request.non_negative else value
        for value in (scores, class_scores, layer_scores)
    ]
    assert rows[0] is not None
    explained = contrast(evidence.explained.astype(np.float64), targets, kind, foils)  # (B,)
    bases = explained - sums
    misfits = np.full_like(bases, np.nan)
    if evidence.empty is not None:
        misfits = bases - contrast(evidence.empty, targets, kind, foils)
    return Scores(
        scores=rows[0],
        class_scores=rows[1],
        layer_scores=rows[2],
        sums=sums,
        bases=bases,
        targets=targets.tolist(),
        logits=evidence.logits,
        explained=evidence.explained,
        misfits=misfits,
        covariances=_covariances(evidence, targets, foils, request),
        fit_holds=evidence.fit_holds,
        passes=_passes(evidence) if evidence.settled else None,
        settled=list(evidence.settled) if evidence.settled else None,
        foils=None if foils is None else foils.tolist(),
        answers=None if evidence.answers is None else list(evidence.answers),
    )


def _compared(
    evidence: Evidence, names: Sequence[str], request: Request
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The target, and where there is one the foil, of each row: (B,) int64."""
    if evidence.answers is not None:
        targets = np.array([answer.target for answer in evidence.answers], dtype=np.int64)
        foils = [answer.foil for answer in evidence.answers]
        return targets, None if request.contrast != "foil" else np.array(foils, dtype=np.int64)
    targets = request.table.targets(evidence.logits, request.target, request.foil, names)
    return targets, None if request.foil is None else np.full_like(targets, request.foil)


def _passes(evidence: Evidence) -> list[int]:
    """The passes over each text, or over that of its windows that had most."""
    return [1 + max(part.posterior.passes for part in parts) for parts in evidence.sureness or ()]


def _covariances(
    evidence: Evidence, targets: NDArray[np.int64], foils: NDArray[np.int64] | None, request: Request
) -> list[NDArray[np.float64]] | None:
    if evidence.sureness is None:
        return None
    covariances, tokens = [], evidence.per_depth.shape[1]
    foil_of: list[int | None] = [None] * len(targets) if foils is None else foils.tolist()
    for parts, target, foil in zip(evidence.sureness, targets.tolist(), foil_of, strict=True):
        weights = contrast_weights(target, request, foil)
        covariances.append(sum((part.covariance(tokens, weights) for part in parts), np.zeros((tokens, tokens))))
    return covariances


def contrast_weights(target: int, request: Request, foil: int | None) -> NDArray[np.float64]:
    """(C,) the weights of the labels in what the scores of a target are of."""
    weights = np.zeros(len(request.table))
    weights[target] = 1
    if request.contrast == "centred":
        weights -= 1 / len(weights)
    elif foil is not None:
        weights[foil] -= 1
    return weights
