# SPDX-License-Identifier: Apache-2.0
"""The result object: contradictions are refused, scores come as arrays, and it can be looked at."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.explanations import EXAMPLES, make, parts_of, tokens_with
from mhex_nlp.explain.explanation import Explanation, Prediction


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": tokens_with(2, score=math.nan)}, r"tokens\[2\] has a score that is not finite"),
        ({"tokens": tokens_with(2, score=math.inf)}, "not finite"),
        ({"sum": math.nan}, "sum must be finite"),
        ({"base_value": -math.inf}, "base_value must be finite"),
        ({"sum": 99.0}, "sum must be the sum of the token scores, .* got 99"),
        (
            {"tokens": tokens_with(2, end=999)},
            r"tokens\[2\] has offsets 3 to 999 outside its text of 27 characters",
        ),
        ({"tokens": tokens_with(2, start=5, end=4)}, "outside"),
        ({"tokens": tokens_with(2, text="no")}, "must be the source's"),
        ({"tokens": tokens_with(2, sequence=2)}, "sequence must be 0, or 1"),
        ({"tokens": tokens_with(2, word=None)}, "must have start, end, sequence and word"),
        ({"tokens": tokens_with(2, word=-1)}, "word must be 0 or more"),
        ({"tokens": tokens_with(0, word=0)}, r"tokens\[0\] is special and so must have no"),
        ({"tokens": tokens_with(2, layers=(1.0,))}, "layers of one length"),
        ({"tokens": tokens_with(2, scores=(1.0,))}, "scores and classes must be given together"),
        (
            {"classes": ("neg", "pos"), "tokens": make(classes=("one",)).tokens},
            "2 scores, one a class, got 1",
        ),
        ({"text_pair": None, "tokens": make().tokens}, "where there is a text_pair"),
        ({"windows": 0}, "windows must be at least 1"),
        ({"text": "\ud83d\ude00", "tokens": (), "sum": 0.0}, "two surrogates"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Explanation(**{**parts_of(make()), **changes})


def test_predictions_are_checked() -> None:
    with pytest.raises(ValueError, match="regression"):
        Prediction("a", None, None, None, value=1.0)
    with pytest.raises(ValueError, match="outside 0 to 1: 1.5"):
        Prediction("a", 0, 0.5, {"a": 1.5})


def test_scores_as_arrays() -> None:
    explanation = make(classes=("neg", "pos"), depths=3)
    tokens = len(explanation.tokens)
    assert explanation.scores.dtype == np.float32 and explanation.scores.shape == (tokens,)
    assert explanation.layer_scores.dtype == np.float32 and explanation.layer_scores.shape == (tokens, 3)
    assert explanation.class_scores.dtype == np.float32 and explanation.class_scores.shape == (tokens, 2)
    np.testing.assert_allclose(explanation.layer_scores.sum(1), explanation.scores, rtol=1e-6)
    np.testing.assert_allclose(explanation.class_scores[:, 1], 2 * explanation.scores)
    with pytest.raises(ValueError, match="layers=True"):
        _ = make().layer_scores
    with pytest.raises(ValueError, match='classes="all"'):
        _ = make().class_scores


def test_special_mass_and_text() -> None:
    explanation = make("a b", None, score=lambda i: [1.0, -2.0, 1.0][i])
    assert explanation.special_mass == 0.5
    assert make(score=lambda i: 0.0).special_mass == 0.0
    assert repr(explanation) == str(explanation) == "<Explanation 'pos' 0.750, for 'pos': 'a b' -2.00>"
    assert repr(EXAMPLES["regression"]()).startswith("<Explanation value=2.5, for 'pos': ")


def test_displays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explanation = make("superb <b>plot</b>", None)
    assert explanation.to_html(tmp_path / "page.html") is None
    page = explanation.to_html()
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert page.startswith("<!DOCTYPE html>") or page.lower().startswith("<!doctype html>")
    assert "<b>plot" not in page and explanation.to_html(unit="tokens") != page
    assert "<script" not in explanation._repr_html_() and "superb" in explanation._repr_html_()
    explanation.show()
    assert "superb" in capsys.readouterr().out
