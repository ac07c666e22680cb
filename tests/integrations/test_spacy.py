# SPDX-License-Identifier: Apache-2.0
"""The spaCy component: scores on Docs, batches, everything that saves a Doc or a pipeline, bad input."""

from __future__ import annotations

import math
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import spacy
import srsly
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy import displacy
from spacy.tokens import Doc, DocBin, Token
from spacy.util import ignore_error, raise_error
from spacy.vocab import Vocab

from helpers.families import train_heads
from helpers.tiny import save_checkpoint, tiny_bert, tiny_mhex, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, get_mhex_model
from mhex_nlp.integrations.spacy import MhexComponent, displacy_options, register_extensions, to_doc
from mhex_nlp.render.highlight import highlight
from mhex_nlp.render.palette import light_palette

TEXTS = [
    "the film was good",
    "",
    "  a very bad plot,\n\nand dull acting -- it wasn't superb . ",
    " \n",
    "lovely",
]


@pytest.fixture(scope="module")
def explainer():
    return MhexExplainer(train_heads(tiny_mhex(gate=False).eval()), tiny_tokenizer())


@pytest.fixture(scope="module")
def folder(explainer, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny-model"
    explainer.model.save_pretrained(path)
    explainer.tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def nlp(folder):
    pipeline = spacy.blank("en")
    pipeline.add_pipe("mhex", config={"model": str(folder), "top_k": None})
    return pipeline


def same(doc: Doc, other: Doc) -> bool:
    return (
        doc._.mhex == other._.mhex
        and [token._.mhex for token in doc] == [token._.mhex for token in other]
        and [(s.start, s.end, s.label_) for s in doc.spans["mhex"]]
        == [(s.start, s.end, s.label_) for s in other.spans["mhex"]]
        and doc.cats == other.cats
    )


def test_spacy_starts_without_torch_and_transformers():
    """thinc imports torch where it finds it, so both are made impossible to import: spaCy must start all the same."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "import spacy; nlp = spacy.blank('en'); assert nlp.has_factory('mhex')\n"
        "import mhex_nlp.integrations.spacy; assert 'mhex_nlp.explain.explainer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_set(nlp, explainer):
    doc = nlp(TEXTS[2])
    e = doc._.mhex
    assert isinstance(e, Explanation) and e.text == doc.text == TEXTS[2]
    assert e.scores == pytest.approx(explainer(TEXTS[2]).scores) and e.model.name == "tiny-model"
    assert doc.cats == e.prediction.probabilities and sum(doc.cats.values()) == pytest.approx(1)
    for token in doc:  # a spaCy token has the scores of those whose first character it holds
        held = range(token.idx, token.idx + len(token))
        expected = [piece.score for piece in e.tokens if piece.start is not None and piece.start in held]
        assert token._.mhex == pytest.approx(math.fsum(expected), abs=1e-9)
    assert doc[2:6]._.mhex == pytest.approx(sum(token._.mhex for token in doc[2:6]))
    assert doc[3:3]._.mhex == 0
    spans = doc.spans["mhex"]
    assert {span.text for span in spans} >= {"bad", "dull", "n't"} and not any(span.text.isspace() for span in spans)
    assert all(float(span.label_) == pytest.approx(span._.mhex, rel=0.06) for span in spans)
    assert {span.label_[0] for span in spans} == {"+", "-"}


def test_sums_stay_whole_when_tokens_are_merged_or_split(nlp):
    doc = nlp(TEXTS[0])
    before = [token._.mhex for token in doc]
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[1:3])
    with doc.retokenize() as retokenizer:
        retokenizer.split(doc[2], ["go", "od"], heads=[doc[1], doc[1]])
    assert [token._.mhex for token in doc] == pytest.approx([before[0], before[1] + before[2], before[3], 0])
    assert doc[1:3].as_doc(copy_user_data=True)._.mhex is None  # an explanation of another text is not about this text


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["good", "bad", "film", "isn't", "日本", "e\u0301", " ", "\n", "\t ", "🙂", "U.K.", "-"]))
)
def test_no_score_is_lost(nlp, parts):
    doc = nlp("".join(parts))
    e = doc._.mhex
    if not doc.text.strip():
        assert e is None and len(doc.spans["mhex"]) == 0 and all(token._.mhex is None for token in doc)
        return
    special = math.fsum(token.score for token in e.tokens if token.special)
    assert math.fsum(token._.mhex for token in doc) + special == pytest.approx(e.sum, abs=1e-5)
    assert doc[:]._.mhex + special == pytest.approx(e.sum, abs=1e-5)
    assert math.fsum(span._.mhex for span in doc.spans["mhex"]) + special == pytest.approx(e.sum, abs=1e-5)


def test_batches_keep_order_and_empty_docs(nlp):
    docs = list(nlp.pipe([*TEXTS, *TEXTS], batch_size=3))
    assert [doc.text for doc in docs] == [*TEXTS, *TEXTS]
    assert [doc._.mhex is None for doc in docs] == [not text.strip() for text in [*TEXTS, *TEXTS]]
    for doc in docs[:5]:
        if doc._.mhex is not None:
            alone = nlp(doc.text)._.mhex
            assert doc._.mhex.scores == pytest.approx(alone.scores, abs=1e-5) and doc._.mhex.id == alone.id


def test_only_the_doc_that_fails_goes_to_the_error_handler(nlp, monkeypatch):
    """Of a tokenizer that makes no token of a text; the others of its batch are explained."""
    component, plain = nlp.get_pipe("mhex"), MhexExplainer.__call__

    def refuse(self, texts, **options):
        if "nothing" in texts:
            raise ValueError("text has no token the tokenizer knows")
        return plain(self, texts, **options)

    monkeypatch.setattr(MhexExplainer, "__call__", refuse)
    with pytest.raises(ValueError, match="no token"):
        list(nlp.pipe(["good", "nothing", "bad"]))
    failed = []
    component.set_error_handler(lambda name, proc, docs, error: failed.append((name, [doc.text for doc in docs])))
    try:
        assert [doc.text for doc in nlp.pipe(["good", "nothing", "bad"])] == ["good", "bad"]
    finally:
        del component.error_handler
    assert failed == [("mhex", ["nothing"])]


def test_a_doc_without_a_token_is_named_and_need_not_stop_the_pipe(nlp):
    texts = ["good", "bad", "a film", "\u200b", "lovely"]
    with pytest.raises(ValueError, match=r"^Doc 3 \(counted from 0\), '\\u200b': text.* has no token"):
        list(nlp.pipe(texts, batch_size=2))
    errors = []
    nlp.set_error_handler(lambda name, proc, docs, error: errors.append(str(error)))
    try:
        assert [doc.text for doc in nlp.pipe(texts, batch_size=2)] == ["good", "bad", "a film", "lovely"]
    finally:
        nlp.set_error_handler(raise_error)
    assert len(errors) == 1 and errors[0].startswith("Doc 3 (counted from 0), '\\u200b': ")


def test_docs_survive_being_saved(nlp):
    docs = list(nlp.pipe([TEXTS[0], TEXTS[2]]))
    bins = DocBin(store_user_data=True, docs=docs).to_bytes()
    for doc, binned in zip(docs, DocBin().from_bytes(bins).get_docs(Vocab()), strict=True):
        assert same(doc, binned)
        assert same(doc, Doc(Vocab()).from_bytes(doc.to_bytes()))
        assert same(doc, pickle.loads(pickle.dumps(doc)))


def test_a_saved_pipeline_carries_its_model(folder, tmp_path):
    """Loaded where the model's own folder is gone; and a wrong path is still an error there."""
    moved = shutil.copytree(folder, tmp_path / "tiny-model")
    nlp = spacy.blank("en")
    options = {"target": "negative", "classes": "all", "top_k": 2, "batch_tokens": 100, "aggregation": "last"}
    nlp.add_pipe("mhex", config={"model": str(moved), **options})
    doc = nlp(TEXTS[2])
    assert len(doc.spans["mhex"]) == 2 and doc._.mhex.target.label == "negative" and doc._.mhex.classes
    strongest = sorted((abs(token._.mhex) for token in doc), reverse=True)[:2]
    assert sorted((abs(s._.mhex) for s in doc.spans["mhex"]), reverse=True) == pytest.approx(strongest)
    nlp.to_disk(tmp_path / "pipeline")
    data, pickled, config, meta = nlp.to_bytes(), pickle.dumps(nlp), nlp.config, nlp.meta
    shutil.rmtree(moved)
    loaded = [
        spacy.load(tmp_path / "pipeline"),
        spacy.blank("en").from_config(config, meta=meta).from_bytes(data),
        pickle.loads(pickled),
    ]
    for pipeline in loaded:
        assert same(doc, pipeline(TEXTS[2]))  # the model's name too
        assert pipeline.get_pipe("mhex").labels == ("negative", "positive")
    for pipeline in (nlp, loaded[0]):
        with pytest.raises(ValueError, match="model must be a folder or hub name .* no such folder"):
            pipeline.add_pipe("mhex", name="second", config={"model": str(moved)})


def test_an_explainer_in_code(explainer, tmp_path):
    windowed = MhexExplainer(explainer.model, explainer.tokenizer, aggregation="last", max_length=8, stride=2)
    nlp = spacy.blank("en")
    component = MhexComponent(nlp, windowed, target="positive")
    with pytest.raises(ValueError, match="has no model"):
        nlp.add_pipe("mhex", config={"model": None, "target": "positive"})(nlp.make_doc("good"))
    nlp.get_pipe("mhex").explainer = windowed
    doc = nlp(TEXTS[2])
    assert doc._.mhex.windows > 1 and same(doc, component(nlp.make_doc(TEXTS[2])))
    nlp.to_disk(tmp_path)  # its settings stand in no config
    again = spacy.load(tmp_path)(TEXTS[2])
    assert again._.mhex.windows == doc._.mhex.windows and again._.mhex.method == doc._.mhex.method
    assert [token._.mhex for token in again] == pytest.approx([token._.mhex for token in doc], abs=1e-6)


def test_one_component_a_pipeline(nlp, folder):
    """Two would write over each other."""
    with pytest.raises(ValueError, match="can hold one mhex component, .* got 'second' beside 'mhex'"):
        nlp.add_pipe("mhex", name="second", config={"model": str(folder)})
    assert nlp.pipe_names == ["mhex"]


def test_a_model_that_is_not_the_saved_one_warns(nlp, folder, tmp_path):
    nlp.to_disk(tmp_path / "pipeline")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spacy.load(tmp_path / "pipeline")
    other = shutil.copytree(folder, tmp_path / "other")
    with pytest.warns(UserWarning, match=f"explains the model that was saved .*{Path(folder).name}.* and not .*other"):
        spacy.load(tmp_path / "pipeline", config={"components.mhex.model": str(other)})


def test_a_missing_model_is_no_error_of_a_doc():
    nlp = spacy.blank("en")
    nlp.add_pipe("mhex", config={"model": None})
    nlp.set_error_handler(ignore_error)
    with pytest.raises(ValueError, match="has no model"):
        list(nlp.pipe(["good", "bad"]))


def test_regression_leaves_categories_alone():
    plain = tiny_bert(num_labels=1, problem_type="regression", id2label={0: "value"}, label2id={"value": 0})
    model = train_heads(get_mhex_model(plain.eval(), MhexConfig(gate=False)))
    nlp = spacy.blank("en")
    doc = nlp.make_doc("the film was good")
    doc.cats = {"known": 1.0}
    MhexComponent(nlp, MhexExplainer(model, tiny_tokenizer()))(doc)
    assert doc.cats == {"known": 1.0} and isinstance(doc._.mhex.prediction.value, float)


def test_displacy_shows_both_signs(nlp):
    doc = nlp(TEXTS[2])
    html = displacy.render(doc, style="span", options=displacy_options(doc), jupyter=False)
    labels = {span.label_ for span in doc.spans["mhex"]}
    assert {label[0] for label in labels} == {"+", "-"} and all(label in html for label in labels)
    colors = displacy_options(doc)["colors"]
    assert all(color in html for color in colors.values()) and "#ddd" not in html
    by_score = sorted(labels, key=float)
    palette = light_palette()
    deepest = max(abs(segment.level) for segment in highlight(doc._.mhex.to_dict()).segments)
    strongest = max(by_score[0], by_score[-1], key=lambda label: abs(float(label)))
    depths = [
        palette[f"{'n' if float(strongest) < 0 else 'p'}{level}"]
        for level in (deepest - 1, deepest, deepest + 1)
        if 1 <= level <= 10
    ]
    assert colors[strongest] in depths, "as deep as on a page, but for two digits and spaCy's words"
    for label in labels:
        assert colors[label] in [palette[f"{'n' if float(label) < 0 else 'p'}{level}"] for level in range(1, 11)]


def test_the_eight_strongest_are_shown_by_default(nlp, explainer):
    doc, of_all = MhexComponent(nlp, explainer)(nlp.make_doc(TEXTS[2])), nlp(TEXTS[2])
    sizes = sorted((abs(token._.mhex) for token in of_all), reverse=True)
    assert len(doc.spans["mhex"]) == 8 < len(of_all.spans["mhex"])
    assert min(abs(span._.mhex) for span in doc.spans["mhex"]) == pytest.approx(sizes[7])
    assert [token._.mhex for token in doc] == pytest.approx([token._.mhex for token in of_all])


def test_to_doc(nlp, explainer):
    e = explainer(TEXTS[2])
    assert same(to_doc(e, spacy.blank("en")), MhexComponent(nlp, explainer)(nlp.make_doc(TEXTS[2])))
    pair = explainer("the film was good", text_pair="good good, dull")
    halves = {half: to_doc(pair, nlp, half) for half in ("text", "text_pair")}
    assert {half: doc.text for half, doc in halves.items()} == {"text": pair.text, "text_pair": pair.text_pair}
    special = math.fsum(token.score for token in pair.tokens if token.special)
    assert sum(doc[:]._.mhex for doc in halves.values()) + special == pytest.approx(pair.sum, abs=1e-5)
    restored = Doc(Vocab()).from_bytes(halves["text_pair"].to_bytes())
    assert restored._.mhex == pair and same(restored, halves["text_pair"])


def test_bad_input_of_to_doc(nlp, explainer):
    pair, single = explainer("good", text_pair="bad"), explainer("good")
    with pytest.raises(ValueError, match="pair of texts .* half='text' or half='text_pair'"):
        to_doc(pair, nlp)
    with pytest.raises(ValueError, match="got one of a single text"):
        to_doc(single, nlp, "text_pair")
    with pytest.raises(ValueError, match="half must be"):
        to_doc(pair, nlp, "premise")
    with pytest.raises(TypeError, match="must be an Explanation, got dict"):
        to_doc(single.to_dict(), nlp)
    with pytest.raises(TypeError, match="nlp must be a spaCy pipeline with a tokenizer, got str"):
        to_doc(single, "en")
    wrong = spacy.blank("en")
    wrong.tokenizer = lambda text: Doc(wrong.vocab, words=text.split())
    with pytest.raises(ValueError, match="keeps the text"):
        to_doc(single, wrong)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"modle": "x"}, "modle"),
        ({}, "model"),
        ({"model": "/no/such/folder"}, "model must be a folder or hub name .* no such folder"),
        ({"model": "FOLDER", "target": "neutral"}, "target must be a class of the model"),
        ({"model": "FOLDER", "aggregation": "best"}, "aggregation must be one of"),
        ({"model": "FOLDER", "dtype": "int8"}, "dtype must be"),
        ({"model": "FOLDER", "top_k": -1}, "top_k must be"),
        ({"model": "FOLDER", "language": "q"}, "language 'q' is not known"),
        ({"model": "PLAIN"}, "never trained"),
    ],
)
def test_a_bad_config_is_an_error_at_add_pipe(folder, tmp_path, config, message):
    places = {"FOLDER": str(folder), "PLAIN": str(tmp_path)}
    if config.get("model") == "PLAIN":
        save_checkpoint(tmp_path)
    config = {key: places.get(value, value) for key, value in config.items()}
    with pytest.raises(ValueError, match=message):
        spacy.blank("en").add_pipe("mhex", config=config)


