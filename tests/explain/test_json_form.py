# SPDX-License-Identifier: Apache-2.0
"""The JSON form: round trips, the schema, and what reading and writing say of a part that is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import jsonschema
import numpy as np
import pytest

from helpers.explanations import EXAMPLES, METHOD, edit, make, parts_of, tokens_with
from mhex_nlp.explain.explanation import ClassRef, Explanation, FlipSet, FlipWord, Method, Place, Prediction, Token
from mhex_nlp.explain.json_form import SCHEMA, explanation_schema, from_plain, to_plain

VALIDATOR = jsonschema.Draft202012Validator(explanation_schema())


@pytest.mark.parametrize("example", EXAMPLES)
def test_round_trip_and_schema(example: str) -> None:
    explanation = EXAMPLES[example]()
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
    assert document["schema"] == SCHEMA == "mhex-explanation/1.3"
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


def test_explanations_of_the_first_form_are_read_by_what_they_say() -> None:
    """What they call skill is of single answers; the figure of that name has another meaning now."""
    document = make().to_dict()
    document["schema"], document["method"] = "mhex-explanation/1", {**document["method"], "skill": 0.25, "r2": 0.5}
    method = Explanation.from_dict(document).method
    assert (method.skill, method.absolute_skill, method.attainable, method.r2) == (None, 0.25, None, 0.5)
    for later in ("mhex-explanation/1.1", "mhex-explanation/1.2", "mhex-explanation/1.3"):
        document["schema"] = later
        assert Explanation.from_dict(document).method.skill == 0.25
    for newer in ("mhex-explanation/1.4", "mhex-explanation/2"):
        with pytest.raises(ValueError, match="newer than this release reads"):
            Explanation.from_dict({**document, "schema": newer})


PARTS = {"place": Place, "class": ClassRef, "prediction": Prediction, "method": Method, "token": Token}
PARTS |= {"flip": FlipSet, "flip_word": FlipWord}


@pytest.mark.parametrize(("name", "part"), [(None, Explanation), *PARTS.items()])
def test_schema_has_the_fields_of_the_dataclasses(name: str | None, part: type) -> None:
    schema = explanation_schema() if name is None else explanation_schema()["$defs"][name]
    fields = [field.name for field in dataclasses.fields(part)]
    optional = {field.name for field in dataclasses.fields(part) if field.default is not dataclasses.MISSING}
    assert [key for key in schema["properties"] if key != "schema"] == fields
    assert set(schema["required"]) - {"schema"} == set(fields) - optional


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d["place"].pop("label"),
        lambda d: d["place"].update(start=-1),
        lambda d: d["place"].update(tokens=[]),
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
        lambda d: d["tokens"][1].update(score=1e308),
        lambda d: d.update(base_value=-3.5e38),
    ],
)
def test_schema_and_reader_refuse_the_same(spoil: Callable[[dict[str, Any]], Any]) -> None:
    document = make(place=Place("was", 3, 6, 0, "PER", (2,))).to_dict()
    spoil(document)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ValueError):
        Explanation.from_dict(document)


def edited(path: str, value: Any) -> str:
    return json.dumps(edit(make().to_dict(), path, value))


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
        ('{"schema": 1}', '"schema" must be "mhex-explanation/1.3", got 1'),
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
        (edited("tokens.3.score", 1e308), r"tokens\[3\] has a score that is not finite, or above 3\.4e\+38"),
        (edited("sum", -1e308), r"sum must be finite, and at most 3\.4e\+38 in magnitude, got -1e\+308"),
        (edited("windows", 2**63), r"windows must be an integer of 64 bits, got 9223372036854775808"),
        (edited("target.id", 1).replace('"id": 1', '"id": ' + "9" * 5000), "not valid JSON"),
        (edited("id", "7").replace('"id": "7"', '"id": "7", "id": "8"'), "the key 'id' stands twice in one object"),
        (edited("schema", "mhex-explanation/" + "9" * 5000), r"\"schema\" must be .{0,100}$"),
        (edited("method.explains", "x" * 900), r"method\.explains must be one of .{0,100}$"),
        (edited("tokens.1.text", "x" * 900), r"tokens\[1\]\.text must be the source's .{0,80}$"),
        (edited("x" * 900, 1), "has an unknown key .{0,70}$"),
        (edited("a\nb", 1), r'has an unknown key "a\\nb"$'),
        (edited("target.label", "fair"), r"target\.label must be one of the classes that are named, got 'fair'"),
        (edited("prediction.label", "fair"), r"prediction\.label must be one of the classes"),
    ],
)
def test_from_json_says_what_is_wrong(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Explanation.from_json(source)


def test_nothing_that_is_nested_or_cyclic_is_written_out_in_a_sentence() -> None:
    nested: list[Any] = []
    nested.append(nested)
    for path in ("schema", "method.name", "method.aggregation", "tokens.1.score", "notes", "windows"):
        with pytest.raises(ValueError, match="got an array|must be a string|must be a number") as refused:
            Explanation.from_dict(edit(make().to_dict(), path, nested))
        assert len(str(refused.value)) < 200


def test_a_surrogate_is_the_same_as_its_escape() -> None:
    """However two surrogates are written, JSON means one character by them."""
    escaped = make().to_json().replace('"id": "7"', '"id": "\\ud83d\\ude00"')
    mixed = escaped.replace("\\ud83d", "\ud83d")
    for source in (escaped, mixed):
        explanation = Explanation.from_json(source)
        assert explanation.id == "\U0001f600" and Explanation.from_json(explanation.to_json()) == explanation
    with pytest.raises(ValueError, match="not valid JSON"):
        Explanation.from_json(make().to_json().encode("utf-8")[:-1] + b"\xff}")


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
        ({"tokens": tokens_with(3, piece=3)}, "explanation.tokens[3].piece must be a string, got a number"),
        ({"tokens": tokens_with(3, score=True)}, "explanation.tokens[3].score must be a number, got true"),
        ({"tokens": tokens_with(3, word=1.0)}, "explanation.tokens[3].word must be an integer, got a number"),
        (
            {"tokens": tuple(dataclasses.replace(token, layers=(0.5, True)) for token in make().tokens)},
            "explanation.tokens[0].layers[1] must be a number, got true",
        ),
        (
            {"prediction": Prediction("pos", 0, 0.5, {"b": 0.5, "pos": True})},
            "explanation.prediction.probabilities['pos'] must be a number, got true",
        ),
        (
            {"prediction": Prediction("pos", 0, 0.5, {"pos": 0.5, 1: 0.5})},  # type: ignore[dict-item]
            "explanation.prediction.probabilities must be an object with string keys, got an object",
        ),
        (
            {"prediction": Prediction(None, None, None, None, value=(0.5, 10**400))},
            f"explanation.prediction.value[1] must be a finite number, got 1{'0' * 59}",
        ),
        (
            {"method": dataclasses.replace(METHOD, removal="head")},  # type: ignore[arg-type]
            "explanation.method.removal must be one of 'mask', 'attention', got 'head'",
        ),
    ],
)
def test_writing_says_where_a_part_is_wrong(changes: dict[str, Any], message: str) -> None:
    total = math.fsum(token.score for token in changes.get("tokens", make().tokens))
    explanation = Explanation(**{**parts_of(make()), "sum": total, **changes})
    for _ in range(2):  # the second time with cached converters
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
    document = edit(make(depths=2).to_dict(), path, value)
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            Explanation.from_dict(document)
        assert type(caught.value) is ValueError and str(caught.value) == message


def test_numbers_are_written_as_python_has_them() -> None:
    explanation = make(sum=np.float32(0), base_value=2, score=lambda i: 0.0, windows=np.int64(3))
    plain = explanation.to_dict()
    assert [type(plain[key]) for key in ("sum", "base_value", "windows")] == [float, float, int]


@pytest.mark.parametrize(("hint", "kind"), [(int | str, "an integer"), (str | int, "a string")])
def test_an_error_names_the_first_type_of_its_own_hint(hint: Any, kind: str) -> None:
    """Equal unions are not alike: `int | str == str | int`."""
    with pytest.raises(TypeError, match=f"^x must be {kind}, got an array$"):
        to_plain([], hint, "x")


def test_an_error_begins_with_the_name_of_what_is_read() -> None:
    with pytest.raises(ValueError, match="^y must be an object, got an array$"):
        from_plain(ClassRef, [], "y")  # type: ignore[arg-type]
