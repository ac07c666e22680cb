# SPDX-License-Identifier: Apache-2.0
"""A comparison in a real browser: columns and rows that line up, nothing beside a phone's screen, nothing that runs."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.browser import open_page
from helpers.html import contrast, hex_colour, shown
from helpers.render_examples import ATTACKS, CHINESE, PAIR, POSITIVE
from helpers.scored import hostile
from mhex_nlp import Explanation, ScoredText, compare_explanations
from mhex_nlp.inputs.segmentation import word_spans

EXPLAINED = Explanation.from_dict(POSITIVE)


def other(name: str, scale: float) -> ScoredText:
    spans = [(s, e, scale * ((7 * s) % 11 - 5)) for s, e in word_spans(EXPLAINED.text)]
    return ScoredText(EXPLAINED.text, [(0, 0, scale), *spans], name, label="positive", probability=0.94)


FOUR = [EXPLAINED, other("captum LayerIntegratedGradients", 0.01), other("shap PartitionExplainer", -1e-9)]
FOUR.append(other("a" * 80, 12345.678))


def boxes(opened: Any, selector: str) -> list[dict[str, float]]:
    script = "all => all.map(e => { const r = e.getBoundingClientRect(); return {x: r.x, y: r.y, right: r.right}; })"
    return list(opened.page.eval_on_selector_all(selector, script))


OPEN_ALL = "all => all.forEach(d => { d.open = true; })"


@pytest.mark.parametrize("count", [2, 4])
def test_columns_stand_side_by_side_and_stack_on_a_phone(browser: Any, count: int) -> None:
    opened = open_page(browser, compare_explanations(FOUR[:count]).to_html(), width=1280)
    for part in (".cols .h", ".cols .t", ".cols .sums"):  # names, texts and sums each on one line
        columns = boxes(opened, part)
        assert len(columns) == count and len({box["y"] for box in columns}) == 1, part
        assert [box["x"] for box in columns] == sorted({box["x"] for box in columns})
    assert_bars_line_up(opened, count)
    opened.page.set_viewport_size({"width": 360, "height": 800})
    cards = boxes(opened, "article")
    assert len({box["x"] for box in cards}) == 1 and len({box["y"] for box in cards}) == count
    assert_bars_line_up(opened, count)
    opened.assert_calm()


def assert_bars_line_up(opened: Any, count: int) -> None:
    """The zero lines of a column's bars lie over each other, column after column."""
    before = 0.0
    for column in range(2, 2 + count):
        zeros = [box["x"] for box in boxes(opened, f"section > .scroll tr td:nth-child({column}) path.a")]
        assert len(zeros) == 12 and max(zeros) - min(zeros) < 0.5 and min(zeros) > before
        before = max(zeros)


@pytest.mark.parametrize("which", ["four", "pair and Chinese"])
def test_nothing_overflows(browser: Any, which: str) -> None:
    pair, chinese = Explanation.from_dict(PAIR), Explanation.from_dict(CHINESE)
    comparison = compare_explanations(FOUR if which == "four" else [pair, pair, chinese])
    opened = open_page(browser, comparison.to_html())
    opened.page.eval_on_selector_all("details", OPEN_ALL)
    for width in (360, 700, 1280):
        opened.page.set_viewport_size({"width": width, "height": 800})
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        script = "(all, w) => all.filter(e => e.getBoundingClientRect().right > w).map(e => e.outerHTML)"
        assert opened.page.eval_on_selector_all("main *", script, width) == []
        script = "all => all.map(e => e.scrollWidth - e.clientWidth).filter(more => more > 1)"
        assert opened.page.eval_on_selector_all(".scroll", script) == []


def test_attack_strings_do_nothing(browser: Any) -> None:
    joined = "\n".join(ATTACKS)
    comparison = compare_explanations([hostile(joined)] * 4, names=[joined] * 4, title=ATTACKS[2])
    for page in (comparison.to_html(), f"<!doctype html><meta charset=utf-8>{comparison._repr_html_()}"):
        opened = open_page(browser, page, width=420)
        opened.page.eval_on_selector_all("details", OPEN_ALL)
        opened.assert_calm()
        assert opened.page.locator("script, img, iframe, a, form, link, base, [style]").count() == 0
        texts = opened.page.eval_on_selector_all(".t", "ps => ps.map(p => p.textContent)")
        assert texts == [shown(joined)] * 4
        opened.page.mouse.click(200, 300)
        opened.assert_calm()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_reads_on_its_ground(browser: Any, scheme: str) -> None:
    opened = open_page(browser, compare_explanations(FOUR[:3]).to_html(), width=1280, scheme=scheme)
    opened.page.eval_on_selector_all("details", OPEN_ALL)
    pairs = opened.page.evaluate(
        """() => {
          const pairs = new Set();
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (walker.nextNode()) {
            const parent = walker.currentNode.parentElement;
            if (!walker.currentNode.textContent.trim()) continue;
            let ground = parent;
            while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
            pairs.add(getComputedStyle(parent).color + "|" + getComputedStyle(ground).backgroundColor);
          }
          return [...pairs];
        }"""
    )
    assert len(pairs) > 6
    for pair in pairs:
        assert contrast(*map(hex_colour, pair.split("|"))) >= 4.5, pair


def test_signs_differ_by_more_than_colour_and_print_is_light(browser: Any) -> None:
    opened = open_page(browser, compare_explanations(FOUR[:2]).to_html(), width=1280, scheme="dark")
    zero = boxes(opened, "section > .scroll td:nth-child(2) path.a")[0]["x"]
    for kind, sign in (("u", "+"), ("d", "\u2212")):
        script = "(all, kind) => all.map(e => [e.innerText.trim(), e.querySelector(kind).getBoundingClientRect().x])"
        cells = opened.page.eval_on_selector_all(
            f"section > .scroll td:nth-child(2) div:has(.{kind})", script, f".{kind}"
        )
        drawn = [(number.strip(), x) for number, x in cells]
        assert drawn and all(number == "0" or number.startswith(sign) for number, _ in drawn)
        assert all(x >= zero - 0.5 if kind == "u" else x <= zero + 0.5 for _, x in drawn)
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.background("body") == opened.background("article") == "rgb(255, 255, 255)"
