# SPDX-License-Identifier: Apache-2.0
"""Highlighting as pure functions: units, segments, levels, shares, and what is refused."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.html import explanations
from helpers.render_examples import NEGATIVE, POSITIVE, explanation
from mhex_nlp.render import render_fragment, render_page, render_terminal
from mhex_nlp.render.highlight import find_units, highlight, layer_sums, texts_of, to_levels
from mhex_nlp.render.ink import shared_scale
from mhex_nlp.render.numbers import signed
from mhex_nlp.render.summary import number_format, percent


def scored_texts(document: dict[str, Any], unit: str = "words") -> list[tuple[str, float]]:
    segments = highlight(document, unit=unit).lines[0]
    return [(segment.text, segment.score) for segment in segments if segment.score is not None]


@given(explanations(), st.sampled_from(["words", "tokens"]))
@settings(max_examples=300, deadline=None)
def test_every_code_point_is_drawn_once(document: dict[str, Any], unit: str) -> None:
    try:
        drawn = highlight(document, unit=unit)
    except ValueError as error:  # sums of the largest floats
        assert "sum" in str(error)
        return
    texts = texts_of(document)
    assert len(drawn.lines) == len(texts)
    for text, line in zip(texts, drawn.lines, strict=True):
        assert "".join(segment.text for segment in line) == text
        reached = 0
        for segment in line:
            assert segment.start == reached < segment.end
            assert segment.text == text[segment.start : segment.end]
            reached = segment.end
            if segment.score is None:
                assert segment.level == 0
            else:
                assert not segment.text[0].isspace() and not segment.text[-1].isspace()
    scored = [(segment.score, segment.level) for line in drawn.lines for segment in line if segment.score is not None]
    assert drawn.scores == [score for score, _ in scored]
    for score, level in scored:
        assert level * score >= 0 and abs(level) <= 10
    assert 0 <= drawn.special_share <= 1 and 0 <= drawn.hidden_share <= 1
    members = [index for item in find_units(document, unit) for index in item.tokens]
    assert len(members) == len(set(members))
    for index, token in enumerate(document["tokens"]):
        visible = not token["special"] and texts[token["sequence"]][token["start"] : token["end"]].strip()
        assert not visible or index in members


def test_the_pieces_of_a_word_are_summed() -> None:
    segments = {segment.text: segment for segment in highlight(POSITIVE).lines[0] if segment.score is not None}
    assert segments["unforgettable"].score == pytest.approx(0.63)
    assert segments["unforgettable"].level == 8  # 0.63 of 0.8124
    assert segments["superb"].level == 10
    assert segments["drags"].level == -5 and segments["thin"].level == -5
    assert segments[","].level == 0
    pieces = [text for text, _ in scored_texts(POSITIVE, "tokens")]
    assert pieces[-5:] == ["un", "for", "get", "table", "."]


def test_special_tokens_are_hidden_and_their_share_is_shown() -> None:
    drawn = highlight(NEGATIVE)
    scores = [abs(token["score"]) for token in NEGATIVE["tokens"]]
    assert drawn.special_share == pytest.approx(1.3 / sum(scores))
    assert "<s>" not in "".join(segment.text for segment in drawn.lines[0])
    assert percent(drawn.special_share) in render_page([NEGATIVE])


def test_the_share_of_white_space_is_shown() -> None:
    document = explanation("a b", [("a", 0, 0.5), ("b", 2, 0.25)])
    space = {**document["tokens"][0], "piece": "_", "start": 1, "end": 2, "word": 1, "score": -0.25}
    document["tokens"].insert(1, space)
    assert highlight(document).hidden_share == 0.25
    assert "on white space<dd><bdi>25%" in render_page([document])


@pytest.mark.parametrize("unit", ["words", "tokens"])
def test_bytes_of_one_character_become_one_unit(unit: str) -> None:
    document = explanation("a 😡 b", [("a", 0, 0.1), ("😡", None, 0.0)])
    byte = {"text": "😡", "start": 2, "end": 3, "sequence": 0, "word": 1, "special": False}
    document["tokens"] = [{**byte, "piece": piece, "score": 0.25} for piece in ("\u00f0\u0141", "\u013a", "\u00a1")]
    assert scored_texts(document, unit) == [("😡", 0.75)]


@pytest.mark.parametrize("whole", ["👨\u200d👩\u200d👧", "👍🏽", "🇩🇪", "e\u0301", "❤\ufe0f"])
def test_no_character_is_cut(whole: str) -> None:
    document = explanation("x", [("x", 0, 0.1)])
    document["text"] = f"a {whole} b"
    base = {"text": "", "piece": "", "sequence": 0, "special": False, "score": 0.5}
    # A token for each code point but the joiners, as a tokenizer that drops format characters gives.
    document["tokens"] = [
        {**base, "start": 2 + index, "end": 3 + index, "word": index}
        for index, character in enumerate(whole)
        if character != "\u200d"
    ]
    assert [text for text, _ in scored_texts(document)] == [whole]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=12))
def test_levels_rise_with_the_score(scores: list[float]) -> None:
    levels = to_levels(scores)
    ordered = [level for _, level in sorted(zip(scores, levels, strict=True))]
    assert ordered == sorted(ordered)
    assert to_levels([-score for score in scores]) == [-level for level in levels]
    if any(scores):
        assert max(map(abs, levels)) == 10


@pytest.mark.parametrize(
    ("scores", "levels"),
    [
        ([1.0, -0.5, 0.05, 0.049, 0.0, -0.94], [10, -5, 1, 0, 0, -9]),
        ([5e-324, -5e-324], [10, -10]),
        ([0.0, -0.0], [0, 0]),
    ],
)
def test_levels_are_tenths_of_the_largest(scores: list[float], levels: list[int]) -> None:
    assert to_levels(scores) == levels


def test_layer_sums_split_signs_over_content_tokens() -> None:
    document = explanation("a b", [("[CLS]", None, 9.0), ("a", 0, 0.0), ("b", 1, 0.0)])
    for token, row in zip(document["tokens"], ([9, 9], [1.0, -0.5], [-2.0, 0.25]), strict=True):
        token["layers"] = row
    assert layer_sums(document) == [(1.0, -2.0), (0.25, -0.5)]
    assert layer_sums(NEGATIVE) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("render", [lambda document: render_page([document]), render_fragment, render_terminal])
def test_non_finite_scores_are_refused(bad: float, render: Any) -> None:
    document = copy.deepcopy(POSITIVE)
    document["tokens"][3]["score"] = bad
    with pytest.raises(ValueError, match=r"token 3 .* expected a finite number"):
        render(document)
    for name in ("sum", "base_value"):
        with pytest.raises(ValueError, match=f"{name} .* expected a finite number"):
            render({**POSITIVE, name: bad})
    document = copy.deepcopy(POSITIVE)
    document["tokens"][2]["layers"][5] = bad
    with pytest.raises(ValueError, match="token 2"):
        render(document)


def test_malformed_explanations_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="schema 'other/9'"):
        highlight({**POSITIVE, "schema": "other/9"})
    with pytest.raises(ValueError, match="lacks tokens"):
        highlight({key: value for key, value in POSITIVE.items() if key != "tokens"})
    with pytest.raises(ValueError, match="unit must be"):
        highlight(POSITIVE, unit="letters")


@pytest.mark.parametrize("changes", [{"start": -1}, {"end": 10_000}, {"start": 5, "end": 4}, {"sequence": 1}])
def test_tokens_outside_their_text_are_refused(changes: dict[str, int]) -> None:
    document = copy.deepcopy(POSITIVE)
    document["tokens"][4].update(changes)
    with pytest.raises(ValueError, match="token 4"):
        highlight(document)


def test_numbers_have_no_more_digits_than_they_need() -> None:
    shares = {0: "0%", 0.0001: "<0.1%", 0.0129: "1.3%", 0.5: "50%", 0.99981: ">99.9%", 1: "100%"}
    assert {share: percent(share) for share in shares} == shares
    assert [signed(score) for score in (0.8124, -0.02, 12.345, 0.99961, 1234.5, -0.0)] == [
        *("+0.812", "-0.0200", "+12.3", "+1.00", "+1230", "0")
    ]
    assert number_format([12.3456])(-0.001) == "-0.00100"
    assert number_format([12.3456])(1e-6) == "0", "rounding of 32 bits"
    assert number_format([3e-9])(-1.5e-9) == "-1.50e-09"


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=12), st.floats(-20, 20), st.booleans())
@settings(max_examples=300, deadline=None)
def test_ink_says_how_much_words_matter(scores: list[float], base: float, regression: bool) -> None:
    words = [f"w{index}" for index in range(len(scores))]
    document = explanation(" ".join(words), list(zip(words, range(len(words)), scores, strict=True)), base_value=base)
    if regression:
        document["prediction"] = {"label": None, "id": None, "probability": None, "probabilities": None, "value": 1.0}
    drawn = highlight(document)
    mass, logit = sum(map(abs, scores)), abs(document["sum"] + base)
    need = logit if regression else max(logit, 1.0)
    depths = sorted((abs(s.score or 0.0), abs(s.level)) for s in drawn.segments)
    assert [level for _, level in depths] == sorted(level for _, level in depths), "never inverted"
    assert depths[-1][1] <= 10 * min(1, mass / need if need else 1) + 0.5 + 1e-12, "pale when the words explain little"
    if mass >= need and mass:
        assert depths[-1][1] == 10, "full colour where they could make up the logit"
    shared = highlight(document, scale=7.0)
    assert [abs(s.level) for s in shared.segments] == [
        int(min(abs(s.score or 0), 7) / 0.7 + 0.5) for s in shared.segments
    ]


def test_a_text_whose_words_explain_nothing_has_no_colour() -> None:
    faint = explanation("good film", [("good", 0, 3e-5), ("film", 1, -2e-5)], base_value=0.0)
    assert [s.level for s in highlight(faint).segments] == [0, 0]
    outweighed = explanation("good film", [("good", 0, 0.5), ("film", 1, -0.1)], base_value=3.6)
    assert [s.level for s in highlight(outweighed).segments] == [2, 0]  # 0.6 of a logit of 4
    assert 'class="w p2"' in render_fragment(outweighed) and "p10" not in render_fragment(outweighed).split("</p>")[2]


def test_many_texts_may_share_a_scale() -> None:
    assert shared_scale([0.0, 4.0, 1.0, 2.0, 3.0]) == 3.0 and shared_scale([0.0]) is None
    assert [s.level for s in highlight(POSITIVE, scale=1.6248).segments if s.text == "superb"] == [5]
    assert "one scale for all texts, full colour at ±1.62" in render_page([POSITIVE], scale=1.6248)
    for bad in (0.0, -1.0, float("nan"), float("inf"), True, "1"):
        with pytest.raises(ValueError, match="scale must be a positive number"):
            highlight(POSITIVE, scale=bad)  # type: ignore[arg-type]


@given(st.floats(-1e300, 1e300))
def test_a_number_has_three_digits_and_its_sign(value: float) -> None:
    written = signed(value)
    assert (written == "0") is (value == 0)
    if value:
        assert written[0] == ("-" if value < 0 else "+") and float(written) == pytest.approx(value, rel=0.00501)
        assert len(re.sub("e.*|[^0-9]", "", written).strip("0")) <= 3, written
