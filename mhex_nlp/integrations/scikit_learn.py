# SPDX-License-Identifier: Apache-2.0
"""A fine-tuned classifier as a scikit-learn estimator, for its metrics, pipelines and displays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ..explain.explainer import MhexExplainer
from ..explain.explanations import Explanations


class MhexTextClassifier(ClassifierMixin, BaseEstimator):
    """A text classifier that was trained elsewhere; `fit` loads it, and trains nothing.

    >>> classifier = MhexTextClassifier("runs/mood").fit()
    >>> cross_validate(classifier, texts, labels)    # or a Pipeline, CalibrationDisplay.from_estimator, ...
    >>> classifier.explain(texts).to_pandas()

    Args:
        model: the folder or hub name of a model with heads, or a `MhexExplainer`.
        batch_size: texts that are read at a time.
    """

    def __init__(self, model: Any = None, batch_size: int = 64) -> None:
        self.model = model
        self.batch_size = batch_size

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Loads the model, and checks that it knows the labels `y`, where they are given.

        Raises:
            ValueError: a label that is no class of the model, or a model whose classes do not exclude each other.
        """
        explainer = self.model if isinstance(self.model, MhexExplainer) else MhexExplainer.from_pretrained(self.model)
        if explainer.classes.task != "single_label_classification":
            raise ValueError(f"model must have classes that exclude each other, got {explainer.classes.task}.")
        self.explainer_, self.classes_ = explainer, np.asarray(explainer.classes.labels)
        if odd := sorted({str(label) for label in (() if y is None else y)} - set(self.classes_.tolist())):
            raise ValueError(f"y must hold names of the model's classes {self.classes_.tolist()}, got {odd[0]!r:.60}.")
        return self

    def predict_proba(self, X: Iterable[str]) -> Any:
        """(N, C) float64, in the order of `classes_`."""
        check_is_fitted(self)
        rows = [one.prediction.probabilities for one in self.explainer_.stream(X, batch_size=self.batch_size)]
        return np.asarray([[row[label] for label in self.classes_] for row in rows if row is not None])

    def predict(self, X: Iterable[str]) -> Any:
        """(N,) names of classes."""
        chances = self.predict_proba(X)
        return self.classes_[chances.argmax(1)]

    def explain(self, X: Iterable[str], **options: Any) -> Explanations:
        """The explanations of the texts; options are those of `MhexExplainer.stream`."""
        check_is_fitted(self)
        return Explanations(self.explainer_.stream(X, batch_size=self.batch_size, **options))
