# SPDX-License-Identifier: Apache-2.0
"""Hundreds of hostile strings in every place of every page, in a real browser: they are text, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.attack_strings import ATTACK_STRINGS, as_value
from helpers.browser_watch import OPEN_DETAILS, POKE, SKELETON, Watched
from helpers.html import shown
from helpers.report_examples import example
from mhex_nlp import Explanation, ScoredText, compare_explanations, write_report
from mhex_nlp.render import render_fragment, render_page, render_report_page, render_summary

HARMLESS = ["the film was good", "a dull plot", "it was fine"]
ALL_IN_ONE = "\n".join(ATTACK_STRINGS)
"""A value that holds every string, for places where there is one value a page."""


def attacked(attack: str, **changes: Any) -> Explanation:
    """The string in every value that an explanation has."""
    labels = (attack, attack + "2", attack + "3")
    values: dict[str, Any] = {
        "id": attack,
        "label": attack,
        "probability": 0.5,
        "labels": labels,
        "target": labels[1],
        "foil": labels[2],
        "text_pair": attack,
        "model": attack,
        "revision": attack[:12],
        "library": attack,
        "notes": [attack, attack],
        **changes,
    }
    return example(attack, **values)


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    opened = Watched(browser, width=360)
    yield opened
    opened.close()


def save(folder: Path, page: str, name: str = "page.html") -> Path:
    path = folder / name
    path.write_text(page, "utf-8", newline="\n")
    return path


def assert_harmless(watched: Watched, harmless: list[str] | None) -> list[str]:
    """Quiet and in its layout, in both schemes and widths, with the same kinds of elements as a harmless page."""
    watched.do(OPEN_DETAILS)
    watched.do(POKE)
    for width, scheme in ((360, "light"), (360, "dark"), (1000, "dark")):
        watched.look(width=width, scheme=scheme)
        watched.assert_laid_out()
    watched.look(width=360, scheme="light")
    elements = list(watched.do(SKELETON))
    if harmless is not None:
        assert set(elements) <= set(harmless)
    attributes = {name for element in elements for name in element.split()[1:]}
    assert not [name for name in attributes if name == "style" or name.startswith("on")]
    watched.assert_calm()
    return elements


def test_the_strings_are_many_and_differ() -> None:
    assert len(set(ATTACK_STRINGS)) == len(ATTACK_STRINGS) >= 200


def test_the_watch_sees_what_a_page_does(watched: Watched, tmp_path: Path) -> None:
    """Guards the tests below against a watch that sees nothing."""
    policy = "<meta http-equiv=Content-Security-Policy content=\"script-src 'unsafe-inline'; img-src file:\">"
    watched.open(save(tmp_path, f"{policy}<script>alert(1); console.log(2)</script><img src=http://mhex.test/x>"))
    watched.do("() => setTimeout(() => { throw new Error('3') })")
    watched.do(POKE)
    assert watched.dialogs == ["1"] and watched.errors[0] == "2"
    assert watched.do("() => window.violations") == ["img-src"]
    watched.open(save(tmp_path, "<article>x</article><article style='margin-top:-9px;position:fixed;width:999px'>"))
    with pytest.raises(AssertionError):
        watched.assert_laid_out()
    watched.open(save(tmp_path, "<img src=y.png>"))
    with pytest.raises(AssertionError):
        watched.assert_calm()


def test_a_page_of_texts(watched: Watched, tmp_path: Path) -> None:
    watched.open(
        save(tmp_path, render_page([attacked(string).to_dict() for string in HARMLESS], title="x"), "plain.html")
    )
    harmless = assert_harmless(watched, None)
    page = render_page([attacked(string).to_dict() for string in ATTACK_STRINGS], title=ALL_IN_ONE)
    watched.open(save(tmp_path, page))
    assert_harmless(watched, harmless)
    assert watched.texts("article .t") == [shown(string) for string in ATTACK_STRINGS for _ in range(2)]
    assert watched.texts("head title") == watched.texts("h1") == [as_value(ALL_IN_ONE)]
    labels = watched.texts(".h > span:first-child bdi")
    assert labels == [as_value(string) for string in ATTACK_STRINGS]
    assert watched.texts(".h .k bdi") == labels
    assert watched.texts(".o li:last-child bdi") == labels
    assert watched.texts("article > p:last-child bdi:last-child") == labels


def test_one_text_with_layers_and_classes(watched: Watched, tmp_path: Path) -> None:
    full = {"every_class": True, "depths": 4}
    plain = attacked("the film was good", **full)
    watched.open(save(tmp_path, plain.to_html(), "plain.html"))
    harmless = assert_harmless(watched, None)
    text = "\n".join(string[:80] for string in ATTACK_STRINGS)
    attacked(text, **full).to_html(tmp_path / "page.html", "tokens")
    watched.open(tmp_path / "page.html")
    assert_harmless(watched, harmless)
    assert watched.texts("article .t") == [shown(text)] * 2


def test_fragments_of_a_notebook(watched: Watched, tmp_path: Path) -> None:
    frame = "<!doctype html><html lang=en><meta charset=utf-8><title>x</title>{}<p id=after>after</p>"
    watched.open(save(tmp_path, frame.format(attacked("the film")._repr_html_()), "plain.html"))
    harmless = assert_harmless(watched, None)
    strings = ATTACK_STRINGS[::3]  # every fragment has its own style sheet, which takes time
    page = frame.format("".join(render_fragment(attacked(string).to_dict()) for string in strings))
    watched.open(save(tmp_path, page))
    assert_harmless(watched, harmless)
    assert watched.texts(".mhex .t") == [shown(string) for string in strings for _ in range(2)]
    assert watched.do("() => document.querySelector('#after').parentElement.tagName") == "BODY"


def test_a_summary(watched: Watched, tmp_path: Path) -> None:
    def summary(strings: list[str]) -> str:
        words = [{"word": string, "count": 1, "sum": 0.5, "mean": 0.5} for string in strings]
        counts = {
            **dict.fromkeys(("rows", "explained", "errors", "truncated", "windowed", "labelled"), 3),
            **{"share_on_special_tokens": 0.25, "share_on_punctuation": 0.0, "accuracy": 0.5},
            "confusion": {string: {strings[0]: 1} for string in strings},
            "classes": {strings[0]: {"texts": 1, "for": words, "against": words}},
        }
        counts["classes"] |= {string: {"texts": 1, "for": [], "against": []} for string in strings[1:20]}
        return render_summary(counts, strings, title="\n".join(strings))

    watched.open(save(tmp_path, summary(HARMLESS), "plain.html"))
    harmless = assert_harmless(watched, None)
    watched.open(save(tmp_path, summary(ATTACK_STRINGS)))
    assert_harmless(watched, harmless)
    assert watched.texts(".p + table tbody th") == [as_value(string) for string in ATTACK_STRINGS]
    assert watched.texts(".pages a") == [as_value(string) for string in ATTACK_STRINGS]
    # A page is a file beside this one, whatever it is called.
    here = tmp_path.as_uri() + "/"
    addresses = watched.do("() => [...document.querySelectorAll('.pages a')].map(a => a.href)")
    assert all(
        address.startswith(here) and "/" not in address.removeprefix(here)
        for name, address in zip(ATTACK_STRINGS, addresses, strict=True)
        if name not in (".", "..")  # no file has such a name
    )


@pytest.mark.parametrize("where", ["page", "notebook"])
def test_a_comparison(watched: Watched, tmp_path: Path, where: str) -> None:
    def compared(text: str) -> str:
        one = attacked(text)
        spans = [(token.start, token.end, -token.score, token.sequence) for token in one.tokens if token.text]
        about = {"text_pair": text, "label": text, "target": text, "foil": text, "probability": 0.5}
        comparison = compare_explanations(
            [one, ScoredText(text, tuple(spans), text, **about)], names=[text, "b"], title=text
        )
        frame = "<!doctype html><html lang=en><meta charset=utf-8><title>x</title>"
        return comparison.to_html() if where == "page" else frame + comparison._repr_html_()

    plain = "the film was good, and the rest of it was not any worse than that"
    watched.open(save(tmp_path, compared(plain), "plain.html"))
    harmless = assert_harmless(watched, None)
    text = "\n".join(string[:40] for string in ATTACK_STRINGS[:: 1 if where == "page" else 3])
    watched.open(save(tmp_path, compared(text)))
    assert_harmless(watched, harmless)
    assert watched.texts(".t") == [shown(text)] * 4
    assert watched.texts(".h bdi:first-of-type")[:2] == [as_value(text), "b"]


def test_the_pages_of_a_report(watched: Watched, tmp_path: Path) -> None:
    def page(strings: list[str], whole: str) -> str:
        entries = [{"explanation": attacked(string).to_dict(), "number": n} for n, string in enumerate(strings)]
        labels: dict[str, Any] = {"title": whole, "gold": whole, "predicted": whole, "number": 2}
        return render_report_page(entries, **labels, previous="g000-0001.html", following="g000-0003.html")

    watched.open(save(tmp_path, page(HARMLESS, "x"), "plain.html"))
    harmless = assert_harmless(watched, None)
    watched.open(save(tmp_path, page(ATTACK_STRINGS, ALL_IN_ONE)))
    assert_harmless(watched, harmless)
    assert watched.texts("article .t") == [shown(string) for string in ATTACK_STRINGS for _ in range(2)]
    assert watched.texts(".h .k bdi") == [as_value(string) for string in ATTACK_STRINGS]
    assert watched.texts("main > .m:first-of-type bdi") == [as_value(ALL_IN_ONE)] * 2


def hostile_report(folder: Path, strings: list[str], title: str) -> Path:
    """Every string is a class that is predicted once, in a text where the next one is right."""
    explanations = [attacked(string, labels=strings, target=string, foil=strings[0]) for string in strings]
    gold = [*strings[1:], strings[0]]
    return write_report(explanations, folder, labels=gold, title=title)


@pytest.fixture(scope="module")
def plain_index(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The kinds of elements of an index without hostile strings."""
    watched = Watched(browser)
    watched.open(hostile_report(tmp_path_factory.mktemp("plain"), HARMLESS, "x"))
    elements = list(watched.do(SKELETON))
    watched.close()
    return elements


