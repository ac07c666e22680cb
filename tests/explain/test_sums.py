# SPDX-License-Identifier: Apache-2.0
"""Scores summed over words and sentences, and the words with the highest ones."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.explanations import make
from mhex_nlp.explain.explanation import Explanation, Token
from mhex_nlp.explain.json_form import explanation_schema
from mhex_nlp.inputs.segmentation import assign_to_spans, segment_words

VALIDATOR = jsonschema.Draft202012Validator(explanation_schema())


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
    with pytest.raises(ValueError, match="k must be an integer of at least 0"):
        explanation.top(-1)


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
