# SPDX-License-Identifier: Apache-2.0
"""The result of several places: a sequence, its JSON form, its table, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from helpers.explanations import TEXT, make
from mhex_nlp.explain.explanation import Place
from mhex_nlp.explain.positioned import SCHEMA, PositionedExplanation

PLACES = [Place("was", 3, 6, 0, "PER", (2,)), Place("superb 👍🏽!", 17, 27, 0, "LOC", (7, 8, 9))]


def positioned(**changes):
    explanations = [make(place=place, text_pair=None) for place in PLACES]
    return PositionedExplanation(**{"id": "7", "text": TEXT, "explanations": explanations, **changes})


def test_it_is_a_sequence_of_explanations():
    whole = positioned()
    assert len(whole) == 2 and [one.place for one in whole] == PLACES and whole[1].place == PLACES[1]
    assert whole[:1] == (whole[0],) and len(positioned(explanations=[])) == 0
    assert repr(whole) == "<PositionedExplanation of 2 places: 'was' pos, 'superb 👍🏽!' pos>"


def test_own_words_and_the_rest():
    one = positioned()[1]
    assert one.place_score == pytest.approx(sum(one.tokens[index].score for index in (7, 8, 9)))
    special = sum(token.score for token in one.tokens if token.special)
    assert one.place_score + one.rest_score + special == pytest.approx(one.sum)
    for name in ("place_score", "rest_score"):
        with pytest.raises(ValueError, match="this explanation is of the whole text"):
            getattr(make(), name)


def test_round_trip():
    whole = positioned(notes=["a note"])
    assert PositionedExplanation.from_json(whole.to_json()) == whole == pickle.loads(pickle.dumps(whole))
    document = whole.to_dict()
    assert list(document) == ["schema", "id", "text", "text_pair", "task", "explanations", "notes"]
    assert document["schema"] == SCHEMA == "mhex-positioned/1.0" and json.loads(whole.to_json()) == document
    assert document["explanations"][1]["place"] == {**dataclasses.asdict(PLACES[1]), "tokens": [7, 8, 9]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "mhex-positioned/1.1"}, "newer than this release reads"),
        ({"schema": "mhex-explanation/1.2"}, '"schema" must be "mhex-positioned/1.0"'),
        ({"task": "sequence_classification"}, "task must be one of"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"notes": "one"}, "notes must be an array"),
        ({"notes": [1]}, "must have strings"),
        ({"text_pair": 0, "explanations": []}, "must have strings"),
        ({"explanations": [1]}, "expected a JSON object, got a number"),
        ({"text": "another"}, r"explanations\[0\] must be of a place in this text"),
    ],
)
def test_other_documents_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PositionedExplanation.from_dict({**positioned().to_dict(), **changes})
    without = positioned().to_dict()
    del without["notes"]
    with pytest.raises(ValueError, match="lacks the key 'notes'"):
        PositionedExplanation.from_dict(without)


def test_displays(tmp_path, capsys):
    """Each asks `mhex_nlp.render` for what it shows of a document."""
    whole = positioned(notes=["One note."])
    assert "One note." in whole.to_html() and whole._repr_html_().startswith("<div")
    assert "superb" in whole.to_markdown() and "superb" in whole.to_latex()
    whole.to_figure(tmp_path / "places.svg")
    assert (tmp_path / "places.svg").stat().st_size > 1000
    with pytest.raises(ValueError, match="path must end in .svg, .pdf or .png"):
        whole.to_figure(tmp_path / "places.gif")
    whole.show()
    assert "superb" in capsys.readouterr().out


@pytest.mark.parametrize("place", [Place("was", 3, 7, 0, "PER", (2,)), Place("was", 3, 6, 0, "PER", (2, 1))])
def test_a_place_that_is_not_in_the_text_is_refused(place):
    with pytest.raises(ValueError, match="place"):
        make(place=place)