def test_a_language_that_spacy_lacks_a_package_for(folder, monkeypatch):
    def lacking(language):
        raise ImportError("Japanese support requires SudachiPy")

    monkeypatch.setattr("mhex_nlp.integrations.spacy_component.check_language", lacking)
    with pytest.raises(ValueError, match="language must be one whose tokenizer spaCy can make, got 'ja': .*SudachiPy"):
        spacy.blank("en").add_pipe("mhex", config={"model": str(folder), "language": "ja"})


def test_an_extension_name_that_is_taken(nlp):
    Token.set_extension("mhex", default=None, force=True)
    try:
        with pytest.raises(ValueError, match="Token._.mhex is needed .* other code"):
            register_extensions()
    finally:
        Token.remove_extension("mhex")
    register_extensions()
    assert nlp("good")[0]._.mhex is not None


def test_bad_input_of_the_component(tmp_path):
    with pytest.raises(TypeError, match="nlp must be a spaCy pipeline"):
        MhexComponent("en", None)
    with pytest.raises(TypeError, match="explainer must be a MhexExplainer or a MhexEntityExplainer, got str"):
        MhexComponent(spacy.blank("en"), "model")
    with pytest.raises(ValueError, match="path must be a folder that the mhex component wrote"):
        MhexComponent(spacy.blank("en"), None).from_disk(tmp_path)
    whole = '{"model": null, "name": "a", "revision": null, "settings": {}}'
    for about in ("{", "[" * 9000, "[]", "{}", whole.replace('"a"', "1"), whole.replace("{}", '{"x": 1}')):
        (tmp_path / "mhex.json").write_text(about)
        with pytest.raises(ValueError, match="path must be a folder that the mhex component wrote, got .*mhex.json"):
            MhexComponent(spacy.blank("en"), None).from_disk(tmp_path)


