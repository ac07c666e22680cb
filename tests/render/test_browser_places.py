# SPDX-License-Identifier: Apache-2.0
"""Pages of places and of context in a real browser: what is picked, by which means, and what hostile strings do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.attack_strings import ATTACK_STRINGS
from helpers.browser import open_page
from helpers.browser_watch import OPEN_DETAILS, POKE, SKELETON, Watched
from helpers.html import hex_colour, shown
from helpers.positioned_examples import (
    CONTEXTS,
    ENTITIES,
    OVERLAPPING,
    POSITIONED,
    REFINED,
    SOURCES,
    context,
    entity_report,
    hostile,
)
from mhex_nlp.render import (
    render_context_page,
    render_entity_report,
    render_positioned_fragment,
    render_positioned_page,
)
from mhex_nlp.render.context import read_context
from mhex_nlp.render.highlight import highlight
from mhex_nlp.render.palette import level_name, light_palette

STYLES = """all => all.map((e) => { const s = getComputedStyle(e);
  return [e.textContent, s.backgroundColor, s.textDecorationLine + " " + s.textDecorationStyle, s.outlineStyle]; })"""
NO_GROUND = "rgba(0, 0, 0, 0)"


def drawn(opened: Any, selector: str) -> list[tuple[str, str | None, str, str]]:
    """Text, ground, line and outline of elements."""
    return [
        (text, None if ground == NO_GROUND else hex_colour(ground), line, outline)
        for text, ground, line, outline in opened.page.eval_on_selector_all(selector, STYLES)
    ]


def expected(level: int, marked: bool) -> tuple[str | None, str, str]:
    if not level:
        return None, "none solid", "none"
    line = "underline solid" if level > 0 else "underline wavy"
    return (None, line, "dotted") if marked else (light_palette()[level_name(level)], line, "none")


def assert_picked(opened: Any, document: dict[str, Any], number: int, card: str = ".g0") -> None:
    """The words have the colours of explanation `number`, whose panel shows alone."""
    levels = {
        segment.start: (segment.level, segment.marked)
        for segment in highlight(document["explanations"][number]).lines[0]
        if segment.score is not None and segment.place is None
    }
    at, words = 0, drawn(opened, f"{card} .t .w")
    for text, *style in words:
        at = document["text"].index(text, at)
        assert tuple(style) == expected(*levels.get(at, (0, False))), (text, number)
        at += len(text)
    visible = opened.page.eval_on_selector_all(
        f"{card} .v > div", "all => all.map(e => getComputedStyle(e).visibility === 'visible')"
    )
    assert [index for index, seen in enumerate(visible) if seen] == [number]


@pytest.mark.parametrize("kind", ["page", "fragment"])
def test_a_place_is_picked_by_click_keys_and_pointer(browser: Any, kind: str) -> None:
    page = render_positioned_page([ENTITIES]) if kind == "page" else render_positioned_fragment(ENTITIES)
    opened = open_page(browser, page if kind == "page" else f"<!doctype html><meta charset=utf-8>{page}")
    assert opened.page.locator("script").count() == 0
    card = ".g"
    assert_picked(opened, ENTITIES, 0, card)
    boxes = opened.page.locator(".t label.e")
    boxes.nth(3).click()
    opened.page.mouse.move(0, 0)
    assert_picked(opened, ENTITIES, 3, card)
    opened.page.keyboard.press("ArrowRight")
    assert_picked(opened, ENTITIES, 4, card)
    assert opened.page.evaluate("document.activeElement.parentElement.textContent") == "Jordan"
    ring = "e => getComputedStyle(e).outlineStyle"
    assert [boxes.nth(n).evaluate(ring) for n in (3, 4)] == ["none", "solid"]
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowRight")
    assert_picked(opened, ENTITIES, 0, card)
    boxes.nth(1).hover()
    assert_picked(opened, ENTITIES, 1, card)
    opened.page.mouse.move(0, 0)
    assert_picked(opened, ENTITIES, 0, card)
    if kind == "page":
        opened.assert_calm()


def test_signs_that_are_not_settled_and_places_that_overlap(browser: Any) -> None:
    opened = open_page(browser, render_positioned_page([REFINED, OVERLAPPING]))
    for number in (0, 1):
        opened.page.locator(".g0 .t label.e").nth(number).click()
        opened.page.mouse.move(0, 0)
        assert_picked(opened, REFINED, number)
    # Those without a box of their own in the text are picked in the table.
    assert opened.page.locator(".g1 .t label.e").count() == 2 and opened.page.locator(".g1 .pl label.e").count() == 4
    opened.page.locator(".g1 .pl label.e", has_text="York City Marathon").click()
    opened.page.mouse.move(0, 0)
    panel = opened.page.locator(".g1 .v > div:visible")
    assert panel.count() == 1 and "York City Marathon starts MISC" in panel.inner_text()
    assert opened.page.locator(".g0 .v > div:visible").count() == 1, "each text has a pick of its own"


def test_what_is_copied_and_printed(browser: Any) -> None:
    opened = open_page(browser, render_positioned_page([ENTITIES]), scheme="dark")
    copied = opened.page.evaluate(
        "() => { getSelection().selectAllChildren(document.querySelector('.t')); return getSelection().toString(); }"
    )
    assert copied == ENTITIES["text"]
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert_picked(opened, ENTITIES, 0)
    assert opened.page.locator(".pl tr").count() == 7, "all of them are in the table"


def test_links_go_both_ways(browser: Any) -> None:
    opened = open_page(browser, render_context_page(SOURCES))
    read = read_context(SOURCES)
    answer, prompt = (opened.page.locator(".t").nth(n).locator("label.e") for n in (0, 1))

    def assert_coloured(selector: str, links: Any) -> None:
        styles = [tuple(style) for _, *style in drawn(opened, selector)]
        assert styles == [expected(link.level, link.marked) for link in links]

    for span in range(3):
        answer.nth(span).click()
        opened.page.mouse.move(0, 0)
        assert_coloured("p.t:last-of-type label.e", read.by_span[span])
        panel = opened.page.locator(".v > div:visible").inner_text()
        assert panel.startswith(f"A{span + 1}") and "rests on" in panel
    for unit in range(5):
        prompt.nth(unit).hover()
        assert_coloured("p.t:first-of-type label.e, .m + p.t:not(:last-of-type) label.e", read.of_unit(unit))
        assert "feeds" in opened.page.locator(".v > div:visible").inner_text()
    opened.assert_calm()


# ---- hostile strings and narrow screens


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    opened = Watched(browser, width=360)
    yield opened
    opened.close()


def assert_harmless(watched: Watched, path: Path, page: str, harmless: list[str] | None) -> list[str]:
    """Quiet and in its layout on a narrow screen, with the same kinds of elements as a harmless page."""
    path.write_text(page, "utf-8", newline="\n")
    watched.open(path)
    watched.do(OPEN_DETAILS)
    watched.do(POKE)
    watched.assert_laid_out()
    elements = list(watched.do(SKELETON))
    assert harmless is None or set(elements) <= set(harmless)
    watched.assert_calm()
    return elements


STRINGS = ATTACK_STRINGS[::12]


def test_hostile_strings_in_places(watched: Watched, tmp_path: Path) -> None:
    pages = [
        render_positioned_page([hostile(string) for string in strings], title=strings[0])
        for strings in (["harmless words, ", "more of them; "], STRINGS)
    ]
    harmless = assert_harmless(watched, tmp_path / "plain.html", pages[0], None)
    assert_harmless(watched, tmp_path / "page.html", pages[1], harmless)
    assert watched.texts("article .t") == [shown(string * 3) for string in STRINGS]


def test_hostile_strings_in_context_and_report(watched: Watched, tmp_path: Path) -> None:
    for draw in (
        lambda strings: render_context_page(context(strings, strings[:3], before=strings[0], prior=strings[0])),
        lambda strings: render_entity_report(
            entity_report(tuple(s[:60] + str(n) for n, s in enumerate(strings)), "".join(strings)), strings[:2]
        ),
    ):
        harmless = assert_harmless(
            watched, tmp_path / "plain.html", draw(["some words ", "other words ", "last "]), None
        )
        assert_harmless(watched, tmp_path / "page.html", draw(STRINGS), harmless)


def test_every_example_is_laid_out(watched: Watched, tmp_path: Path) -> None:
    pages = [
        render_positioned_page(POSITIONED.values()),
        *(render_context_page(CONTEXTS[n]) for n in ("sources", "foreign")),
    ]
    for page in pages:
        assert_harmless(watched, tmp_path / "page.html", page, None)
