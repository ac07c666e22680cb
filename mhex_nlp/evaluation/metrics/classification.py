# SPDX-License-Identifier: Apache-2.0
"""Accuracy and F1 of predicted class ids, by scikit-learn."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Average = Literal["macro", "weighted", "binary"]


def accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """The share of class ids that agree.

    Args:
        predictions, references: (B,) integers.

    Raises:
        ValueError: different lengths, none at all, or what is no integer.
    """
    from sklearn.metrics import accuracy_score

    predicted, true = _pair(predictions, references)
    return float(accuracy_score(true, predicted))


def f1(predictions: ArrayLike, references: ArrayLike, average: Average = "macro", positive: int = 1) -> float:
    """F1, the harmonic mean of precision and recall; 0 for a class that is never predicted rightly.

    Args:
        predictions, references: (B,) integers.
        average: "macro", the plain mean over the classes that occur; "weighted", by how often each occurs in
            `references`; "binary", of the class `positive` alone.

    Raises:
        ValueError: different lengths, none at all, what is no integer, an unknown `average`, or more than two classes
            for "binary".
    """
    from sklearn.metrics import f1_score

    predicted, true = _pair(predictions, references)
    if average not in get_args(Average):
        raise ValueError(f"average must be one of {list(get_args(Average))}, got {average!r}.")
    if average != "binary":
        return float(f1_score(true, predicted, average=average, zero_division=0))
    classes = np.union1d(predicted, true).tolist()
    if len({*classes, positive}) > 2:
        raise ValueError(f"average='binary' must have two classes at most, got {classes}.")
    # scikit-learn's own "binary" refuses a positive class that does not occur; here its F1 is 0
    return float(f1_score(true, predicted, labels=[positive], average="macro", zero_division=0))


def _pair(predictions: ArrayLike, references: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    predicted, true = np.asarray(predictions), np.asarray(references)
    if predicted.ndim != 1 or predicted.shape != true.shape:
        raise ValueError(f"predictions and references must be (B,) both, got {predicted.shape} and {true.shape}.")
    if not predicted.size:
        raise ValueError("predictions must not be empty.")
    return _ids(predicted, "predictions"), _ids(true, "references")


def _ids(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    whole = values.dtype.kind in "biuf" and bool((np.isfinite(values) & (np.floor(values) == values)).all())
    if not whole:
        raise ValueError(f"{name} must be integer class ids, got {values!r:.80}.")
    return values.astype(np.int64)
