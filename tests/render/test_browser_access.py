# SPDX-License-Identifier: Apache-2.0
"""Each kind of page as people read it who use a keyboard, a screen reader, a phone, or see no colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.browser_watch import OPEN_DETAILS, Watched
from helpers.html import contrast, hex_colour
from helpers.image_examples import CLASSES as IMAGE
from helpers.image_examples import UNTRUSTED, drawn_picture
from helpers.positioned_examples import ANSWER, NO_ENTITY, OVERLAPPING, SOURCES, entity_report
from helpers.positioned_examples import REFINED as ENTITIES
from helpers.render_examples import CHINESE, MULTI_LABEL, NEGATIVE, PAIR, POSITIVE, REGRESSION, refined
from helpers.report_examples import example
from mhex_nlp import Explanation, compare_explanations, write_report
from mhex_nlp.render import (
    image_fragment,
    image_page,
    render_context_page,
    render_entity_report,
    render_fragment,
    render_page,
    render_positioned_fragment,
    render_positioned_page,
    render_summary,
)

LOOKS = [(width, scheme) for scheme in ("light", "dark") for width in (1000, 360)]
FRAME = "<!doctype html><html lang=en><meta charset=utf-8><title>x</title><main><h1>Notebook</h1>{}</main>"


def summary() -> str:
    words = [{"word": word, "count": 3, "sum": 1.5, "mean": 0.5} for word in ("superb", "lovely")]
    return render_summary(
        {
            **dict.fromkeys(("rows", "explained", "errors", "truncated", "windowed", "labelled"), 3),
            **{"share_on_special_tokens": 0.25, "share_on_punctuation": 0.0, "accuracy": 0.5},
            "confusion": {"bad": {"bad": 1, "good": 1}, "good": {"good": 1}},
            "classes": {name: {"texts": 1, "for": words, "against": words} for name in ("bad", "good")},
        },
        ["part-0-00000.html", "part-0-00001.html"],
    )


def report(folder: Path) -> Path:
    labels = ("bad", "good")
    explanations = [
        example(
            f"text {n % 2} superb , not dull , some more",
            id=f"id-{n}",
            label=labels[n % 2],
            labels=labels,
            scores={"superb": 0.9, "dull": -0.8, "more": -0.4, "some": 0.3},
            notes=["The text is longer than the model reads."] if n % 2 else [],
        )
        for n in range(12)
    ]
    return write_report(explanations, folder, labels=[labels[n % 5 % 2] for n in range(12)], page_texts=1)


def compared(*forms: dict[str, Any]) -> Any:
    return compare_explanations([Explanation.from_dict(form) for form in forms])


FOUR = (POSITIVE, {**POSITIVE, "model": {"name": "other", "revision": None}}, POSITIVE, POSITIVE)
PAGES: dict[str, Callable[[Path], str | Path]] = {
    "one text": lambda folder: render_page([POSITIVE]),
    "texts": lambda folder: render_page([NEGATIVE, PAIR, CHINESE, REGRESSION, MULTI_LABEL]),
    "text with errors": lambda folder: render_page([refined(POSITIVE, error=0.2)]),
    "fragment": lambda folder: FRAME.format(render_fragment(PAIR)),
    "summary": lambda folder: summary(),
    "comparison": lambda folder: compared(PAIR, PAIR, CHINESE).to_html(),
    "comparison of four": lambda folder: compared(*FOUR).to_html(),
    "comparison with errors": lambda folder: compared(POSITIVE, refined(POSITIVE), refined(POSITIVE)).to_html(),
    "comparison fragment": lambda folder: FRAME.format(compared(POSITIVE, NEGATIVE, POSITIVE)._repr_html_()),
    "entities": lambda folder: render_positioned_page([ENTITIES, ANSWER, OVERLAPPING, NO_ENTITY]),
    "entities fragment": lambda folder: FRAME.format(render_positioned_fragment(ENTITIES)),
    "entity report": lambda folder: render_entity_report(entity_report(), ["p-0.html", "p-1.html"]),
    "context": lambda folder: render_context_page(SOURCES),
    "image": lambda folder: image_page(IMAGE, drawn_picture()),
    "image fragment": lambda folder: FRAME.format(image_fragment(UNTRUSTED)),
    "report index": lambda folder: report(folder / "report"),
    "report page": lambda folder: report(folder / "report").parent / "texts" / "g000-0002.html",
}


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    opened = Watched(browser)
    yield opened
    opened.close()


def open_kind(watched: Watched, folder: Path, kind: str) -> Any:
    content = PAGES[kind](folder)
    path = folder / "page.html" if isinstance(content, str) else content
    if isinstance(content, str):
        path.write_text(content, "utf-8")
    page = watched.open(path)
    watched.do(OPEN_DETAILS)
    return page


@pytest.mark.parametrize("kind", PAGES)
def test_axe_finds_nothing_serious(watched: Watched, tmp_path: Path, kind: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    page = open_kind(watched, tmp_path, kind)
    page.evaluate(axe.AXE_SCRIPT)
    for width, scheme in LOOKS:
        watched.look(width=width, scheme=scheme)
        # A scheme changes colours alone.
        options = {"resultTypes": ["violations"], **({} if scheme == "light" else {"runOnly": ["color-contrast"]})}
        result = page.evaluate("(options) => axe.run(options)", options)
        assert len(result["passes"]) > 10 or scheme == "dark" and result["passes"][0]["id"] == "color-contrast"
        serious = [
            (violation["id"], violation["impact"], [node["html"][:200] for node in violation["nodes"]][:3])
            for violation in result["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
        assert not serious, (width, scheme)
    watched.assert_calm()


@pytest.mark.parametrize("kind", PAGES)
def test_text_reads_on_its_ground(watched: Watched, tmp_path: Path, kind: str) -> None:
    """At least 4.5:1, also where axe does not look: decorated words, marks that a style sheet adds, placeholders."""
    page = open_kind(watched, tmp_path, kind)
    for scheme in ("light", "dark"):
        watched.look(scheme=scheme)
        pairs = page.evaluate(
            """() => {
              const pairs = new Set();
              const ground = (e) => {
                for (let ancestor = e; ancestor; ancestor = ancestor.parentElement) {
                  const colour = getComputedStyle(ancestor).backgroundColor;
                  if (colour !== "rgba(0, 0, 0, 0)") return colour;
                }
                return "rgb(255, 255, 255)";  // no page of ours, but a notebook
              };
              for (const e of document.querySelectorAll("body *")) {
                if (!e.checkVisibility() || e.closest("svg")) continue;
                const hasText = [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
                for (const pseudo of [null, "::before", "::after", "::placeholder"]) {
                  const style = getComputedStyle(e, pseudo);
                  const added = pseudo === "::placeholder" ? e.placeholder : style.content !== "none";
                  const what = e.tagName + "." + e.className + (pseudo ?? "");
                  if (pseudo ? added : hasText) pairs.add([style.color, ground(e), what].join("|"));
                }
              }
              return [...pairs];
            }"""
        )
        assert len(pairs) > 6
        for pair in pairs:
            ink, ground, what = pair.split("|")
            assert contrast(hex_colour(ink), hex_colour(ground)) >= 4.5, (what, scheme, ink, ground)


@pytest.mark.parametrize("kind", PAGES)
def test_signs_show_without_colour(watched: Watched, tmp_path: Path, kind: str) -> None:
    page = open_kind(watched, tmp_path, kind)
    if kind == "summary":
        sides = page.eval_on_selector_all(".p, .n", "all => all.map(e => getComputedStyle(e).borderLeftStyle)")
        assert set(sides) == {"solid", "double"}
        return
    if kind.startswith("image"):
        assert page.locator(".stage .hatch").count() and page.locator(".edge.dash").count()
        return
    lines = page.eval_on_selector_all(
        "[class^='w ']",
        """all => all.map((e) => {
          const style = getComputedStyle(e);
          return [e.className[2], style.textDecorationLine, style.textDecorationStyle].join(" ");
        })""",
    )
    assert {"p underline solid", "n underline wavy"} <= set(lines)
    assert {line for line in lines if line[0] != "z"} == {"p underline solid", "n underline wavy"}


TABBED = """() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const ringed = e.type === "radio" ? e.parentElement : e;  // a radio button has no size: its box has the ring
  const style = getComputedStyle(ringed), box = ringed.getBoundingClientRect();
  return {
    at: [...document.querySelectorAll("*")].indexOf(e), tag: e.tagName,
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
    inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""


@pytest.mark.parametrize("kind", PAGES)
def test_the_keyboard_reaches_everything_in_order(watched: Watched, tmp_path: Path, kind: str) -> None:
    page = open_kind(watched, tmp_path, kind)
    watched.look(width=360)
    focusable = page.evaluate(
        """() => [...document.querySelectorAll("*")].map((e, i) => [e, i]).filter(([e]) => e.checkVisibility() &&
          e.matches("a, button, input, select, summary, [tabindex='0']") && !e.matches("[type=radio]:not(:checked)"))
          .map(([, i]) => i)"""
    )
    reached = []
    for _ in range(len(focusable)):
        page.keyboard.press("Tab")
        focused = page.evaluate(TABBED)
        if focused is None:
            break
        assert focused["seen"] and focused["inside"], focused
        reached.append(focused["at"])
    assert reached == focusable and reached == sorted(reached)


def test_an_index_prints_light_in_dark(watched: Watched, tmp_path: Path) -> None:
    page = open_kind(watched, tmp_path, "report index")
    page.emulate_media(media="print", color_scheme="dark")
    ink = page.evaluate("() => getComputedStyle(document.querySelector('#words h2')).color")
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)" and int(re.findall(r"\d+", ink)[0]) < 60
