# SPDX-License-Identifier: Apache-2.0
"""Pages of image explanations in a real browser: what pointer, keys and controls do, and what stays quiet."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.browser import open_page
from helpers.browser_watch import LAYOUT, OPEN_DETAILS, POKE
from helpers.image_examples import CLASSES, EXAMPLE, UNTRUSTED, drawn_picture, hostile
from helpers.notebook_hosts import DIFFERENCES, imitated
from helpers.render_examples import ATTACKS
from mhex_nlp.render import image_fragment, image_page

AROUND = "<!doctype html><meta charset=utf-8><body>{}"
MIDDLE = """([row, col]) => {
  const cells = document.querySelector(".cells");
  const { x, y } = new DOMPoint(col + 0.5, row + 0.5).matrixTransform(cells.getScreenCTM());
  return [x, y];
}"""
SHOWN = "all => all.filter((e) => getComputedStyle(e).display !== 'none').map((e) => e.getAttribute('class'))"


@pytest.mark.parametrize("width", [1000, 360])
def test_a_cell_tells_its_score_by_pointer_and_by_keys(browser: Any, width: int) -> None:
    opened = open_page(browser, image_page(EXAMPLE, drawn_picture()), width=width)
    note = opened.page.locator(".tell")
    hint = note.inner_text()
    for row, col, score in ((1, 1, "+1.00"), (3, 4, "\u22120.600"), (0, 0, "0")):
        opened.page.mouse.move(*opened.page.evaluate(MIDDLE, [row, col]))
        assert note.inner_text() == f"Row {row + 1}, column {col + 1}: {score} logits"
    x, y = opened.page.evaluate(MIDDLE, [1, -1])  # beside the grid, on what the model does not see
    opened.page.mouse.move(x, y)
    assert note.inner_text() == hint
    opened.page.mouse.move(0, 0)
    opened.page.locator(".stage").focus()
    for key, place in (
        ("ArrowRight", "Row 1, column 1"),
        ("ArrowDown", "Row 2, column 1"),
        ("ArrowRight", "Row 2, column 2"),
    ):
        opened.page.keyboard.press(key)
        assert note.inner_text().startswith(f"{place}: ")
    assert opened.page.locator(".at").first.is_visible()
    opened.page.keyboard.press("Escape")
    assert note.inner_text() == hint and not opened.page.locator(".at").first.is_visible()
    opened.assert_calm()


def test_a_touch_tells_a_score(browser: Any) -> None:
    opened = open_page(browser, image_page(EXAMPLE))
    x, y = opened.page.evaluate(MIDDLE, [1, 1])
    touch = {"pointerType": "touch", "clientX": x, "clientY": y, "bubbles": True}
    opened.page.dispatch_event(".stage svg", "pointerdown", touch)
    opened.page.dispatch_event(".stage svg", "pointerleave", touch)
    assert opened.page.locator(".tell").inner_text() == "Row 2, column 2: +1.00 logits"


@pytest.mark.parametrize("kind", ["page", "fragment"])
def test_a_class_shows_its_own_map(browser: Any, kind: str) -> None:
    html = image_page(CLASSES) if kind == "page" else AROUND.format(2 * image_fragment(CLASSES))
    opened = open_page(browser, html)
    card = opened.page.locator(".im").first
    assert card.locator(".cells > .k").evaluate_all(SHOWN) == ["k k0"]
    card.locator(".x2").check()  # the second of the classes, by their sums
    assert card.locator(".cells > .k").evaluate_all(SHOWN) == ["k k2"]
    assert card.locator(".scale").evaluate_all(SHOWN) == ["scale k k2"]
    assert card.locator(".chip").first.is_hidden(), "regions are those of what is explained"
    assert card.locator(".scale.k2 .what").inner_text().endswith("for cup")
    if kind == "page":
        opened.page.mouse.move(*opened.page.evaluate(MIDDLE, [1, 1]))
        assert "+0.500 logits" in card.locator(".tell").inner_text()
    else:
        assert opened.page.locator(".im").nth(1).locator(".cells > .k").evaluate_all(SHOWN) == ["k k0"], "its copy"


def test_the_map_can_be_weakened_and_taken_away(browser: Any) -> None:
    opened = open_page(browser, image_page(EXAMPLE, drawn_picture()))
    opacity = "e => getComputedStyle(e).opacity"
    assert opened.page.locator(".fill").first.evaluate(opacity) == "1"
    opened.page.locator("input[type=range]").fill("40")
    assert opened.page.locator(".fill").first.evaluate(opacity) == "0.4"
    opened.page.locator(".rg").uncheck()
    assert not opened.page.locator(".edge").first.is_visible() and opened.page.locator(".hatch").first.is_visible()
    opened.page.locator(".on").uncheck()
    assert not opened.page.locator(".stage .hatch").first.is_visible() and not opened.page.locator(".veil").is_visible()
    assert opened.page.locator(".stage image").is_visible()
    opened.assert_calm()


def test_without_its_script_a_page_reads_the_same(browser: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.set_content(image_page(CLASSES, drawn_picture()))
    assert page.locator(".op").is_hidden() and page.locator(".tell").is_hidden()
    page.locator(".x1").check()
    assert page.locator(".scale.k1").is_visible() and page.locator(".scale.k0").is_hidden()
    page.locator(".all summary").click()
    assert page.locator(".all td").nth(1 + 5 + 1).inner_text() == "+1.00"
    page.context.close()


def test_signs_show_without_colour(browser: Any) -> None:
    opened = open_page(browser, image_page(EXAMPLE, drawn_picture()))
    dashes = opened.page.eval_on_selector_all(".in", "all => all.map(e => getComputedStyle(e).strokeDasharray)")
    assert dashes == ["none", "5px, 4px"]
    assert opened.page.locator("circle.chip").count() == opened.page.locator("rect.chip").count() == 1
    hatched = opened.page.locator(".cells .hatch").bounding_box()
    left, top = opened.page.evaluate(MIDDLE, [2.5, 2.5])
    assert hatched["x"] > left - 4 and hatched["y"] > top - 4, "below and to the right: what speaks against"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_nothing_is_beside_or_over_anything(browser: Any, width: int, scheme: str) -> None:
    html = image_page(CLASSES, drawn_picture()) + image_fragment(UNTRUSTED)
    opened = open_page(browser, html, width=width, scheme=scheme)
    opened.page.evaluate(OPEN_DETAILS)
    assert not any(opened.page.evaluate(LAYOUT).values())
    dark = opened.background("body") == "rgb(16, 18, 22)"
    assert dark is (scheme == "dark")


def test_strings_of_attackers_do_nothing(browser: Any) -> None:
    parts = "".join(image_fragment(hostile(attack), drawn_picture()) for attack in ATTACKS[::12])
    for html in (image_page(hostile(ATTACKS[0]), title=ATTACKS[2]), AROUND.format(parts)):
        opened = open_page(browser, html)
        opened.page.evaluate(POKE)
        assert opened.page.locator("iframe, img, a, link, base").count() == 0
        opened.assert_calm()


def test_nothing_of_a_hosts_style_sheet_reaches_us(browser: Any) -> None:
    fragment = image_fragment(UNTRUSTED, drawn_picture())
    opened = open_page(browser, imitated("everything", fragment, "light"))
    differences = opened.page.evaluate(DIFFERENCES, [0, fragment, ""])
    assert not differences, (len(differences), differences[:6])


def test_print_keeps_the_picture_and_leaves_the_controls(browser: Any) -> None:
    opened = open_page(browser, image_page(EXAMPLE, drawn_picture()), scheme="dark")
    opened.page.emulate_media(media="print")
    assert opened.page.locator(".stage image").is_visible() and opened.page.locator(".tools").is_hidden()
    assert opened.background("body") == "rgb(255, 255, 255)"
