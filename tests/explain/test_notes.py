# SPDX-License-Identifier: Apache-2.0
"""Notes with their codes, the two parts of the base value, every predicted label, lists as cards."""

from __future__ import annotations

import re

import jsonschema
import pytest
from pydantic import TypeAdapter

from helpers.families import train_heads
from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain.explanations import SHOWN, Explanations
from mhex_nlp.explain.json_form import explanation_schema
from mhex_nlp.explain.notes import AGAINST, LARGE_MISFIT, OUTWEIGHED

TOKENIZER = tiny_tokenizer()


def with_heads(**options):
    config = {"num_labels": 3, "dropout": 0.0, "initializer_range": 0.3, "id2label": None, "label2id": None}
    return get_mhex_model(tiny_bert(**config | options).eval(), MhexConfig(gate=False))


@pytest.fixture(scope="module")
def explainer():
    model = with_heads()
    fit_equivalent_matrices(model, TOKENIZER, texts(300), attainable_texts=0)
    return MhexExplainer(model, TOKENIZER)


@pytest.fixture(scope="module")
def labels_explainer():
    return MhexExplainer(train_heads(with_heads(problem_type="multi_label_classification", num_labels=5)), TOKENIZER)


def test_notes_say_how_words_and_base_value_stand_to_each_other(explainer):
    seen = set()
    for e in explainer(texts(150, seed=2)):
        codes = set(e.note_codes)
        assert len(e.note_codes) == len(e.notes)
        assert (AGAINST in codes) is (e.sum < 0)
        assert (OUTWEIGHED in codes) is (abs(e.base_value) > abs(e.sum) and e.sum >= 0)
        assert (LARGE_MISFIT in codes) is e.misfit_is_large
        seen |= codes
    assert {AGAINST, OUTWEIGHED, LARGE_MISFIT} <= seen
    assert not {AGAINST} & {
        code for e in explainer(texts(50, seed=3), target=0) if e.label != "LABEL_0" for code in e.note_codes
    }


def test_a_regression_has_no_base_value_that_is_too_large():
    model = train_heads(with_heads(num_labels=1, problem_type="regression"))
    for e in MhexExplainer(model, TOKENIZER)(texts(30)):
        assert not {AGAINST, OUTWEIGHED} & set(e.note_codes)
        assert "raises it" in e.to_html() and "Speaks" not in e.to_fragment()
    bare = MhexExplainer(model, TOKENIZER)("good film", layers=True)
    assert "that raise and lower it" in bare.to_html() and "lowers" in bare.to_latex()


def test_the_base_value_has_two_parts(explainer):
    e = explainer("good film")
    assert e.empty_value + e.misfit == pytest.approx(e.base_value)
    document = e.to_dict()
    jsonschema.validate(document, explanation_schema())
    assert document["empty_value"] == e.empty_value and Explanation.from_dict(document) == e
    earlier = {key: value for key, value in document.items() if key not in ("empty_value", "note_codes")}
    assert Explanation.from_dict(earlier).empty_value == pytest.approx(e.empty_value)
    assert "of it without any words" in e.to_html() and "of it missed by the scores" in e.to_html()
    refined = explainer("good film", budget=2)
    assert refined.empty_value == pytest.approx(refined.base_value, abs=1e-4), "measured"
    for changes, message in (
        ({"empty_value": 99.0}, "add up to base_value"),
        ({"note_codes": ["a"] * 9}, "one for each"),
    ):
        with pytest.raises(ValueError, match=message):
            Explanation.from_dict({**document, **changes})
    with pytest.raises(ValueError, match="given together"):
        Explanation.from_dict({key: value for key, value in document.items() if key != "misfit"})


def test_depths_have_their_own_numbers():
    model = with_heads()
    report = fit_equivalent_matrices(model, TOKENIZER, texts(60), attainable_texts=0)
    all_depths = report.depths
    report = fit_equivalent_matrices(model, TOKENIZER, texts(60), attainable_texts=0, max_features=100)
    e = MhexExplainer(model, TOKENIZER)("good film", layers=True)
    assert e.depths == tuple(report.depths) and len(e.depths) < len(all_depths)
    assert e.layer_scores.shape[1] == len(e.depths)
    html = e.to_html()
    assert re.findall(r"<title>depth (\d+):", html) == [str(depth) for depth in e.depths]
    assert f"depth {e.depths[0]} to {e.depths[-1]}" in html
    assert Explanation.from_json(e.to_json()) == e and e.depths and "depths" in e.to_dict()
    with pytest.raises(ValueError, match="one number for each"):
        Explanation.from_dict({**e.to_dict(), "depths": [1]})


def test_every_predicted_label_is_explained(labels_explainer):
    many = texts(30, seed=4)
    of_texts = labels_explainer(many, target="predicted")
    counts = set()
    for text, ones in zip(many, of_texts, strict=True):
        labels = ones[0].prediction.labels
        assert [one.target.label for one in ones] == list(labels or [ones[0].label])
        counts.add(len(labels))
        for one in ones[:2]:
            alone = labels_explainer(text, target=one.target.label)
            assert (
                one.scores == pytest.approx(alone.scores, abs=1e-5) and one.prediction.label == alone.prediction.label
            )
    assert len(counts) > 1
    assert [one.target for one in labels_explainer(many[0], target="predicted")] == [one.target for one in of_texts[0]]
    with pytest.raises(ValueError, match="budget must be a number"):
        labels_explainer(many[0], target="predicted", budget="auto")


def test_predicted_is_the_default_elsewhere(explainer):
    assert explainer("good film", target="predicted") == explainer("good film")
    with pytest.raises(ValueError, match="target must be a class"):
        explainer.request(target="predicted")


def test_a_list_displays_as_cards(explainer):
    ones = explainer(texts(SHOWN + 3))
    assert isinstance(ones, list) and type(ones[:2]) is Explanations and ones == list(ones)
    assert ones._repr_html_().count('class="c"') == SHOWN and "and 3 more" in ones._repr_html_()
    assert ones[:2].to_fragment().count("<style>") == 1 and Explanations()._repr_html_() is None
    assert ones.to_html().count("<article") == len(ones)
    assert ones[0].to_fragment() == ones[0]._repr_html_()


def test_a_tuple_of_two_is_said_to_be_two_texts(explainer):
    with pytest.warns(UserWarning, match="two texts: a pair is explainer"):
        assert len(explainer(("good film", "bad film"))) == 2


def test_a_web_framework_writes_the_json_form(explainer):
    e = explainer("good film")
    adapter = TypeAdapter(Explanation)
    assert adapter.dump_python(e, mode="json") == e.to_dict() and adapter.validate_json(e.to_json()) == e
    assert adapter.json_schema()
