# SPDX-License-Identifier: Apache-2.0
"""Scores of shap, captum and LIME as ScoredText: by the libraries themselves where they are installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from helpers.explained import TOKENIZER, make_model
from mhex_nlp import MhexExplainer, ScoredText, compare_explanations

TEXT = "the film was good and the plot was very good"


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model()


def probabilities(model: Any, texts: Any) -> Any:
    with torch.no_grad():
        batch = TOKENIZER([str(text) for text in texts], padding=True, truncation=True, return_tensors="pt")
        logits = model(**batch).logits
    return logits.softmax(-1).numpy()


@pytest.mark.slow  # shap compiles
def test_shap_of_a_model(model: Any) -> None:
    shap = pytest.importorskip("shap")
    masker = shap.maskers.Text(TOKENIZER)
    explain = shap.Explainer(lambda texts: probabilities(model, texts), masker, output_names=["bad", "fair", "good"])
    values = explain([TEXT], max_evals=50, silent=True)
    scored = ScoredText.from_shap(values[0], output="good")
    assert scored.text == TEXT and scored.target == "good"
    assert scored.sum == pytest.approx(float(values[0].values[:, 2].sum()))
    words = {TEXT[span.start : span.end]: span.score for span in scored.spans if not span.special}
    assert set(words) == set(TEXT.split())
    with pytest.raises(ValueError, match=r"output must name one of 3 outputs, of \['bad', 'fair', 'good'\], got None"):
        ScoredText.from_shap(values[0])
    with pytest.raises(ValueError, match="must be of one text"):
        ScoredText.from_shap(values, output=0)
    compare_explanations([MhexExplainer(model, TOKENIZER)(TEXT), scored])


def test_shap_there_and_back(model: Any) -> None:
    pytest.importorskip("shap")
    one = MhexExplainer(model, TOKENIZER)(TEXT)
    scored = ScoredText.from_shap(one.to_shap(), TEXT, name="mine", target="good")
    back = [(span.start, span.end, span.score) for span in scored.spans if not span.special]
    assert back == [(word.start, word.end, pytest.approx(word.score)) for word in one.words()]
    assert scored.sum == pytest.approx(one.sum, abs=1e-5) and scored.name == "mine" and scored.target == "good"
    with pytest.raises(ValueError, match=r"data\[1\] must stand in the text behind the pieces before it"):
        ScoredText.from_shap(one.to_shap(), "lovely")
    with pytest.raises(TypeError, match="must be a shap.Explanation, got list"):
        ScoredText.from_shap([1.0])


def test_captum_of_a_model(model: Any) -> None:
    attr = pytest.importorskip("captum.attr")
    encoding = TOKENIZER(TEXT, return_tensors="pt")

    def logit(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return model(input_ids=input_ids, attention_mask=attention_mask).logits[:, 2]

    method = attr.LayerIntegratedGradients(logit, model.get_input_embeddings())
    values = method.attribute(encoding["input_ids"], additional_forward_args=(encoding["attention_mask"],), n_steps=4)
    scored = ScoredText.from_captum(TEXT, values, encoding, target="good")
    assert scored.sum == pytest.approx(float(values.sum()), abs=1e-5)
    assert [span.special for span in scored.spans].count(True) == 2
    assert TEXT[scored.spans[1].start : scored.spans[1].end] == "the"


@pytest.mark.parametrize("shape", [(12,), (1, 12), (12, 4), (1, 12, 4)])
def test_captum_shapes(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    scored = ScoredText.from_captum(TEXT, values, TOKENIZER(TEXT))
    assert len(scored.spans) == 12 and scored.sum == values.sum()
    assert scored.spans[3].score == (3 if 4 not in shape else 12 + 13 + 14 + 15)


def test_what_captums_reader_refuses() -> None:
    with pytest.raises(ValueError, match=r"attributions must be of the 12 tokens of one text, got shape \(2, 12, 4\)"):
        ScoredText.from_captum(TEXT, np.zeros((2, 12, 4)), TOKENIZER(TEXT))
    with pytest.raises(TypeError, match="encoding must be what a fast tokenizer returned"):
        ScoredText.from_captum(TEXT, np.zeros(12), {"input_ids": [1]})
    with pytest.raises(ValueError, match="encoding must be of one text, got 2"):
        ScoredText.from_captum(TEXT, np.zeros(12), TOKENIZER([TEXT, TEXT]))


@pytest.mark.parametrize("bow", [True, False])
def test_lime_of_a_model(model: Any, bow: bool) -> None:
    lime_text = pytest.importorskip("lime.lime_text")
    explain = lime_text.LimeTextExplainer(class_names=["bad", "fair", "good"], bow=bow, random_state=0)
    result = explain.explain_instance(TEXT, lambda texts: probabilities(model, texts), labels=(0, 2), num_samples=50)
    scored = ScoredText.from_lime(result, label=2)
    assert scored.text == TEXT and scored.target == "good"
    assert scored.sum == pytest.approx(sum(weight for _, weight in result.as_map()[2]))
    goods = [span.score for span in scored.spans if TEXT[span.start : span.end] == "good"]
    assert len(goods) == 2 and (goods[0] == goods[1]) is bow
    with pytest.raises(ValueError, match=r"label must be one of \[0, 2\], which were explained, got None"):
        ScoredText.from_lime(result)


def test_what_limes_reader_refuses() -> None:
    with pytest.raises(TypeError, match="must be of a LimeTextExplainer, got dict"):
        ScoredText.from_lime({})
