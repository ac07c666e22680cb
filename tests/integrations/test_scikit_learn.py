# SPDX-License-Identifier: Apache-2.0
"""The scikit-learn wrapper: what cross-validation, pipelines and scorers ask of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from helpers.explained import TEXTS, TOKENIZER, make_model
from mhex_nlp import MhexExplainer
from mhex_nlp.integrations.scikit_learn import MhexTextClassifier


@pytest.fixture(scope="module")
def explainer() -> MhexExplainer:
    return MhexExplainer(make_model(), TOKENIZER)


def test_it_says_what_the_explainer_says(explainer: MhexExplainer) -> None:
    classifier = MhexTextClassifier(explainer).fit(TEXTS, ["good"] * len(TEXTS))
    expected = explainer(TEXTS)
    assert classifier.predict(TEXTS).tolist() == [one.label for one in expected]
    chances = classifier.predict_proba(TEXTS)
    assert chances.shape == (4, 3) and chances.sum(1) == pytest.approx(np.ones(4))
    assert classifier.score(TEXTS, classifier.predict(TEXTS)) == 1.0
    assert [one.sum for one in classifier.explain(TEXTS, target="bad")] == pytest.approx(
        [one.sum for one in explainer(TEXTS, target="bad")]
    )


def test_it_goes_through_scikit_learn(explainer: MhexExplainer) -> None:
    pipeline = make_pipeline(FunctionTransformer(), MhexTextClassifier(explainer)).fit(TEXTS)
    labels = pipeline.predict(TEXTS)
    again = cross_val_predict(MhexTextClassifier(explainer), np.array(TEXTS * 2), np.array([*labels] * 2), cv=2)
    assert again.tolist() == [*labels] * 2
    assert clone(MhexTextClassifier("runs/mood", batch_size=8)).get_params() == {"model": "runs/mood", "batch_size": 8}


def test_what_it_refuses(explainer: MhexExplainer) -> None:
    with pytest.raises(ValueError, match=r"y must hold names of the model's classes .*, got 'great'"):
        MhexTextClassifier(explainer).fit(TEXTS, ["great"] * 4)
    with pytest.raises(ValueError, match="classes that exclude each other, got regression"):
        MhexTextClassifier(MhexExplainer(make_model(1), TOKENIZER)).fit()
    with pytest.raises(NotFittedError):
        MhexTextClassifier(explainer).predict(TEXTS)
