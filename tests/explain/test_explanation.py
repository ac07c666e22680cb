# SPDX-License-Identifier: Apache-2.0
"""The result object and its JSON form: invariants, sums over words, round trips, schema, messages."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.explanations import METHOD, make
from mhex_nlp.corpus.jsonl import read_jsonl, write_jsonl
from mhex_nlp.explain.explanation import (
    ClassRef,
    Explanation,
    HeadsChoice,
    Method,
    ModelRef,
    Prediction,
    Token,
)
from mhex_nlp.explain.json_form import SCHEMA, explanation_schema, from_plain, to_plain
from mhex_nlp.inputs.segmentation import assign_to_spans, segment_words

VALIDATOR = jsonschema.Draft202012Validator(explanation_schema())


def replaced(index: int, **changes: Any) -> tuple[Token, ...]:
    tokens = list(make().tokens)
    tokens[index] = dataclasses.replace(tokens[index], **changes)
    return tuple(tokens)


KINDS: dict[str, Callable[[], Explanation]] = {
    "single label": make,
    "one text": lambda: make(text_pair=None),
    "empty text": lambda: make("", None),
    "whitespace": lambda: make("  \n ", ""),
    "classes and layers": lambda: make(classes=("neg", "pos"), depths=3),
    "foil": lambda: make(
        foil=ClassRef("neg", 0),
        method=Method("mhex", "model", "fitted", "foil", False, "mask", True, 0.44, 0.8),
        model=ModelRef("org/name", "0123abc"),
        notes=("The heads choose neg.",),
        heads=HeadsChoice("neg", 0, False),
        truncated=True,
        windows=3,
    ),
    "multi-label": lambda: make(
        prediction=Prediction("a", 0, 0.9, {"a": 0.9, "b": 0.6, "c": 0.1}, labels=("a", "b")), heads=None
    ),
    "regression": lambda: make(prediction=Prediction(None, None, None, None, value=2.5), heads=None),
    "two outputs": lambda: make(prediction=Prediction(None, None, None, None, value=(2.5, -1.0)), heads=None),
    "clamped": lambda: make(
        score=lambda i: max(0.0, (-1.0) ** i), sum=-2.0, method=dataclasses.replace(METHOD, non_negative=True)
    ),
    "surrogate": lambda: make("a \ud800 b", None),
    "line separators": lambda: make('a\u2028b\u0085c\r\n"d"\\ </script>\x00', None),
    "numpy numbers": lambda: make(score=lambda i: np.float32(i) / np.float32(3), base_value=np.float64(1), windows=1),
    "whole numbers": lambda: make(score=lambda i: i, base_value=1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_and_schema(kind: str) -> None:
    explanation = KINDS[kind]()
    source = explanation.to_json()
    source.encode()
    assert "\n" not in source
    VALIDATOR.validate(json.loads(source))
    again = Explanation.from_json(source)
    assert again.to_json() == source
    assert again == explanation
    assert Explanation.from_json(explanation.to_json(indent=2).encode()) == explanation
    assert pickle.loads(pickle.dumps(explanation)) == explanation
    assert Explanation.from_dict(explanation.to_dict()) == explanation


def test_json_form_is_the_one_agreed() -> None:
    document = make(classes=("neg", "pos"), depths=2).to_dict()
    assert list(document) == [
        "schema",
        "id",
        "text",
        "text_pair",
        "prediction",
        "target",
        "foil",
        "method",
        "model",
        "library",
        "heads",
        "tokens",
        "classes",
        "sum",
        "base_value",
        "truncated",
        "windows",
        "notes",
    ]
    assert document["schema"] == SCHEMA == "mhex-explanation/1"
    assert list(document["tokens"][1]) == [
        "text",
        "piece",
        "start",
        "end",
        "sequence",
        "word",
        "special",
        "score",
        "scores",
        "layers",
    ]
    plain = make().to_dict()
    assert "classes" not in plain and list(plain["prediction"]) == [
        "label",
        "id",
        "probability",
        "probabilities",
    ]
    assert set(plain["tokens"][0]) == set(document["tokens"][0]) - {"scores", "layers"}
    assert "👍🏽" in make().to_json() and "NaN" not in make().to_json()


def test_schema_is_valid_and_describes_every_property() -> None:
    schema = explanation_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        for name, rule in part["properties"].items():
            assert "description" in rule or "description" in schema["$defs"][rule["$ref"].split("/")[-1]], name


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("notes"),
        lambda d: d.update(extra=1),
        lambda d: d.update(schema="mhex-explanation/2"),
        lambda d: d.update(classes=["neg", "pos"]),
        lambda d: d["tokens"][0].update(start=0),
        lambda d: d["tokens"][1].update(start=None),
        lambda d: d["tokens"][1].update(scores=[1.0, 2.0]),
        lambda d: d["tokens"][1].update(word=-1),
        lambda d: d["tokens"][1].pop("piece"),
        lambda d: d["prediction"].update(value=1.0),
        lambda d: d["prediction"].update(probability=1.5),
        lambda d: d["method"].update(aggregation="sum"),
        lambda d: d.update(windows=0),
        lambda d: d["heads"].update(agrees="yes"),
    ],
)
def test_schema_and_reader_refuse_the_same(spoil: Callable[[dict[str, Any]], Any]) -> None:
    document = make().to_dict()
    spoil(document)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ValueError):
        Explanation.from_dict(document)


def edited(path: str, value: Any) -> str:
    document: Any = make().to_dict()
    *parents, last = path.split(".")
    inner = document
    for key in parents:
        inner = inner[int(key) if key.isdigit() else key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("not json", "not valid JSON"),
        ("", "not valid JSON"),
        ("{" * 100_000, "JSON"),
        ("[" * 100_000, "JSON"),
        ("[1]", "expected a JSON object, got an array"),
        ("null", "expected a JSON object, got null"),
        ("{}", 'key "schema" is missing'),
        ('{"schema": 1}', '"schema" must be "mhex-explanation/1", got 1'),
        ('{"schema": "other/1"}', "got 'other/1'"),
        ('{"schema": "mhex-explanation/0"}', "must be"),
        ('{"schema": "mhex-explanation/2"}', "newer than this release reads.*upgrade mhex_nlp"),
        (edited("text", ...), 'lacks the key "text"'),
        (edited("text", None), r"explanation\.text must be a string, got null"),
        (edited("tokens.3.score", ...), r'explanation\.tokens\[3\] lacks the key "score"'),
        (edited("tokens.3.score", "1"), r"explanation\.tokens\[3\]\.score must be a number, got a string"),
        (edited("tokens.3.score", True), r"score must be a number, got true"),
        (edited("tokens.3.score", math.nan), "NaN is not a JSON number"),
        (edited("tokens.3.score", 10**400), "finite"),
        (edited("base_value", 0.5).replace('"base_value": 0.5', '"base_value": 1e999'), "finite"),
        (edited("tokens", {}), r"explanation\.tokens must be an array, got an object"),
        (edited("tokens.1.start", 1.5), r"start must be an integer, got a number"),
        (edited("tokens.1.colour", "red"), r'explanation\.tokens\[1\] has an unknown key "colour"'),
        (edited("truncated", 0), r"explanation\.truncated must be true or false, got a number"),
        (
            edited("method.explains", "nothing"),
            r"method\.explains must be one of 'heads', 'model', got 'nothing'",
        ),
        (edited("target", "pos"), r"explanation\.target must be an object, got a string"),
        (edited("prediction.probabilities", [1]), "probabilities must be an object"),
        (edited("tokens.1.text", "xx"), r"tokens\[1\]\.text must be the source's 'It ', got 'xx'"),
    ],
)
def test_from_json_says_what_is_wrong(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Explanation.from_json(source)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": replaced(2, score=math.nan)}, r"tokens\[2\] has a score that is not finite"),
        ({"tokens": replaced(2, score=math.inf)}, "not finite"),
        ({"sum": math.nan}, "sum must be finite"),
        ({"base_value": -math.inf}, "base_value must be finite"),
        ({"sum": 99.0}, "sum must be the sum of the token scores, .* got 99"),
        (
            {"tokens": replaced(2, end=999)},
            r"tokens\[2\] has offsets 3 to 999 outside its text of 27 characters",
        ),
        ({"tokens": replaced(2, start=5, end=4)}, "outside"),
        ({"tokens": replaced(2, text="no")}, "must be the source's"),
        ({"tokens": replaced(2, sequence=2)}, "sequence must be 0, or 1"),
        ({"tokens": replaced(2, word=None)}, "must have start, end, sequence and word"),
        ({"tokens": replaced(2, word=-1)}, "word must be 0 or more"),
        ({"tokens": replaced(0, word=0)}, r"tokens\[0\] is special and so must have no"),
        ({"tokens": replaced(2, layers=(1.0,))}, "layers of one length"),
        ({"tokens": replaced(2, scores=(1.0,))}, "scores and classes must be given together"),
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
    parts = {field.name: getattr(make(), field.name) for field in dataclasses.fields(Explanation)}
    with pytest.raises(ValueError, match=message):
        Explanation(**{**parts, **changes})


def test_predictions_are_checked() -> None:
    with pytest.raises(ValueError, match="regression"):
        Prediction("a", None, None, None, value=1.0)
    with pytest.raises(ValueError, match="outside 0 to 1: 1.5"):
        Prediction("a", 0, 0.5, {"a": 1.5})


def test_a_part_of_the_wrong_type_is_not_written() -> None:
    with pytest.raises(TypeError, match=r"explanation\.id must be a string, got a number"):
        make(id=3).to_json()
    with pytest.raises(TypeError, match=r"method\.aggregation must be one of 'mean'"):
        make(method=dataclasses.replace(METHOD, aggregation="sum")).to_json()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": True}, "explanation.id must be a string, got true"),
        ({"id": np.int64(7)}, "explanation.id must be a string, got a int64"),
        ({"truncated": 1}, "explanation.truncated must be true or false, got a number"),
        ({"windows": True}, "explanation.windows must be an integer, got true"),
        ({"base_value": False}, "explanation.base_value must be a number, got false"),
        ({"notes": "none"}, "explanation.notes must be an array, got a string"),
        ({"notes": ("a", b"b")}, "explanation.notes[1] must be a string, got a bytes"),
        ({"target": "pos"}, "explanation.target must be a ClassRef, got str"),
        ({"tokens": replaced(3, piece=3)}, "explanation.tokens[3].piece must be a string, got a number"),
        ({"tokens": replaced(3, score=True)}, "explanation.tokens[3].score must be a number, got true"),
        ({"tokens": replaced(3, word=1.0)}, "explanation.tokens[3].word must be an integer, got a number"),
        (
            {"tokens": tuple(dataclasses.replace(token, layers=(0.5, True)) for token in make().tokens)},
            "explanation.tokens[0].layers[1] must be a number, got true",
        ),
        (
            {"prediction": Prediction("a", 0, 0.5, {"b": 0.5, "a": True})},
            "explanation.prediction.probabilities['a'] must be a number, got true",
        ),
        (
            {"prediction": Prediction("a", 0, 0.5, {1: 0.5})},  # type: ignore[dict-item]
            "explanation.prediction.probabilities must be an object with string keys, got an object",
        ),
        (
            {"prediction": Prediction(None, None, None, None, value=(0.5, 10**400))},
            f"explanation.prediction.value[1] must be a finite number, got 1{'0' * 39}",
        ),
        (
            {"method": dataclasses.replace(METHOD, removal="head")},  # type: ignore[arg-type]
            "explanation.method.removal must be one of 'mask', 'attention', got 'head'",
        ),
    ],
)
def test_writing_says_where_a_part_is_wrong(changes: dict[str, Any], message: str) -> None:
    parts = {field.name: getattr(make(), field.name) for field in dataclasses.fields(Explanation)}
    score_free = {"sum": math.fsum(token.score for token in changes.get("tokens", make().tokens))}
    explanation = Explanation(**{**parts, **score_free, **changes})
    for _ in range(2):  # the second time from remembered converters
        with pytest.raises(TypeError) as caught:
            explanation.to_dict()
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "prediction.probabilities.neg",
            "x",
            "explanation.prediction.probabilities['neg'] must be a number, got a string",
        ),
        ("tokens.2.layers.1", None, "explanation.tokens[2].layers[1] must be a number, got null"),
        ("tokens.2.layers", (1.0, 2.0), "explanation.tokens[2].layers must be an array, got a tuple"),
        ("notes", [None], "explanation.notes[0] must be a string, got null"),
        ("heads.agrees", None, "explanation.heads.agrees must be true or false, got null"),
        ("prediction.value", [1, "x"], "explanation.prediction.value[1] must be a number, got a string"),
        (
            "prediction.value",
            1.0,
            "prediction with a value is a regression and so must have no label, id or probabilities",
        ),
    ],
)
def test_reading_says_where_a_part_is_wrong(path: str, value: Any, message: str) -> None:
    document: Any = make(depths=2).to_dict()
    *parents, last = path.split(".")
    inner = document
    for key in parents:
        inner = inner[int(key) if key.isdigit() else key]
    inner[int(last) if last.isdigit() else last] = value
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            Explanation.from_dict(document)
        assert type(caught.value) is ValueError and str(caught.value) == message


def test_numbers_are_written_as_python_has_them() -> None:
    explanation = make(sum=np.float32(0), base_value=2, score=lambda i: 0.0, windows=np.int64(3))
    plain = explanation.to_dict()
    assert [type(plain[key]) for key in ("sum", "base_value", "windows")] == [float, float, int]


def test_an_error_names_the_first_type_of_its_own_hint() -> None:
    """Equal unions are not alike: `int | str == str | int`."""
    for hint, kind in ((int | str, "an integer"), (str | int, "a string")):
        with pytest.raises(TypeError, match=f"^x must be {kind}, got an array$"):
            to_plain([], hint, "x")
    with pytest.raises(ValueError, match="^y must be an object, got an array$"):
        from_plain(ClassRef, [], "y")  # type: ignore[arg-type]


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


def test_words_and_sentences_are_what_the_text_says() -> None:
    text = "It was thin. But superb!"
    places = [(0, 2), (3, 6), (7, 9), (9, 11), (11, 12), (12, 13), (13, 16), (17, 23), (23, 24)]
    words = assign_to_spans(text, places, segment_words(text))
    tokens = [
        Token(text[start:end], "p", start, end, 0, word, False, float(i))
        for i, ((start, end), word) in enumerate(zip(places, words, strict=True))
    ]
    explanation = make(text, None, tokens=tokens, sum=36.0)
    assert [(w.text, w.score) for w in explanation.words()] == [
        ("It", 0.0),
        ("was", 1.0),
        ("thin", 5.0),
        (".", 9.0),  # the space after it belongs to it
        ("But", 6.0),
        ("superb", 7.0),
        ("!", 8.0),
    ]
    assert [(s.text, s.score) for s in explanation.sentences()] == [
        ("It was thin.", 15.0),
        ("But superb!", 21.0),
    ]
    assert explanation.words()[2].tokens == (2, 3)
    assert [w.text for w in explanation.top(2)] == [".", "!"]
    assert explanation.words("en") == explanation.words()


def test_top_words_by_score_and_by_magnitude() -> None:
    explanation = make("a b c", None, score=lambda i: [0.0, 1.0, -2.0, 0.0][i])
    first, second = explanation.words()[0], explanation.words()[-1]
    assert explanation.top() == (first, second) and explanation.top(1, by="abs") == (second,)
    assert explanation.top(0) == ()
    with pytest.raises(ValueError, match="by must be 'score' or 'abs', got 'size'"):
        explanation.top(by="size")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k must be 0 or more"):
        explanation.top(-1)


def test_special_mass_and_text() -> None:
    explanation = make("a b", None, score=lambda i: [1.0, -2.0, 1.0][i])
    assert explanation.special_mass == 0.5
    assert make(score=lambda i: 0.0).special_mass == 0.0
    assert repr(explanation) == str(explanation) == "<Explanation 'pos' 0.750, for 'pos': 'a b' -2>"
    assert repr(KINDS["regression"]()).startswith("<Explanation value=2.5, for 'pos': ")


UNICODE = st.text(
    st.one_of(st.sampled_from("ab .!\n'👍🏽\u0301\u200d好ก\u2028"), st.characters(exclude_categories=["Cs"])),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(text=UNICODE, pair=st.none() | UNICODE, scores=st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_every_unit_adds_up_and_every_text_comes_back(text: str, pair: str | None, scores: list[float]) -> None:
    explanation = make(text, pair, score=lambda i: scores[i % len(scores)])
    source = explanation.to_json()
    VALIDATOR.validate(json.loads(source))
    assert Explanation.from_json(source).to_json() == source
    special = math.fsum(token.score for token in explanation.tokens if token.special)
    mass = math.fsum(abs(token.score) for token in explanation.tokens)
    content = [i for i, token in enumerate(explanation.tokens) if not token.special]
    for spans in (explanation.words(), explanation.words("xx"), explanation.sentences()):
        assert abs(math.fsum(span.score for span in spans) + special - explanation.sum) <= 1e-5 * (1 + mass)
        assert sorted(i for span in spans for i in span.tokens) == content
        for span in spans:
            assert span.text == (text if span.sequence == 0 else pair or "")[span.start : span.end]


def test_jsonl_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    explanations = [build() for build in KINDS.values()]
    assert write_jsonl(iter(explanations), path) == len(explanations)
    assert path.read_bytes().count(b"\n") == len(explanations) and b"\r" not in path.read_bytes()
    assert list(read_jsonl(path)) == explanations
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert list(read_jsonl(str(path))) == explanations


def test_jsonl_appears_only_when_complete(tmp_path: Path) -> None:
    def failing() -> Any:
        yield make()
        raise RuntimeError("stop")

    path = tmp_path / "out.jsonl"
    with pytest.raises(RuntimeError, match="stop"):
        write_jsonl(failing(), path)
    assert list(tmp_path.iterdir()) == []
    write_jsonl([make()], path)
    with pytest.raises(RuntimeError, match="stop"):
        write_jsonl(failing(), path)
    assert list(tmp_path.iterdir()) == [path] and len(list(read_jsonl(path))) == 1


@pytest.mark.parametrize(("line", "message"), [(b"{", "not valid JSON"), (b"\xff", "utf-8"), (b"{}", "schema")])
def test_jsonl_errors_name_file_and_line(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(make().to_json().encode() + b"\n\n" + line + b"\n")
    reader = read_jsonl(path)
    assert next(reader) == make()
    with pytest.raises(ValueError, match=rf"out\.jsonl, line 3: .*{message}"):
        next(reader)


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
