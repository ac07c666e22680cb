# SPDX-License-Identifier: Apache-2.0
"""The HTML page and the notebook fragment: what they hold, their policy, their size, hostile strings."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.html import UNHOLDABLE, Reader, assert_inert, explanations, shown
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
from mhex_nlp.render import render_fragment, render_page
from mhex_nlp.render.highlight import highlight, texts_of
from mhex_nlp.render.numbers import signed

Render = Callable[[dict[str, Any], str], str]
KINDS: dict[str, Render] = {
    "page": lambda document, title: render_page([document], title=title),
    "fragment": lambda document, title: render_fragment(document),
}


@given(explanations(), st.sampled_from(["words", "tokens"]))
@settings(max_examples=150, deadline=None)
def test_without_its_tags_a_page_is_the_text(document: dict[str, Any], unit: str) -> None:
    try:
        pages = [render_page([document], unit=unit), render_fragment(document, unit=unit)]
    except ValueError as error:
        assert "sum" in str(error)
        return
    for page in pages:
        page.encode()  # no surrogate is left
        assert not re.search(UNHOLDABLE, page)
        assert Reader(page).texts == [shown(text) for text in texts_of(document)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_words_carry_score_place_and_title(name: str) -> None:
    document = EXAMPLES[name]
    segments = [segment for line in highlight(document).lines for segment in line if segment.score is not None]
    words = Reader(render_page([document])).words
    assert len(words) == len(segments)
    for (attributes, text), segment in zip(words, segments, strict=True):
        assert text == segment.text
        start, end = int(attributes["data-start"] or ""), int(attributes["data-end"] or "")
        assert text in [whole[start:end] for whole in texts_of(document)]
        assert float(attributes["data-score"] or "") == pytest.approx(segment.score, abs=5e-4)
        sign = {True: "p", False: "n"}[segment.level > 0] if segment.level else "z"
        assert attributes["class"] == f"w {sign}{abs(segment.level)}"
        title = attributes["title"] or ""
        assert title[0] in "+\u22120" and title.endswith(f" {text}")
        assert "tabindex" not in attributes


def test_a_page_says_what_is_explained() -> None:
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


def test_a_pair_is_two_texts() -> None:
    assert Reader(render_page([PAIR])).texts == [PAIR["text"], PAIR["text_pair"]]


def test_layers_are_drawn_where_they_are() -> None:
    tags = Reader(render_page([POSITIVE])).tags
    assert sum(tag == "path" and attributes["class"] in ("u", "d") for tag, attributes in tags) == 24
    assert "<svg" not in render_page([NEGATIVE])


def test_classes_are_listed_by_their_sums() -> None:
    page = render_page([PAIR])
    rows = re.findall(r"<tr><td>(\w+) <span.*?<td class=\"r\">(.*?)<td>", page)
    sums = [sum(token["scores"][index] for token in PAIR["tokens"]) for index in range(3)]
    expected = sorted(zip(sums, PAIR["classes"], strict=True), reverse=True)
    assert rows == [(name, signed(value).replace("-", "\u2212")) for value, name in expected]
    assert re.search(r'<bdi class="w p10" title="\+[0-9.]+">Nobody</bdi>', page)


def test_empty_text_no_texts_and_huge_scores_render() -> None:
    empty = explanation("", [("[CLS]", None, 0.1), ("[SEP]", None, 0.2)])
    assert Reader(render_page([empty])).texts == [""]
    assert "<article" not in render_page([])
    large = explanation("a b", [("a", 0, 1e308), ("b", 1, -1e308)])
    assert "w n10" in render_page([large])


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", KINDS)
def test_attack_strings_stay_text(kind: str, attack: str) -> None:
    page = KINDS[kind](attacked(attack), attack)
    reader, harmless = Reader(page), Reader(KINDS[kind](attacked("harmless"), "harmless"))
    assert [tag for tag, _ in reader.tags if tag != "span"] == [tag for tag, _ in harmless.tags if tag != "span"]
    assert [set(attributes) for tag, attributes in reader.tags if tag not in ("span", "bdi")] == [
        set(attributes) for tag, attributes in harmless.tags if tag not in ("span", "bdi")
    ]
    assert_inert(reader)
    assert reader.texts == [shown(attack)] * 2
    page.encode()
    # Direction controls only in the texts themselves, where their paragraph ends them.
    rest = re.sub(r'<p class="t".*?</p>', lambda match: "".join(re.findall("<[^>]*>", match[0])), page, flags=re.S)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", rest)
    if attack.isprintable():
        assert reader.everything.count(attack) >= 10


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(("kind", "scripts"), [("page", 1), ("fragment", 0)])
def test_pages_are_inert_and_self_contained(kind: str, scripts: int, name: str) -> None:
    page = KINDS[kind](EXAMPLES[name], "title")
    assert_inert(Reader(page))
    assert page.count("<script>") == page.count("<script") == scripts
    style = re.search("<style>(.*?)</style>", page)
    assert style and not re.search(r"url\(|@import|@font-face|expression", style[1])


def test_the_policy_allows_the_style_and_the_script_and_nothing_else() -> None:
    page = render_page(EXAMPLES.values())
    contents = (re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)[0] for tag in ("style", "script"))
    style, script = (base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents)
    [policy] = [a["content"] for _, a in Reader(page).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert page.index('charset="utf-8"') < 100 and page.startswith("<!doctype html>\n<html lang=")


@pytest.mark.parametrize("name", EXAMPLES)
def test_one_text_page_is_small(name: str) -> None:
    page = render_page([EXAMPLES[name]])
    spans = sum(len(text.encode()) for text in re.findall(r'<p class="t".*?</p>', page, re.S))
    assert len(page.encode()) - spans < 10_500
    assert len(re.findall("<style>(.*?)</style>", page)[0]) < 5_000


def selectors(css: str) -> list[str]:
    heads = re.findall(r"([^{}]+)\{", css)
    return [part.strip() for head in heads if not head.strip().startswith("@") for part in head.split(",")]


def test_the_fragment_styles_nothing_else() -> None:
    fragment = render_fragment(PAIR)
    assert fragment.startswith('<div class="mhex">') and fragment.rstrip().endswith("</div>")
    [style] = re.findall("<style>(.*?)</style>", fragment, re.S)
    styled = selectors(style)
    assert len(styled) > 40
    for selector in styled:
        theme = r'(\.vscode-(dark|light) |\[data-jp-theme-light="(true|false)"\] |\[theme="(dark|light)"\] )?'
        assert re.match(theme + r"\.mhex:not\(#i#i\)", selector), "outweighs what a host says"
    for theme in ('[data-jp-theme-light="false"]', ".vscode-dark", '[theme="dark"]'):
        assert f"{theme} .mhex:not(#i#i)" in styled
    assert not {"html", "body", "script", "h1", "h2"} & {tag for tag, _ in Reader(fragment).tags}
