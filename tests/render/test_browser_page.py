# SPDX-License-Identifier: Apache-2.0
"""The page and the fragment in a real browser: what it draws, what it asks the network, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.browser import ADDRESS, open_page
from helpers.html import shown
from helpers.render_examples import ATTACKS, EXAMPLES, NEGATIVE, PAIR, POSITIVE, attacked, refined
from mhex_nlp.render import render_fragment, render_page, render_summary

ALL = [*EXAMPLES.values(), *map(attacked, ATTACKS)]


def test_attack_strings_do_nothing(browser: Any) -> None:
    opened = open_page(browser, render_page(ALL, title=ATTACKS[2]))
    opened.assert_calm()
    assert opened.page.title() == ATTACKS[2]
    assert opened.page.locator("article").count() == len(ALL)
    assert opened.page.locator("img, iframe, a, form, link, base, [style]").count() == 0
    assert opened.page.locator("script").count() == 1, "ours alone"
    texts = opened.page.eval_on_selector_all(".t", "ps => ps.map(p => p.textContent)")[-2 * len(ATTACKS) :: 2]
    assert texts == [shown(attack) for attack in ATTACKS]
    opened.page.mouse.move(300, 300)
    opened.page.mouse.click(300, 300)
    opened.assert_calm()


def hostile_summary() -> dict[str, Any]:
    words = [{"word": attack, "count": 1, "sum": 0.5, "mean": 0.5} for attack in ATTACKS]
    return {
        **{name: 3 for name in ("rows", "explained", "errors", "truncated", "windowed", "labelled")},
        "share_on_special_tokens": 0.25,
        "share_on_punctuation": 0.0,
        "accuracy": 0.5,
        "confusion": {attack: {attack: 1} for attack in ATTACKS[:5]},
        "classes": {attack: {"texts": 1, "for": words, "against": []} for attack in ATTACKS[:5]},
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_summary_of_attack_strings_does_nothing(browser: Any, scheme: str) -> None:
    pages = ["part-0-00000.html", "javascript:alert(1).html"]
    opened = open_page(browser, render_summary(hostile_summary(), pages, title=ATTACKS[2]), scheme=scheme, width=420)
    opened.assert_calm()
    assert opened.page.title() == ATTACKS[2]
    assert opened.page.locator("script, img, iframe, form, link, base, [style]").count() == 0
    links = opened.page.eval_on_selector_all("a", "links => links.map(a => a.href)")
    assert links == [
        ADDRESS.replace("page.html", name) for name in ("part-0-00000.html", "javascript%3Aalert%281%29.html")
    ]
    words = opened.page.eval_on_selector_all(".sides tbody th", "cells => cells.map(c => c.textContent)")
    assert len(words) == 5 * len(ATTACKS)
    wide = opened.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 420
    expected = "rgb(16, 18, 22)" if scheme == "dark" else "rgb(246, 246, 244)"
    assert opened.background("body") == expected


def test_a_fragment_with_attack_strings_does_nothing(browser: Any) -> None:
    parts = "".join(render_fragment(attacked(attack)) for attack in ATTACKS)
    opened = open_page(browser, f"<!doctype html><meta charset=utf-8><p id=after>x</p>{parts}")
    opened.assert_calm()
    assert opened.page.locator(".mhex").count() == len(ATTACKS)
    assert opened.page.locator("script, img, iframe, a, form, link, base, [style]").count() == 0
    assert opened.background("#after") == "rgba(0, 0, 0, 0)"


def test_the_text_is_kept_to_the_code_point(browser: Any) -> None:
    opened = open_page(browser, render_page(EXAMPLES.values()))
    texts = opened.page.eval_on_selector_all(".t", "ps => ps.map(p => p.textContent)")
    assert texts == [e[name] for e in EXAMPLES.values() for name in ("text", "text_pair") if e[name] is not None]
    # Blank lines and tabs are drawn, not folded.
    heights = opened.page.eval_on_selector_all(".t", "ps => ps.map(p => p.getBoundingClientRect().height)")
    assert heights[1] >= 3 * 30


def test_the_style_applies_and_shows_the_sign(browser: Any) -> None:
    opened = open_page(browser, render_page([POSITIVE, NEGATIVE]))
    assert opened.background(".w.p10") != opened.background(".w.n10")
    assert opened.background(".w.p10") != opened.background(".w.p3") != "rgba(0, 0, 0, 0)"
    line = "e => getComputedStyle(e).textDecorationStyle"
    assert opened.page.eval_on_selector(".t .w[class^='w p']", line) == "solid"
    assert opened.page.eval_on_selector(".t .w[class^='w n']", line) == "wavy"
    opened.assert_calm()


@pytest.mark.parametrize("width", [360, 1000])
def test_no_horizontal_scroll(browser: Any, width: int) -> None:
    opened = open_page(browser, render_page(ALL), width=width)
    opened.page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    wide = opened.page.eval_on_selector_all(
        ".c *",
        "(all, w) => all.filter(e => e.getBoundingClientRect().right > w).map(e => e.outerHTML)",
        width,
    )
    assert wide == []


def test_dark_and_print_change_the_colours(browser: Any) -> None:
    opened = open_page(browser, render_page([POSITIVE]))
    light = [opened.background(selector) for selector in ("body", ".c", ".w.p10", ".w.n10")]
    opened.page.emulate_media(color_scheme="dark")
    dark = [opened.background(selector) for selector in ("body", ".c", ".w.p10", ".w.n10")]
    assert all(one != other for one, other in zip(light, dark, strict=True))
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert [opened.background(selector) for selector in (".c", ".w.p10", ".w.n10")] == light[1:]
    assert opened.background("body") == "rgb(255, 255, 255)"
    opened.assert_calm()


@pytest.mark.parametrize("mark", ['data-jp-theme-light="false"', 'class="vscode-dark"'])
def test_a_notebook_theme_wins_over_the_system(browser: Any, mark: str) -> None:
    fragment = render_fragment(PAIR)
    dark = open_page(browser, f"<!doctype html><body {mark}>{fragment}", scheme="light")
    system = open_page(browser, f"<!doctype html><body>{fragment}", scheme="dark")
    light_mark = mark.replace("false", "true").replace("dark", "light")
    light = open_page(browser, f"<!doctype html><body {light_mark}>{fragment}", scheme="dark")
    assert dark.background(".c") == system.background(".c") != light.background(".c")


def test_words_describe_their_tokens_by_mouse_and_by_keyboard(browser: Any) -> None:
    opened = open_page(browser, render_page([POSITIVE, PAIR]))
    card = opened.page.locator("article").first
    note = card.locator("[role=status]")
    hint = note.inner_text()
    word = card.locator(".t .w", has_text="superb").first
    tokens = [POSITIVE["tokens"][int(index)] for index in (word.get_attribute("data-tokens") or "").split()]
    assert "".join(token["text"] for token in tokens) == "superb"
    word.hover()
    description = note.inner_text()
    assert description.startswith(
        f"{word.get_attribute('title')} \u00b7 {tokens[0]['start']}\u2013{tokens[-1]['end']} \u00b7 "
    )
    assert [part.split()[0] for part in description.split(" \u00b7 ")[2].split(", ")] == [
        token["piece"] for token in tokens
    ]
    text = card.locator(".t")
    opened.page.mouse.move(0, 0)
    text.focus()
    opened.page.keyboard.press("Escape")
    words = text.locator(".w")
    for key, reached in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        opened.page.keyboard.press(key)
        expected = words.nth(reached).inner_text()
        assert text.locator(".at").inner_text() == expected and expected in note.inner_text()
    opened.page.keyboard.press("Escape")
    assert note.inner_text() == hint and text.locator(".at").count() == 0
    pair = opened.page.locator("article").nth(1)
    assert pair.locator(".t").count() == 2 and pair.locator("[role=status]").count() == 1
    opened.assert_calm()


def outlines(opened: Any) -> dict[str, tuple[str, str, str]]:
    """By word: style of its outline, its ground, its line."""
    script = """all => all.map((e) => { const s = getComputedStyle(e);
      return [e.textContent, s.outlineStyle, s.backgroundColor, s.textDecorationStyle]; })"""
    return {word: (*rest,) for word, *rest in opened.page.eval_on_selector_all(".t .w", script)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["page", "fragment"])
def test_a_sign_that_is_not_settled_shows_without_colour(browser: Any, kind: str, scheme: str) -> None:
    document = refined(POSITIVE, error=0.3)
    fragment = f"<!doctype html><meta charset=utf-8>{render_fragment(document)}"
    page = render_page([document]) if kind == "page" else fragment
    opened = open_page(browser, page, scheme=scheme, width=360)
    drawn = outlines(opened)
    assert drawn["superb"][0] == "none" and drawn["superb"][1:] != ("rgba(0, 0, 0, 0)", "solid")
    assert drawn["drags"] == ("dotted", "rgba(0, 0, 0, 0)", "wavy") and drawn["acting"][0::2] == ("dotted", "solid")
    assert drawn["plot"][0] == "dotted" and drawn["second"][0] == "none"
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    if kind == "page":
        card = opened.page.locator("article")
        card.locator(".t .w", has_text="drags").hover()
        note = card.locator("[role=status]").inner_text()
        assert note.startswith("\u22120.43 \u00b1 0.46 (sign not settled) drags")
        assert card.locator(".w.at").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    opened.assert_calm()


def test_what_is_copied_is_the_text(browser: Any) -> None:
    opened = open_page(browser, render_page([refined(POSITIVE)]))
    copied = opened.page.evaluate(
        "() => { getSelection().selectAllChildren(document.querySelector('.t')); return getSelection().toString(); }"
    )
    assert copied == POSITIVE["text"]
