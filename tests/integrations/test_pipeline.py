# SPDX-License-Identifier: Apache-2.0
"""`pipeline("text-explanation")`: what the explainer says, however texts come."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import Dataset
from transformers import AutoTokenizer, pipeline
from transformers.pipelines.pt_utils import KeyDataset, KeyPairDataset

import mhex_nlp.integrations.pipeline
from helpers.placed import TOKENIZER, fitted, placed_model
from helpers.tiny import tiny_bert, tiny_dataset, tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import AutoMhexModelForSequenceClassification, Explanation, MhexExplainer

TEXTS = tiny_texts(11)[0]


@pytest.fixture(scope="module")
def explain(saved_explainer):
    return pipeline("text-explanation", model=str(saved_explainer[1]))


def as_texts(explanations):
    return [(one.id, one.text, *one.scores.round(4)) for one in explanations]


def test_from_a_path_and_from_an_instance(saved_explainer, explain):
    explainer, folder = saved_explainer
    model = AutoMhexModelForSequenceClassification.from_pretrained(folder)
    other = pipeline("text-explanation", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    right = explainer(TEXTS[0])
    plain = explain(TEXTS[0])
    assert plain == other(TEXTS[0]) == json.loads(json.dumps(plain))
    assert plain["label"] == plain["target"] == right.label and plain["score"] == right.probability
    words = [{"word": w.text, "start": w.start, "end": w.end, "score": w.score} for w in right.words()]
    assert plain["words"] == words and plain["notes"] == list(right.notes)
    assert (plain["sum"], plain["base_value"]) == (right.sum, right.base_value)


def test_every_way_in_gives_the_same(saved_explainer, explain):
    dataset = Dataset.from_dict({"text": TEXTS})
    right = as_texts(saved_explainer[0](TEXTS))
    ways = [TEXTS, tuple(TEXTS), dataset["text"], KeyDataset(dataset, "text"), (t for t in TEXTS), iter(TEXTS)]
    for way in ways:
        for size in (1, 4):
            way = (t for t in TEXTS) if not hasattr(way, "__len__") else way
            results = explain(way, batch_size=size, return_explanation=True)
            assert as_texts(results) == right
    assert as_texts(explain(TEXTS, batch_size=4, num_workers=1, return_explanation=True)) == right
    assert len(explain(KeyDataset(dataset, "text"))) == 11 and isinstance(explain(TEXTS), list) and explain([]) == []


def test_streams_are_read_as_results_are_asked_for(explain):
    taken = []

    def texts():
        for text in TEXTS:
            taken.append(text)
            yield text

    results = iter(explain(texts(), batch_size=3))
    assert len(taken) <= 1  # which transformers looks at
    next(results)
    assert len(taken) == 3


def test_batches_reach_the_model_together(explain, monkeypatch):
    sizes, original = [], MhexExplainer.__call__

    def counted(self, texts, *pairs, **options):
        sizes.append(len(texts))
        return original(self, texts, *pairs, **options)

    monkeypatch.setattr(MhexExplainer, "__call__", counted)
    explain(TEXTS, batch_size=4)
    assert sizes == [0, 4, 4, 3]  # the first looks at the options


def test_pairs(saved_explainer, explain):
    dataset = Dataset.from_dict({"a": ["good film", "bad"], "b": ["fine plot", "the music"]})
    right = saved_explainer[0](["good film", "bad"], ["fine plot", "the music"])
    results = list(explain(KeyPairDataset(dataset, "a", "b"), batch_size=2))
    scores = [one["score"] for one in results[0]["words"]]
    np.testing.assert_allclose(scores, [word.score for word in right[0].words()], atol=1e-5)
    assert [one["sequence"] for one in results[0]["words"]] == [0, 0, 1, 1]
    assert explain({"text": "bad", "text_pair": "the music"})["sum"] == pytest.approx(right[1].sum, abs=1e-5)
    with pytest.raises(ValueError, match="text_pair"):
        explain(["good", {"text": "bad", "text_pair": "the music"}], batch_size=2)


def test_options_at_the_start_and_in_a_call(saved_explainer):
    explainer, folder = saved_explainer
    first = pipeline("text-explanation", model=str(folder), top_k=2, target="negative", stride=4, max_length=12)
    assert (first.explainer.stride, first.explainer.max_length) == (4, 12)
    text = " ".join(["the film was good"] * 5)
    assert first(text, return_explanation=True).windows > 1
    short, whole = first(TEXTS[1]), first(TEXTS[1], top_k=None, unit="tokens")
    assert short["target"] == "negative" and len(short["words"]) == 2
    strongest = sorted((w.score for w in explainer(TEXTS[1], target="negative").words()), key=abs)[-2:]
    assert sorted(one["score"] for one in short["words"]) == pytest.approx(sorted(strongest), abs=1e-5)
    assert [one["start"] for one in short["words"]] == sorted(one["start"] for one in short["words"])
    assert len(whole["tokens"]) > 2
    classes = first(TEXTS[1], classes="all", foil="positive", budget=4)
    assert classes["foil"] == "positive" and classes["words"][0]["error"] >= 0
    assert classes["words"][0]["scores"].keys() == {"negative", "positive"}
    assert first(TEXTS[1], layers=True, return_explanation=True).layer_scores.ndim == 2


def test_every_predicted_label_of_a_multi_label_model():
    model = tiny_mhex(gate=False, problem_type="multi_label_classification").eval()
    with pytest.raises(ValueError, match="never trained"):
        pipeline("text-explanation", model=model, tokenizer=tiny_tokenizer())
    for head in model.mhex:
        for parameter in head.parameters():
            parameter.data.add_(0.1)
    explain = pipeline("text-explanation", model=model, tokenizer=tiny_tokenizer(), target="predicted")
    results = explain(TEXTS[:2], batch_size=2)
    assert all(isinstance(one, list) and one[0]["target"] for one in results)


def test_entities_and_answers(tmp_path):
    model = fitted(placed_model("token"))
    model.save_pretrained(tmp_path / "entities")
    TOKENIZER.save_pretrained(tmp_path / "entities")
    explain = pipeline("text-explanation", model=str(tmp_path / "entities"), budget=0)
    right = explain.explainer(TEXTS[0], budget=0)
    entities = explain([TEXTS[0]])[0]["entities"]
    assert entities
    assert [(one["word"], one["start"]) for one in entities] == [(one.place.text, one.place.start) for one in right]
    answers = pipeline("text-explanation", model=fitted(placed_model("answer")), tokenizer=TOKENIZER, budget=0)
    answer = answers({"question": "was it good", "context": "the film was superb"})
    assert answer["word"] in "the film was superb" and answer["target"] == "answer"
    assert len(answers([{"question": "was it good", "context": "the film was superb"}] * 3, batch_size=2)) == 3


def test_what_is_saved_is_loaded_again(explain, tmp_path):
    explain.save_pretrained(tmp_path)
    assert not hasattr(explain.model.config, "custom_pipelines") and not (tmp_path / "pipeline.py").exists()
    assert pipeline("text-explanation", model=str(tmp_path))(TEXTS[0]) == explain(TEXTS[0])


@pytest.mark.parametrize(
    ("inputs", "options", "error", "sentence"),
    [
        (None, {}, TypeError, "text must be a string, got None"),
        ([TEXTS[0], 3], {}, TypeError, "text must be a string, got 3"),
        ([[TEXTS[0], TEXTS[1]]], {}, TypeError, "text must be a string, got"),
        ("", {}, ValueError, "text must hold at least one character that is not whitespace"),
        ({"text": "a", "pair": "b"}, {}, TypeError, r"a dict with text and text_pair, got one with \['pair', 'text'\]"),
        (tiny_dataset(2), {}, TypeError, r"inputs must be texts, got a Dataset of rows: KeyDataset\(dataset, 'text'\)"),
        (TEXTS, {"colour": 1}, TypeError, "options of the pipeline must be some of .*, got 'colour'"),
        (TEXTS, {"top_k": 0}, ValueError, "top_k must be an integer of at least 1"),
        (TEXTS, {"unit": "lines"}, ValueError, "unit must be 'words' or 'tokens', got 'lines'"),
        (TEXTS, {"target": "x"}, ValueError, "target must be a class of the model, got 'x'"),
        ((t for t in TEXTS), {"target": "x"}, ValueError, "target must be a class of the model, got 'x'"),
        (TEXTS, {"layers": True}, ValueError, "layers=True needs return_explanation=True"),
        (TEXTS, {"flip": True}, ValueError, "flip=True needs return_explanation=True"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_wrong_is_said_in_one_sentence_before_a_text_is_read(explain, inputs, options, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        explain(inputs, **options)
    assert "\n" not in str(raised.value)


def test_a_model_without_heads_is_refused():
    with pytest.raises(ValueError, match=r"get_mhex_model\(model\) gives it some"):
        pipeline("text-explanation", model=tiny_bert().eval(), tokenizer=tiny_tokenizer())


def test_results_are_objects_on_request(explain):
    assert isinstance(explain(TEXTS[0], return_explanation=True), Explanation)
    assert mhex_nlp.integrations.pipeline.TASK == "text-explanation"
