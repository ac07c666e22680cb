# SPDX-License-Identifier: Apache-2.0
"""Highlighting as pure functions, the page, the notebook fragment, the terminal."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from helpers.html import UNHOLDABLE, Reader, assert_inert, contrast, explanations, luminance, shown
from helpers.render_examples import (
    ATTACKS,
    CHINESE,
    EXAMPLES,
    MULTI_LABEL,
    NEGATIVE,
    PAIR,
    POSITIVE,
    REGRESSION,
    attacked,
    explanation,
)
from mhex_nlp.render import render_fragment, render_page, render_terminal
from mhex_nlp.render.highlight import find_units, highlight, layer_sums, to_levels
from mhex_nlp.render.summary import number_format, percent

TEMPLATES = Path(sys.modules["mhex_nlp.render"].__file__ or "").parent / "templates"


@given(explanations(), st.sampled_from(["words", "tokens"]))
@settings(max_examples=300, deadline=None)
def test_every_code_point_is_drawn_once(made: dict[str, Any], unit: str) -> None:
    try:
        drawn = highlight(made, unit=unit)
    except ValueError as error:  # sums of the largest floats
        assert "sum" in str(error)
        return
    texts = [made["text"]] if made["text_pair"] is None else [made["text"], made["text_pair"]]
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
    scored = [segment for line in drawn.lines for segment in line if segment.score is not None]
    largest = max((abs(segment.score or 0) for segment in scored), default=0)
    for segment in scored:
        assert segment.level * (segment.score or 0) >= 0 and abs(segment.level) <= 10
        if abs(segment.score or 0) == largest > 0:
            assert abs(segment.level) == 10
    assert 0 <= drawn.special_share <= 1 and 0 <= drawn.hidden_share <= 1
    units = find_units(made, unit)
    members = [index for item in units for index in item.tokens]
    assert len(members) == len(set(members))
    for index, token in enumerate(made["tokens"]):
        visible = not token["special"] and texts[token["sequence"]][token["start"] : token["end"]].strip()
        assert not visible or index in members


@given(explanations(), st.sampled_from(["words", "tokens"]))
@settings(max_examples=150, deadline=None)
def test_without_its_tags_a_page_is_the_text(made: dict[str, Any], unit: str) -> None:
    try:
        pages = [render_page([made], unit=unit), render_fragment(made, unit=unit)]
    except ValueError as error:
        assert "sum" in str(error)
        return
    texts = [made["text"]] if made["text_pair"] is None else [made["text"], made["text_pair"]]
    for page in pages:
        page.encode()  # no surrogate is left
        assert not re.search(UNHOLDABLE, page)
        assert Reader(page).texts == [shown(text) for text in texts]


def test_the_pieces_of_a_word_are_summed() -> None:
    drawn = highlight(POSITIVE)
    found = {segment.text: segment for segment in drawn.lines[0] if segment.score is not None}
    assert found["unforgettable"].score == pytest.approx(0.63)
    assert found["unforgettable"].level == 8  # 0.63 of 0.8124
    assert found["superb"].level == 10
    assert found["drags"].level == -5 and found["thin"].level == -5
    assert found[","].level == 0
    pieces = [s.text for s in highlight(POSITIVE, unit="tokens").lines[0] if s.score is not None]
    assert pieces[-5:] == ["un", "for", "get", "table", "."]


def test_specials_are_hidden_and_their_share_is_told() -> None:
    drawn = highlight(NEGATIVE)
    scores = [abs(token["score"]) for token in NEGATIVE["tokens"]]
    assert drawn.special_share == pytest.approx(1.3 / sum(scores))
    assert "<s>" not in "".join(segment.text for segment in drawn.lines[0])
    assert percent(drawn.special_share) in render_page([NEGATIVE])


def test_the_mass_on_white_space_is_told() -> None:
    made = explanation("a b", [("a", 0, 0.5), ("b", 2, 0.25)])
    made["tokens"].insert(1, {**made["tokens"][0], "piece": "_", "start": 1, "end": 2, "word": 1, "score": -0.25})
    assert highlight(made).hidden_share == 0.25
    assert "on white space<dd><bdi>25%" in render_page([made])


def test_bytes_of_one_character_become_one_unit() -> None:
    made = explanation("a 😡 b", [("a", 0, 0.1), ("😡", None, 0.0)])
    byte = {"text": "😡", "start": 2, "end": 3, "sequence": 0, "word": 1, "special": False}
    made["tokens"] = [{**byte, "piece": piece, "score": 0.25} for piece in ("\u00f0\u0141", "\u013a", "\u00a1")]
    for unit in ("words", "tokens"):
        [found] = [segment for segment in highlight(made, unit=unit).lines[0] if segment.score is not None]
        assert (found.text, found.score) == ("😡", 0.75)


@pytest.mark.parametrize("whole", ["👨\u200d👩\u200d👧", "👍🏽", "🇩🇪", "e\u0301", "❤\ufe0f"])
def test_no_character_is_cut(whole: str) -> None:
    made = explanation("x", [("x", 0, 0.1)])
    made["text"] = f"a {whole} b"
    base = {"text": "", "piece": "", "sequence": 0, "special": False, "score": 0.5}
    # A token for each code point but the joiners, as a tokenizer that drops format characters gives.
    made["tokens"] = [{**base, "start": 2 + k, "end": 3 + k, "word": k} for k, c in enumerate(whole) if c != "\u200d"]
    assert [s.text for s in highlight(made).lines[0] if s.score is not None] == [whole]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=12))
def test_levels_rise_with_the_score(scores: list[float]) -> None:
    levels = to_levels(scores)
    ordered = [level for _, level in sorted(zip(scores, levels, strict=True))]
    assert ordered == sorted(ordered)
    assert to_levels([-score for score in scores]) == [-level for level in levels]
    if any(scores):
        assert max(map(abs, levels)) == 10


def test_levels_are_tenths_of_the_largest() -> None:
    assert to_levels([1.0, -0.5, 0.05, 0.049, 0.0, -0.94]) == [10, -5, 1, 0, 0, -9]
    assert to_levels([5e-324, -5e-324]) == [10, -10]
    assert to_levels([0.0, -0.0]) == [0, 0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("render", [lambda e: render_page([e]), render_fragment, render_terminal])
def test_non_finite_scores_are_refused(bad: float, render: Any) -> None:
    made = copy.deepcopy(POSITIVE)
    made["tokens"][3]["score"] = bad
    with pytest.raises(ValueError, match=r"token 3 .* expected a finite number"):
        render(made)
    for name in ("sum", "base_value"):
        with pytest.raises(ValueError, match=f"{name} .* expected a finite number"):
            render({**POSITIVE, name: bad})
    made = copy.deepcopy(POSITIVE)
    made["tokens"][2]["layers"][5] = bad
    with pytest.raises(ValueError, match="token 2"):
        render(made)


def test_malformed_explanations_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="schema 'other/9'"):
        highlight({**POSITIVE, "schema": "other/9"})
    with pytest.raises(ValueError, match="lacks tokens"):
        highlight({key: value for key, value in POSITIVE.items() if key != "tokens"})
    with pytest.raises(ValueError, match="unit must be"):
        highlight(POSITIVE, unit="letters")
    for changes in ({"start": -1}, {"end": 10_000}, {"start": 5, "end": 4}, {"sequence": 1}):
        made = copy.deepcopy(POSITIVE)
        made["tokens"][4].update(changes)
        with pytest.raises(ValueError, match="token 4"):
            highlight(made)


def test_numbers_say_no_more_than_they_know() -> None:
    assert [percent(p) for p in (0, 0.0001, 0.0129, 0.5, 0.99981, 1)] == [
        "0%",
        "<0.1%",
        "1.3%",
        "50%",
        ">99.9%",
        "100%",
    ]
    assert number_format([0.8124])(0.1234) == "+0.1234"
    assert number_format([12.3456])(-0.001) == "+0.00"
    assert number_format([3e-9])(-1.5e-9) == "-1.500e-09"


# ---- the page


@pytest.mark.parametrize("name", EXAMPLES)
def test_words_carry_score_place_and_title(name: str) -> None:
    made = EXAMPLES[name]
    texts = [made["text"]] if made["text_pair"] is None else [made["text"], made["text_pair"]]
    segments = [s for line in highlight(made).lines for s in line if s.score is not None]
    words = Reader(render_page([made])).words
    assert len(words) == len(segments)
    for (attributes, text), segment in zip(words, segments, strict=True):
        assert text == segment.text
        start, end = int(attributes["data-start"] or ""), int(attributes["data-end"] or "")
        assert text in [whole[start:end] for whole in texts]
        assert float(attributes["data-score"] or "") == pytest.approx(segment.score, abs=5e-4)
        sign = {True: "p", False: "n"}[segment.level > 0] if segment.level else "z"
        assert attributes["class"] == f"w {sign}{abs(segment.level)}"
        title = attributes["title"] or ""
        assert title[0] in "+\u2212" and title.endswith(f" {text}")
        assert "tabindex" not in attributes


def test_a_page_tells_what_is_explained() -> None:
    page = Reader(render_page([NEGATIVE, PAIR, REGRESSION, MULTI_LABEL, CHINESE])).everything
    for expected in (
        "negative >99.9%",
        "#row-1841",
        "The heads choose positive where the model chooses negative.",
        "the heads choose" + "positive",
        "Scores for contradiction rather than neutral",
        "Explains its MHEX heads: depths smoothed one into the next, against the foil",
        "value 4.31",
        "toxic 94%",
        "insult 81%",
        "Scores for insult",
        "负面 77.2%",
    ):
        assert expected in page
    assert "Scores for positive" not in Reader(render_page([POSITIVE])).everything


def test_layers_and_classes_are_drawn_where_they_are() -> None:
    tags = Reader(render_page([POSITIVE])).tags
    assert sum(tag == "path" and a["class"] in ("u", "d") for tag, a in tags) == 24
    assert "<svg" not in render_page([NEGATIVE])
    page = render_page([PAIR])
    rows = re.findall(r"<tr><td>(\w+) <span.*?<td class=\"r\">(.*?)<td>", page)
    sums = [sum(token["scores"][k] for token in PAIR["tokens"]) for k in range(3)]
    expected = sorted(zip(sums, PAIR["classes"], strict=True), reverse=True)
    assert rows == [(name, f"{value:+.3f}".replace("-", "\u2212")) for value, name in expected]
    assert re.search(r'<bdi class="w p10" title="\+[0-9.]+">Nobody</bdi>', page)


def test_layer_sums_split_signs_over_content_tokens() -> None:
    made = explanation("a b", [("[CLS]", None, 9.0), ("a", 0, 0.0), ("b", 1, 0.0)])
    for token, row in zip(made["tokens"], ([9, 9], [1.0, -0.5], [-2.0, 0.25]), strict=True):
        token["layers"] = row
    assert layer_sums(made) == [(1.0, -2.0), (0.25, -0.5)]
    assert layer_sums(NEGATIVE) == []


def test_empty_text_no_texts_and_huge_scores_render() -> None:
    empty = explanation("", [("[CLS]", None, 0.1), ("[SEP]", None, 0.2)])
    assert Reader(render_page([empty])).texts == [""]
    assert "<article" not in render_page([])
    large = explanation("a b", [("a", 0, 1e308), ("b", 1, -1e308)])
    assert "w n10" in render_page([large])


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_strings_stay_text(attack: str) -> None:
    made = attacked(attack)
    plain = Reader(render_page([attacked("harmless")], title="harmless"))
    for page, reference in (
        (render_page([made], title=attack), plain),
        (render_fragment(made), Reader(render_fragment(attacked("harmless")))),
    ):
        reader = Reader(page)
        assert [tag for tag, _ in reader.tags if tag != "span"] == [t for t, _ in reference.tags if t != "span"]
        assert [set(attributes) for tag, attributes in reader.tags if tag not in ("span", "bdi")] == [
            set(attributes) for tag, attributes in reference.tags if tag not in ("span", "bdi")
        ]
        assert_inert(reader)
        assert reader.texts == [shown(attack)] * 2
        page.encode()
        # Direction controls only in the texts themselves, where their paragraph ends them.
        rest = re.sub(r'<p class="t".*?</p>', lambda p: "".join(re.findall("<[^>]*>", p[0])), page, flags=re.S)
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", rest)
        if attack.isprintable():
            assert reader.everything.count(attack) >= 10


@pytest.mark.parametrize("name", EXAMPLES)
def test_pages_are_inert_and_self_contained(name: str) -> None:
    for page in (render_page([EXAMPLES[name]]), render_fragment(EXAMPLES[name])):
        assert_inert(Reader(page))
        assert (page.count("<script>"), page.count("<script")) == ((1, 1) if page.startswith("<!doctype") else (0, 0))
        style = re.search("<style>(.*?)</style>", page)
        assert style and not re.search(r"url\(|@import|@font-face|expression", style[1])


def test_the_policy_allows_the_style_and_the_script_and_nothing_else() -> None:
    page = render_page(EXAMPLES.values())
    style, script = (re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)[0] for tag in ("style", "script"))
    digest, code = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (style, script))
    [policy] = [a["content"] for tag, a in Reader(page).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; script-src 'sha256-{code}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert page.index('charset="utf-8"') < 100 and page.startswith("<!doctype html>\n<html lang=")


@pytest.mark.parametrize("name", EXAMPLES)
def test_one_text_page_is_small(name: str) -> None:
    page = render_page([EXAMPLES[name]])
    spans = sum(len(text.encode()) for text in re.findall(r'<p class="t".*?</p>', page, re.S))
    assert len(page.encode()) - spans < 10_000
    assert len(re.findall("<style>(.*?)</style>", page)[0]) < 5_000


# ---- the style sheets


def palettes(css: str) -> list[dict[str, str]]:
    blocks = re.findall(r"\{([^{}]*--bg:[^{}]*)\}", css)
    return [dict(re.findall(r"--(\w+):\s*(#[0-9a-f]+)", block)) for block in blocks]


def test_text_reads_on_every_level_in_light_and_dark() -> None:
    light, dark = palettes((TEMPLATES / "highlight.css").read_text())
    assert luminance(light["bg"]) > luminance(light["fg"]) and luminance(dark["bg"]) < luminance(dark["fg"])
    for palette in (light, dark):
        levels = [palette[f"{sign}{level}"] for sign in "pn" for level in range(1, 11)]
        for background in (*levels, palette["bg"]):
            assert contrast(palette["fg"], background) >= 4.5
        assert contrast(palette["mute"], palette["bg"]) >= 4.5
        for sign in "pn":  # each level further from the plain background than the one before
            steps = [contrast(palette["bg"], palette[f"{sign}{level}"]) for level in range(1, 11)]
            assert steps == sorted(set(steps))
    page = (TEMPLATES / "page.css").read_text()
    for palette, ground in zip((light, dark), re.findall(r"background: (#\w{6})", page), strict=True):
        assert contrast(palette["mute"], ground) >= 4.5 and contrast(palette["fg"], ground) >= 4.5


def test_a_class_for_each_of_the_21_levels() -> None:
    css = (TEMPLATES / "highlight.css").read_text()
    for sign in "pn":
        for level in range(1, 11):
            assert f".mhex .{sign}{level} {{ background: var(--{sign}{level}); }}" in css
    assert ".mhex .z0" in css


def test_notebook_themes_use_the_same_palettes() -> None:
    assert palettes((TEMPLATES / "notebook.css").read_text()) == palettes((TEMPLATES / "highlight.css").read_text())


def selectors(css: str) -> list[str]:
    heads = re.findall(r"([^{}]+)\{", css)
    return [part.strip() for head in heads if not head.strip().startswith("@") for part in head.split(",")]


def test_the_fragment_styles_nothing_else() -> None:
    fragment = render_fragment(PAIR)
    assert fragment.startswith('<div class="mhex">') and fragment.rstrip().endswith("</div>")
    [style] = re.findall("<style>(.*?)</style>", fragment, re.S)
    found = selectors(style)
    assert len(found) > 40
    for selector in found:
        assert re.match(r"(\.vscode-(dark|light) |\[data-jp-theme-light=\"(true|false)\"\] )?\.mhex\b", selector)
    assert '[data-jp-theme-light="false"] .mhex' in found and ".vscode-dark .mhex" in found
    assert not {"html", "body", "script", "h1", "h2"} & {tag for tag, _ in Reader(fragment).tags}


# ---- the terminal


def printed(made: dict[str, Any], *, unit: str = "words", **options: Any) -> str:
    stream = io.StringIO()
    options = {"width": 80, "force_terminal": False, "color_system": None, "legacy_windows": False, **options}
    render_terminal(made, Console(file=stream, _environ={}, **options), unit=unit)
    return stream.getvalue()


def test_a_pipe_gets_marks_instead_of_colours() -> None:
    out = printed(POSITIVE)
    assert "\x1b" not in out
    assert out.startswith("positive 98.7%\n")
    assert "superb[+0.8124]" in out and "thin[-0.3800]" in out
    assert "plot was" in out  # weak words stay as they are
    assert "on special tokens 5%" in printed(POSITIVE, width=200)
    assert "note: The heads choose positive" in printed(NEGATIVE)


@pytest.mark.parametrize("system", ["standard", "256", "truecolor"])
def test_a_terminal_gets_colours_and_the_sign_without_them(system: str) -> None:
    out = printed(POSITIVE, force_terminal=True, color_system=system)
    before = {word: re.findall(r"\x1b\[([0-9;]*)m$", out[: out.index(word)])[0] for word in ("superb", "thin")}
    assert before["superb"].split(";")[0] == "1" and before["thin"].split(";")[0] == "4"
    assert before["superb"].split(";")[1:] != before["thin"].split(";")[1:]
    assert "superb[" not in re.sub(r"\x1b\[[0-9;]*m", "", out)


def test_no_color_keeps_marks_on_a_terminal() -> None:
    out = printed(POSITIVE, force_terminal=True, color_system="truecolor", no_color=True)
    assert "superb[+0.8124]" in out
    assert not re.search(r"\x1b\[[0-9;]*(3|4)8;", out)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("colour", [False, True])
def test_nothing_in_a_text_commands_the_terminal(attack: str, colour: bool) -> None:
    options: dict[str, Any] = {"force_terminal": True, "color_system": "truecolor"} if colour else {}
    out = printed(attacked(attack), width=2000, **options)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", plain)
    assert "\x1b]" not in out
    out.encode()
    if attack.isprintable():
        assert attack in plain


def test_lines_keep_to_the_width() -> None:
    for made in (POSITIVE, CHINESE, attacked("a" * 400)):
        assert max(cell_len(line) for line in printed(made, width=30).splitlines()) <= 30


def test_a_terminal_without_unicode_is_served() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    render_terminal(CHINESE, Console(file=stream, width=80, _environ={}))
    stream.flush()
    assert b"?" in raw.getvalue() and b"77.2%" in raw.getvalue()


def test_pairs_are_two_lines() -> None:
    lines = printed(PAIR, width=200).splitlines()
    assert lines[1].startswith("A man in a blue shirt") and lines[2].startswith("Nobody[")
    assert Reader(render_page([PAIR])).texts == [PAIR["text"], PAIR["text_pair"]]