@pytest.mark.parametrize("part", range(6))
def test_the_index_of_a_report(watched: Watched, tmp_path: Path, plain_index: list[str], part: int) -> None:
    strings = ATTACK_STRINGS[60 * part : 60 * (part + 1)]
    watched.open(hostile_report(tmp_path / "report", strings, "\n".join(strings)))
    assert_harmless(watched, plain_index)
    labels = [as_value(string) for string in strings]
    assert watched.texts("#filter [name=predicted] option")[1:] == labels
    assert watched.texts("#rows .k b") == labels
    assert [text[1:] for text in watched.texts("#rows .k bdi:first-child")] == labels
    # Every class can be chosen, and finds its one text.
    for name, column in (("predicted", "b"), ("gold", "bdi:nth-of-type(2)")):
        listed = watched.do(
            """([name, column]) => [...document.querySelectorAll(`#filter [name=${name}] option`)].slice(1).map((o) => {
              o.selected = true;
              o.parentElement.dispatchEvent(new Event("input", { bubbles: true }));
              const all = [...document.querySelectorAll(`#rows .k ${column}`)].map((e) => e.textContent);
              document.getElementById("filter").reset();
              return [o.textContent, ...all];
            })""",
            [name, column],
        )
        before = "label " if name == "gold" else ""
        assert [texts for _, *texts in listed] == [[before + label] for label, *_ in listed]
    watched.assert_calm()


