# SPDX-License-Identifier: Apache-2.0
"""Accuracy and F1 of predicted class ids, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Average = Literal["macro", "weighted", "binary"]


def accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """The share of class ids that agree.

    Args:
        predictions, references: (B,) integers.

    Raises:
        ValueError: different lengths, or none at all.
    """
    predicted, true = _pair(predictions, references)
    return float((predicted == true).mean())


def f1(predictions: ArrayLike, references: ArrayLike, average: Average = "macro", positive: int = 1) -> float:
    """F1, the harmonic mean of precision and recall; 0 for a class that is never predicted rightly.

    Args:
        predictions, references: (B,) integers.
        average: "macro", the plain mean over the classes that occur; "weighted", by how often each occurs in
            `references`; "binary", of the class `positive` alone.

    Raises:
        ValueError: different lengths, none at all, an unknown `average`, or more than two classes for "binary".
    """
    predicted, true = _pair(predictions, references)
    if average not in get_args(Average):
        raise ValueError(f"average must be one of {list(get_args(Average))}, got {average!r}.")
    classes = np.unique(np.concatenate([predicted, true]))
    if average == "binary":
        if len(classes.tolist() + [positive] * (positive not in classes)) > 2:
            raise ValueError(f"average='binary' must have two classes at most, got {classes.tolist()}.")
        return float(_per_class(predicted, true, [positive])[0])
    scores = _per_class(predicted, true, classes.tolist())
    weights = [float((true == label).sum()) for label in classes] if average == "weighted" else None
    return float(np.average(scores, weights=weights))


def _per_class(predicted: NDArray[np.int64], true: NDArray[np.int64], classes: Sequence[int]) -> NDArray[np.float64]:
    found = []
    for label in classes:
        right = ((predicted == label) & (true == label)).sum()
        named = (predicted == label).sum() + (true == label).sum()
        found.append(2 * right / named if named else 0.0)
    return np.asarray(found, dtype=np.float64)


def _pair(predictions: ArrayLike, references: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    predicted, true = np.asarray(predictions), np.asarray(references)
    if predicted.ndim != 1 or predicted.shape != true.shape:
        raise ValueError(f"predictions and references must be (B,) both, got {predicted.shape} and {true.shape}.")
    if not predicted.size:
        raise ValueError("predictions must not be empty.")
    return predicted.astype(np.int64), true.astype(np.int64)
