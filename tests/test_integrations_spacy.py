# SPDX-License-Identifier: Apache-2.0
"""The spaCy component: what it puts on Docs, that sums are kept, and that pipelines and Docs survive being saved."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import spacy
from families import train_heads
from hypothesis import given, settings
from hypothesis import strategies as st
from render_examples import PAIR
from spacy import displacy
from spacy.tokens import Doc, DocBin
from tiny import tiny_bert, tiny_texts, tiny_tokenizer

from mhex_nlp import Explanation, MhexExplainer, get_mhex_model
from mhex_nlp.integrations.spacy import MhexComponent, displacy_colors, to_doc


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    train_heads(get_mhex_model(tiny_bert(num_labels=2, id2label={0: "bad", 1: "good"}).eval())).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def explainer(folder):
    return MhexExplainer.from_pretrained(folder)


@pytest.fixture(scope="module")
def nlp(folder):
    made = spacy.blank("en")
    made.add_pipe("mhex", config={"model": folder})
    return made


TEXT = "the film was\n good , very good !"


def test_a_doc_has_what_the_explainer_says(nlp, explainer):
    doc, e = nlp(TEXT), explainer(TEXT)
    assert isinstance(doc._.mhex, Explanation) and doc._.mhex.to_dict() == e.to_dict()
    assert doc.cats == e.prediction.probabilities
    words = {(word.start, word.end): word.score for word in e.words()}
    for token in doc:
        expected = words.get((token.idx, token.idx + len(token)), 0.0)
        assert token._.mhex == pytest.approx(expected, abs=1e-7), token
    assert doc[2:6]._.mhex == pytest.approx(sum(token._.mhex for token in doc[2:6]))


def test_spans_show_signs_and_sizes(nlp):
    doc = nlp(TEXT)
    spans = doc.spans["mhex"]
    largest = max(abs(token._.mhex) for token in doc)
    assert len(spans) > 3 and not any(span.text.isspace() for span in spans)
    for span in spans:
        assert int(span.label_) == pytest.approx(10 * span._.mhex / largest, abs=0.5 + 1e-6)
    assert {int(span.label_) > 0 for span in spans} == {True, False}
    html = displacy.render(doc, style="span", options={"spans_key": "mhex", "colors": displacy_colors()}, jupyter=False)
    for span in spans:
        assert span.label_ in html and displacy_colors()[span.label_] in html


@given(st.text(alphabet="aé ç\u0301.,!\n\t好 \U0001f600\u200d'-", min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_sums_are_kept_whatever_the_text(text):
    e = _EXPLAINER[0](f"good {text}")
    for language in ("en", "xx", "zh"):
        doc = to_doc(e, _BLANK[language])
        special = sum(token.score for token in e.tokens if token.special)
        assert sum(token._.mhex for token in doc) + special == pytest.approx(e.sum, abs=1e-5)


_EXPLAINER: list[MhexExplainer] = []
_BLANK = {language: spacy.blank(language) for language in ("en", "xx", "zh")}


@pytest.fixture(scope="module", autouse=True)
def _known(explainer):
    _EXPLAINER.append(explainer)
    yield
    _EXPLAINER.clear()


def test_pipe_keeps_the_order_and_passes_empty_docs(nlp, explainer):
    texts = [*tiny_texts(9)[0], "", "  \n"]
    docs = list(nlp.pipe([(text, index) for index, text in enumerate(texts)], as_tuples=True, batch_size=4))
    assert [index for _, index in docs] == list(range(len(texts)))
    for (doc, _), text in zip(docs, texts, strict=True):
        assert doc.text == text and (doc._.mhex is None) == (not text.strip())
    assert not docs[-1][0].cats and "mhex" not in docs[-1][0].spans and [t._.mhex for t in docs[-1][0]] == [0.0]
    assert [doc._.mhex.sum for doc, _ in docs[:9]] == pytest.approx([e.sum for e in explainer(texts[:9])], abs=1e-5)


def test_words_and_spaces_make_the_text(nlp, explainer):
    doc = nlp(Doc(nlp.vocab, words=["good", "film", "!"], spaces=[True, False, False]))
    assert doc._.mhex.text == "good film!" and doc._.mhex.sum == pytest.approx(explainer("good film!").sum, abs=1e-6)


def test_errors_go_to_the_error_handler(folder):
    nlp = spacy.blank("en")
    nlp.add_pipe("mhex", config={"model": folder})
    texts = ["good film", "\u0301", "very awful plot"]  # the tokenizer makes nothing of the second
    with pytest.raises(ValueError, match="has no token the tokenizer knows"):
        list(nlp.pipe(texts))
    seen = []
    nlp.set_error_handler(lambda name, component, docs, error: seen.append((name, docs[0].text, str(error))))
    assert [doc.text for doc in nlp.pipe(texts)] == [texts[0], texts[2]]
    assert [each[:2] for each in seen] == [("mhex", texts[1])]


def test_docs_and_pipelines_survive_being_saved(nlp, folder, tmp_path):
    doc = nlp(TEXT)
    scores = [token._.mhex for token in doc]

    def same(other):
        assert [token._.mhex for token in other] == scores and other._.mhex == doc._.mhex and other.cats == doc.cats
        assert [(s.text, s.label_) for s in other.spans["mhex"]] == [(s.text, s.label_) for s in doc.spans["mhex"]]

    same(Doc(nlp.vocab).from_bytes(doc.to_bytes()))
    (kept,) = DocBin(docs=[doc], store_user_data=True).get_docs(nlp.vocab)
    assert [token._.mhex for token in kept] == scores

    moved = spacy.blank("en")
    moved.add_pipe("mhex", config={"model": folder, "aggregation": "last"}).call["layers"] = True
    moved.to_disk(tmp_path / "pipeline")
    config = (tmp_path / "pipeline" / "config.cfg").read_text().replace(folder, "/nowhere")
    (tmp_path / "pipeline" / "config.cfg").write_text(config)
    there = spacy.load(tmp_path / "pipeline")
    assert there(TEXT)._.mhex.method.aggregation == "last"
    assert [t._.mhex for t in there(TEXT)] == pytest.approx([t._.mhex for t in moved(TEXT)], abs=1e-6)
    again = spacy.blank("en")
    again.add_pipe("mhex")
    again.from_bytes(nlp.to_bytes())
    assert [token._.mhex for token in again(TEXT)] == pytest.approx(scores, abs=1e-6)
    component = pickle.loads(pickle.dumps(nlp.get_pipe("mhex")))
    assert component.explainer(TEXT).sum == pytest.approx(doc._.mhex.sum, abs=1e-6)


def test_to_doc_gives_what_the_component_gives(nlp, explainer):
    doc, made = nlp(TEXT), to_doc(explainer(TEXT), nlp)
    assert [(t.text, t._.mhex) for t in made] == [(t.text, t._.mhex) for t in doc] and made.cats == doc.cats
    with pytest.raises(TypeError, match="explanation must be an Explanation, got str"):
        to_doc("text", nlp)
    with pytest.raises(ValueError, match="must be of one text, got one of a pair"):
        to_doc(Explanation.from_dict(PAIR), nlp)
    with pytest.raises(ValueError, match="nlp must be a spaCy pipeline"):
        to_doc(explainer(TEXT), object())


def test_an_explainer_can_be_set(explainer):
    nlp = spacy.blank("xx")
    component = nlp.add_pipe("mhex")
    assert isinstance(component, MhexComponent)
    with pytest.raises(ValueError, match="'mhex' must have a model, got None"):
        nlp("good")
    with pytest.raises(TypeError, match="explainer must be a MhexExplainer, got str"):
        component.explainer = "model"
    component.explainer = explainer
    assert nlp("good film")._.mhex.to_dict() == explainer("good film").to_dict()


def test_bad_models_and_settings_are_told_at_once(tmp_path):
    nlp = spacy.blank("en")
    with pytest.raises(OSError, match="model must be a folder or hub name of a model with heads, got '/nowhere'"):
        nlp.add_pipe("mhex", config={"model": "/nowhere"})
    tiny_bert().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model must have trained MHEX heads, got .*, a plain bert"):
        nlp.add_pipe("mhex", config={"model": str(tmp_path)})
    with pytest.raises(ValueError, match="modle"):
        nlp.add_pipe("mhex", config={"modle": "x"})


def test_an_attribute_of_somebody_else_is_not_replaced(nlp, explainer):
    own = Doc.get_extension("mhex")
    Doc.remove_extension("mhex")
    Doc.set_extension("mhex", default=1)
    try:
        with pytest.raises(ValueError, match="Doc._.mhex must be free for mhex_nlp"):
            to_doc(explainer("good"), nlp)
    finally:
        Doc.remove_extension("mhex")
        Doc.set_extension("mhex", getter=own[2])


def test_a_blank_pipeline_stays_light():
    code = (
        "import sys, spacy; nlp = spacy.blank('en'); assert nlp.has_factory('mhex');"
        "heavy = {'transformers', 'datasets', 'accelerate', 'mhex_nlp.explainer', 'mhex_nlp.explanation'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