NAMES = [
    name
    for string in ATTACK_STRINGS
    for name in [string.replace("/", "\u2215")]
    if name not in (".", "..") and "\x00" not in name and len(name.encode("utf-8", "surrogatepass")) < 230
]


def test_files_and_folders_of_any_name(watched: Watched, tmp_path: Path) -> None:
    explained = attacked("the film was good")
    for index, name in enumerate(NAMES):
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            continue
        explained.to_html(tmp_path / f"{name}.html")
        if index % 80 == 0:
            watched.open(tmp_path / f"{name}.html")
            assert watched.texts(".t") == ["the film was good"] * 2
    for name in NAMES[::120] + ["a#b?c", "%2e%2e", "&lt;", "javascript:alert(1)", "\u202egpj.x", " ", "a\nb", "\\"]:
        folder = tmp_path / name
        index_page = write_report([explained, explained], folder)
        page = watched.open(index_page)
        page.click("#rows a >> nth=1")
        watched.went(folder / "texts" / "g000-0001.html")
        page.wait_for_selector("article:target")
        assert watched.do("() => document.querySelector('nav a').href") == index_page.as_uri()
    watched.assert_calm()


def test_marks_piled_up_do_not_run_over_what_is_below(watched: Watched, tmp_path: Path) -> None:
    """Boxes may be apart and ink still run over: what stands below a text must look as it does without a tower."""
    pictures = []
    for text in ("y", "y" + "\u0323" * 200):
        document = example(text, label="yes", labels=("no", "yes")).to_dict()
        opened = watched.open(save(tmp_path, render_page([document])))
        below = [opened.locator(selector).bounding_box() for selector in ("[role=status]", "dl", "summary")]
        pictures.append([opened.screenshot(clip=box) for box in below])
    assert pictures[0] == pictures[1]