@pytest.mark.parametrize("data", [b"junk", srsly.msgpack_dumps({"../outside": b""}), srsly.msgpack_dumps([1])])
def test_bytes_of_something_else_are_refused(data):
    with pytest.raises(ValueError, match="bytes must be those that the mhex component wrote"):
        MhexComponent(spacy.blank("en"), None).from_bytes(data)


def test_entities_on_docs(tmp_path):
    """Each entity of a Doc has its explanation, also when the Doc was saved and read again."""
    from helpers.placed import TEXT, TOKENIZER, fitted, placed_model
    from mhex_nlp.explain.entities import MhexEntityExplainer

    explainer, pipeline = MhexEntityExplainer(fitted(placed_model("token")), TOKENIZER), spacy.blank("en")
    pipeline.add_pipe("mhex", config={"model": None}).explainer = explainer
    doc, whole = pipeline(TEXT), explainer(TEXT)
    assert [(ent.text, ent.label_) for ent in doc.ents] == [(one.place.text, one.place.label) for one in whole]
    assert [ent._.mhex.place for ent in doc.ents] == [one.place for one in whole] and len(doc._.mhex) == len(whole)
    again = Doc(pipeline.vocab).from_bytes(doc.to_bytes())
    assert [ent._.mhex for ent in again.ents] == [ent._.mhex for ent in doc.ents]
    assert len(list(pipeline.pipe([TEXT, " ", "film"]))) == 3
    pipeline.to_disk(tmp_path / "pipeline")
    read = spacy.load(tmp_path / "pipeline")
    assert [ent.label_ for ent in read(TEXT).ents] == [ent.label_ for ent in doc.ents]
