# SPDX-License-Identifier: Apache-2.0
"""What an explanation says in words: never more than its scores do; in all displays."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from rich.console import Console

from helpers.html import Reader, explanations
from helpers.render_examples import ATTACKS, EXAMPLES, attacked, explanation
from mhex_nlp.render import render_fragment, render_page, render_terminal
from mhex_nlp.render.highlight import highlight
from mhex_nlp.render.plain_words import as_text, flip_sentence, plain_words


def words(scores: dict[str, float], **changes: Any) -> dict[str, Any]:
    """An explanation of a text of these words."""
    pieces = [("[CLS]", None, 0.0), *((word, index, score) for index, (word, score) in enumerate(scores.items()))]
    form = explanation(" ".join(scores), pieces, base_value=changes.pop("base_value", 0.1), **changes)
    return form


def said(form: dict[str, Any]) -> str:
    return as_text(plain_words(form, highlight(form)))


def method(**changes: Any) -> dict[str, Any]:
    return {**words({"a": 1.0})["method"], **changes}


CLEAR = {"the": 0.01, "bed": 0.3, "awful": 1.9, "noisy": 1.0, "kind": -0.6}


def test_the_words_that_lead_and_one_against_them() -> None:
    assert said(words(CLEAR)) == 'Predicted positive (98.7%): mainly "awful" and "noisy"; "kind" speaks against it.'
    assert said(words({"a": 1.0, "b": 1.0, "c": 0.9})) == 'Predicted positive (98.7%): mainly "a", "b" and "c".'
    many = {f"w{index}": 0.5 for index in range(12)}
    assert said(words(many)) == 'Predicted positive (98.7%): among others "w0", "w1" and "w2".'


def test_words_that_speak_against_the_prediction_say_so() -> None:
    against = {"thin": -1.5, "plot": 0.2, "superb": 0.9}
    assert said(words(against, base_value=2.0)) == (
        'Predicted positive (98.7%), although its words together speak against it: mainly "thin"; '
        '"superb" speaks for it.'
    )


def test_words_that_explain_nothing_are_not_named() -> None:
    for scores in ({"a": 0.00003, "b": -0.00002}, {"a": 0.0}):
        form = words(scores, base_value=2.0)
        assert said(form) == "Predicted positive (98.7%). The scores of its words explain next to nothing of it."


def test_a_weak_fit_and_a_base_value_that_outweighs_are_told() -> None:
    assert said(words(CLEAR, method=method(skill=0.2))).endswith(
        "The fit is weak (skill 0.20): single words are hints at best."
    )
    nothing = said(words(CLEAR, method=method(skill=-0.05)))
    assert nothing.endswith("The fit knows nothing about single words (skill -0.05), so none is named.")
    assert "awful" not in nothing
    assert "weak" not in said(words(CLEAR, method=method(skill=0.2), passes=9)), "skill is of the one pass"
    assert said(words(CLEAR, base_value=4.0)).endswith("The base value counts for more than all words together.")
    missed = words(CLEAR, misfit=1.0, method=method(usual_misfit=0.5))
    assert said(missed).endswith("The scores miss more of this text than of most.")


def test_what_a_note_says_is_not_said_twice() -> None:
    """Beside the notes, that is: alone the sentence has it, and another note does not take it away."""
    cases = {
        "base_outweighs_words": {"base_value": 4.0},
        "large_misfit": {"misfit": 1.0, "method": method(usual_misfit=0.5)},
        "no_skill": {"method": method(skill=0.2)},
    }
    for code, parts in cases.items():
        form = words(CLEAR, notes=["A note."], note_codes=[code], **parts)
        alone, beside = plain_words(form, highlight(form)), plain_words(form, highlight(form), beside_notes=True)
        assert beside == alone[:-1] and "speaks against it." in as_text(beside)
        other = {**form, "note_codes": ["windows"]}
        assert plain_words(other, highlight(other), beside_notes=True) == alone


def test_heads_targets_foils_and_regressions() -> None:
    assert ': by its heads mainly "awful"' in said(words(CLEAR, method=method(explains="heads", skill=None)))
    other = {"label": "negative", "id": 0}
    assert said(words(CLEAR, target=other)).startswith(
        'Predicted positive (98.7%). Its words together speak for negative: mainly "awful"'
    )
    foil = words({word: -score for word, score in CLEAR.items()}, foil=other)
    assert "Its words together speak against positive rather than negative: mainly" in said(foil)
    value = {"label": None, "id": None, "probability": None, "probabilities": None, "value": 3.5}
    assert said(words(CLEAR, prediction=value)) == (
        'Predicted value 3.50: raised mainly by "awful" and "noisy"; lowered by "kind".'
    )
    labels = {**words(CLEAR)["prediction"], "labels": []}
    assert said(words(CLEAR, prediction=labels)).startswith("No label is predicted. Its words together speak for")


def test_signs_that_are_not_settled_are_not_named() -> None:
    size = 6
    covariance = [[4.0 if row == column else 0.0 for column in range(row + 1)] for row in range(size)]
    form = words(CLEAR, covariance=covariance, passes=9)
    for token in form["tokens"]:
        token["error"] = 2.0
    assert said(form).endswith("No word has a score whose sign is settled.")


def test_nothing_is_said_of_a_place() -> None:
    place = {"text": "bed", "start": 4, "end": 7, "sequence": 0, "label": "PER", "tokens": [2]}
    assert plain_words(words(CLEAR, place=place), highlight(words(CLEAR, place=place))) == ()


@given(explanations())
@settings(max_examples=100, deadline=None)
def test_words_are_named_on_the_side_of_their_score(document: dict[str, Any]) -> None:
    try:
        drawn = highlight(document)
    except ValueError:
        return
    parts = plain_words(document, drawn)
    named = {part.text for part in parts if part.quoted}
    size = sum(min(abs(score), 1e300) for score in drawn.scores)
    if size < 0.2 * min(abs(document["sum"] + document["base_value"]), 1e300):
        assert not named
    for name in named:
        assert any(segment.text.startswith(name.rstrip("\u2026")) and segment.score for segment in drawn.segments)


FLIP = {
    "kind": "removal",
    "flipped": True,
    "words": [
        {"text": "awful", "start": 8, "end": 13, "sequence": 0},
        {"text": "noisy", "start": 14, "end": 19, "sequence": 0},
    ],
    "label": "positive",
    "probability": 0.9871,
    "passes": 3,
    "removal": "mask",
    "label_after": "negative",
    "probability_after": 0.63,
}
NOT_FOUND = {**{name: FLIP[name] for name in ("kind", "label", "probability", "passes", "removal")}, "flipped": False}
NOT_FOUND["words"] = []
ALONE = {**FLIP, "kind": "insertion", "label": "negative", "label_after": "positive", "words": FLIP["words"][:1]}


@pytest.mark.parametrize(
    ("flip", "sentence"),
    [
        (FLIP, 'Without "awful", "noisy" this would be negative (63%).'),
        (ALONE, 'Already "awful" alone gives positive (63%).'),
        ({**ALONE, "words": FLIP["words"]}, 'Already "awful", "noisy" alone give positive (63%).'),
        ({**ALONE, "words": FLIP["words"] * 6}, "12 of its words alone give positive (63%)."),
        (NOT_FOUND, "No set of words was found whose removal changes the prediction (3 tried)."),
        ({**NOT_FOUND, "target": "negative"}, "No set of words was found whose removal makes it negative (3 tried)."),
        ({**NOT_FOUND, "kind": "insertion"}, "No set of words was found that alone gives positive (3 tried)."),
        (
            {**NOT_FOUND, "kind": "insertion", "label_after": "positive", "probability_after": 0.9871},
            "Without any of its words it is positive, too (98.7%).",
        ),
    ],
)
def test_what_flip_sets_say(flip: dict[str, Any], sentence: str) -> None:
    assert as_text(flip_sentence(flip, "positive")) == sentence


def test_every_display_says_it() -> None:
    form = words(CLEAR, flips=[FLIP, ALONE])
    sentences = (
        'Predicted positive (98.7%): mainly "awful" and "noisy"; "kind" speaks against it. '
        'Without "awful", "noisy" this would be negative (63%). Already "awful" alone gives positive (63%).'
    )
    assert said(form) == sentences
    for html in (render_page([form]), render_fragment(form)):
        assert sentences in Reader(html).everything
    stream = io.StringIO()
    render_terminal(form, Console(file=stream, width=400, _environ={}))
    assert sentences in stream.getvalue()


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_words_stay_text(attack: str) -> None:
    form = attacked(attack)
    plain = Reader(render_page([form])).tags
    hostile = {**FLIP, "words": [{"text": attack, "start": 0, "end": len(attack), "sequence": 0}]}
    tags = Reader(render_page([{**form, "flips": [hostile]}])).tags
    assert [tag for tag, _ in tags if tag != "bdi"] == [tag for tag, _ in plain if tag != "bdi"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_have_a_sentence_or_two(name: str) -> None:
    sentence = said(EXAMPLES[name])
    assert sentence.endswith(".") and 20 < len(sentence) < 330 and "None" not in sentence
