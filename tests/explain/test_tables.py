# SPDX-License-Identifier: Apache-2.0
"""Explanations elsewhere: as shap.Explanation in shap's own plots, and as data frames."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from helpers.explained import TEXTS, TOKENIZER, make_model
from helpers.explanations import make
from mhex_nlp import MhexExplainer, explanations_to_shap
from mhex_nlp.explain.explanations import Explanations

CLASSES = ("neg", "pos")


@pytest.fixture(scope="module")
def explained() -> Explanations:
    return MhexExplainer(make_model(), TOKENIZER)(TEXTS, target="good")


@pytest.fixture
def plots() -> Iterator[Any]:
    shap = pytest.importorskip("shap", reason="shap is not installed")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    yield shap.plots
    pyplot.close("all")


def drawn(axes: Any) -> set[str]:
    return {label.get_text() for label in axes.get_yticklabels()}


def test_pieces_are_the_text_and_values_add_up(explained: Explanations) -> None:
    pytest.importorskip("shap")
    for one in [*explained, make(), make("  Two  words. "), make("中文 text")]:
        for unit in ("words", "tokens"):
            form = one.to_shap(unit)  # type: ignore[arg-type]
            whole = one.text if one.text_pair is None else f"{one.text} {one.text_pair}"
            assert "".join(form.data) == whole
            assert form.values.sum() == pytest.approx(one.sum, abs=1e-5)
            assert form.base_values == one.base_value
    words = {span.text: span.score for span in explained[0].words()}
    form = explained[0].to_shap()
    named = dict(zip(form.feature_names, form.values, strict=True))
    assert {name: named[name] for name in words} == pytest.approx(words)


def test_one_text_in_shaps_plots(plots: Any, explained: Explanations) -> None:
    form = explained[0].to_shap()
    page = plots.text(form, display=False)
    assert all(word in page for word in ("the", "film", "good"))
    assert {"1 = good", "1 = film"} <= drawn(plots.waterfall(form, show=False))
    assert any("good" in label for label in drawn(plots.bar(form, show=False)))


def test_many_texts_in_shaps_plots(plots: Any, explained: Explanations) -> None:
    form = explanations_to_shap(explained)
    assert form.shape[0] == len(TEXTS) and form.output_names == "good"
    assert plots.text(form, display=False).count("superb") >= 1
    assert "1 = lovely" in drawn(plots.waterfall(form[2], show=False))
    assert any("was" in label for label in drawn(plots.bar(form.abs.mean(0), show=False)))
    scores = [span.score for one in explained for span in one.words() if span.text == "very"]
    mean = form.mean(0)
    assert mean.values[list(mean.feature_names).index("very")] == pytest.approx(np.mean(scores))


def test_a_table_by_words_in_shaps_plots(plots: Any, explained: Explanations) -> None:
    form = explained.to_shap(by="word")
    assert form.values.sum(1) == pytest.approx([one.sum for one in explained], abs=1e-5)
    column = form.feature_names.index("very")
    assert form.data[:, column].tolist() == [0, 1, 0, 4]
    assert any("was" in label for label in drawn(plots.beeswarm(form, show=False)))
    assert any("was" in label for label in drawn(plots.bar(form, show=False)))
    few = explanations_to_shap(explained, by="word", max_words=2)
    assert few.feature_names[2:] == ["[other words]", "[special tokens]"]
    assert few.values.sum(1) == pytest.approx(form.values.sum(1))


def test_what_shap_form_refuses(explained: Explanations, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("shap")
    with pytest.raises(ValueError, match="unit must be 'words' or 'tokens', got 'letters'"):
        explained[0].to_shap("letters")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="by must be 'text' or 'word', got 'class'"):
        explanations_to_shap(explained, by="class")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one, got none"):
        explanations_to_shap([])
    with pytest.raises(ValueError, match="max_words must be at least 1, got 0"):
        explanations_to_shap(explained, by="word", max_words=0)
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(ImportError, match="pip install"):
        explained[0].to_shap()


@pytest.mark.parametrize("unit", ["words", "tokens"])
def test_data_frames_hold_every_score(unit: Any) -> None:
    pair, single = make(classes=CLASSES), make("It was thin.", None, classes=CLASSES, id="8")
    frame = Explanations([pair, single]).to_pandas(unit)
    assert frame.groupby("id")["score"].sum().tolist() == pytest.approx([pair.sum, single.sum])
    assert frame.groupby("id")["score_pos"].sum().tolist() == pytest.approx(
        [float(one.class_scores[:, 1].sum()) for one in (pair, single)]
    )
    assert str(frame["start"].dtype) == "Int64" and str(frame["text"].dtype) == "string"
    inside = frame[frame["start"].notna()]
    for row in inside.itertuples():
        source = [pair.text, pair.text_pair][row.sequence] if row.id == "7" else single.text
        assert source[row.start : row.end] == row.text
    assert (len(frame) - len(inside) > 0) and set(frame["target"]) == {"pos"}
    polars = pytest.importorskip("polars")
    same = Explanations([pair, single]).to_polars(unit)
    assert same.columns == list(frame.columns) and same.schema["start"] == polars.Int64
    assert same["score"].to_list() == pytest.approx(frame["score"].tolist())
    assert same["start"].null_count() == int(frame["start"].isna().sum())


def test_one_explanation_is_a_frame_too(explained: Explanations) -> None:
    frame = explained[0].to_pandas()
    assert frame["text"].tolist()[:-1] == [span.text for span in explained[0].words()]
    assert list(Explanations().to_pandas().columns) == list(frame.columns)
    with pytest.raises(ValueError, match="unit must be"):
        explained.to_pandas("letters")  # type: ignore[arg-type]
