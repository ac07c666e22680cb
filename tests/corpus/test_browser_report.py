# SPDX-License-Identifier: Apache-2.0
"""A report from its files in a real browser: what filters find, where links lead, and what is there without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.browser_watch import Watched
from helpers.render_examples import refined
from helpers.report_examples import example
from mhex_nlp import Explanation, write_report
from mhex_nlp.explain.judgement import Judgement

LABELS = ("bad", "fine", "good")
COUNT = 210
MARKED = {"bad": "Straße", "fine": "ok", "good": "superb"}
"""For each class a word that decides."""


def texts() -> tuple[list[Explanation], list[str | None]]:
    made, gold = [], []
    for n in range(COUNT):
        label = LABELS[n % 3]
        words = f"text {n} was {MARKED[label]} , not {MARKED[LABELS[(n + 1) % 3]]}"
        scores = {MARKED[label]: 0.9, MARKED[LABELS[(n + 1) % 3]]: -0.8}
        probability = round(0.34 + 0.66 * ((n * 37) % COUNT) / COUNT, 4)
        made.append(example(words, id=f"id-{n}", label=label, labels=LABELS, probability=probability, scores=scores))
        # A third is labelled otherwise, and some are not labelled.
        gold.append(None if n % 13 == 0 else LABELS[(n + (n % 9 == 0)) % 3])
    return made, gold


MADE, GOLD = texts()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(MADE, tmp_path_factory.mktemp("report"), labels=GOLD, page_texts=40, title="Reviews").parent


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Watched]:
    watched = Watched(browser)
    watched.open(folder / "index.html")
    yield watched
    watched.went(*folder.rglob("*.html"))
    watched.assert_calm()
    watched.close()


def listed(opened: Watched) -> list[int]:
    """The numbers of the texts in the list, as their links say."""
    links = opened.do("() => [...document.querySelectorAll('#rows a')].map(a => a.getAttribute('href'))")
    return [int(link.rpartition("#t")[2]) for link in links]


def told(opened: Watched) -> int:
    found, _, rest = opened.page.inner_text("#count").partition(" of ")
    assert rest == f"{COUNT} texts"
    return int(found)


def expect(opened: Watched, numbers: list[int]) -> None:
    """Exactly these are found, and the first hundred of them listed."""
    assert told(opened) == len(numbers)
    assert listed(opened)[:100] == numbers[:100]


def clear(opened: Watched) -> None:
    opened.page.click("text=Clear")
    opened.page.wait_for_function(f"() => document.querySelector('#count').textContent.startsWith('{COUNT} of')")
    expect(opened, list(range(COUNT)))


def where(**wanted: Any) -> list[int]:
    return [
        n
        for n, (each, gold) in enumerate(zip(MADE, GOLD, strict=True))
        if wanted.get("predicted") in (None, each.label)
        and wanted.get("gold") in (None, gold)
        and wanted.get("right") in (None, gold is not None and gold == each.label)
        and (wanted.get("right") is None or gold is not None)
        and wanted.get("low", 0) <= (each.probability or 0) <= wanted.get("high", 1)
    ]


def test_filters_find_the_right_texts(opened: Watched) -> None:
    page = opened.page
    expect(opened, list(range(COUNT)))
    page.select_option("[name=predicted]", label="bad")
    expect(opened, where(predicted="bad"))
    page.select_option("[name=gold]", label="fine")
    expect(opened, where(predicted="bad", gold="fine"))
    page.select_option("[name=answer]", "right")
    expect(opened, [])
    assert page.locator("#more").is_hidden()
    clear(opened)
    page.select_option("[name=answer]", "wrong")
    expect(opened, where(right=False))
    assert page.locator("#rows .wrong").count() == page.locator("#rows li").count()
    page.select_option("[name=answer]", "right")
    expect(opened, where(right=True))
    assert page.locator("#rows .wrong").count() == 0
    page.fill("[name=from]", "0.5")
    page.fill("[name=to]", "0.75")
    expect(opened, where(right=True, low=0.5, high=0.75))
    page.select_option("[name=sort]", "unsure")
    expect(opened, sorted(where(right=True, low=0.5, high=0.75), key=lambda n: MADE[n].probability or 0))
    page.select_option("[name=sort]", "sure")
    expect(opened, sorted(where(right=True, low=0.5, high=0.75), key=lambda n: -(MADE[n].probability or 0)))
    clear(opened)
    page.press("[name=word]", "Enter")
    assert page.url.endswith("index.html"), "the form is sent nowhere"


@pytest.mark.parametrize("typed", ["superb", "SUPER", " sup ", "straße", "STRASSE", "Straß", "nothing"])
def test_words_are_found_by_their_beginning_in_any_case(opened: Watched, typed: str) -> None:
    opened.page.fill("[name=word]", typed)
    word = typed.strip().casefold()
    expect(opened, [n for n, each in enumerate(MADE) if any(w.startswith(word) for w in each.text.casefold().split())])


def test_rows_tell_of_their_texts(opened: Watched) -> None:
    wrong = next(n for n, gold in enumerate(GOLD) if gold not in (None, MADE[n].label))
    for number in (0, wrong):
        row = opened.page.locator("#rows li").nth(number)
        row.scroll_into_view_if_needed()
        opened.page.wait_for_function("row => row.innerText", arg=row.element_handle())  # not laid out off the screen
        made = MADE[number]
        assert row.locator("a").inner_text() == made.text
        facts = row.locator(".k").inner_text()
        share = f"{100 * (made.probability or 0):.1f}".removesuffix(".0") + "%"
        assert facts.split()[0] == f"#{made.id}" and made.label in facts.split() and share in facts.split()
        assert (f"label {GOLD[number]}" in facts) == (number == wrong)
        words = row.locator(".w").all()
        signs = {each.inner_text(): each.get_attribute("title") for each in words}
        first, second = MARKED[str(made.label)], MARKED[LABELS[(number + 1) % 3]]
        assert signs[first.casefold()] == "speaks for it" and signs[second.casefold()] == "speaks against it"


def test_the_list_grows_as_it_is_scrolled_and_by_its_button(opened: Watched) -> None:
    assert len(listed(opened)) == 100
    opened.page.locator("#more").press("Enter")
    assert len(listed(opened)) >= 150
    opened.page.wait_for_function(
        "(count) => { scrollTo(0, document.body.scrollHeight); "
        "return document.querySelectorAll('#rows li').length === count; }",
        arg=COUNT,
    )
    assert listed(opened) == list(range(COUNT)) and opened.page.locator("#more").is_hidden()


def test_a_cell_filters_the_list(opened: Watched) -> None:
    cells = opened.page.locator(".confusion a[data-predicted]")
    pairs = {(gold, each.label) for each, gold in zip(MADE, GOLD, strict=True) if gold}
    assert cells.count() == len(pairs)
    for index in range(cells.count()):
        cells.nth(index).click()
        gold, predicted = (
            opened.do("name => document.querySelector(`[name=${name}]`).selectedOptions[0].textContent", name)
            for name in ("gold", "predicted")
        )
        pairs.remove((gold, predicted))
        expect(opened, where(gold=gold, predicted=predicted))
        assert told(opened) == int(cells.nth(index).inner_text())
        assert opened.do("() => document.activeElement.textContent") == "Texts", "the next tab is in the form"
    assert not pairs


def test_coming_back_keeps_form_and_list_in_step(opened: Watched) -> None:
    opened.page.select_option("[name=predicted]", label="good")
    opened.page.click("#rows a >> nth=3")
    opened.page.wait_for_selector("article:target")
    opened.page.go_back()
    opened.page.wait_for_selector("#rows a")
    chosen = opened.page.input_value("[name=predicted]")
    expect(opened, where(predicted="good") if chosen else list(range(COUNT)))


def test_links_lead_to_the_text(opened: Watched, folder: Path) -> None:
    for selector in ("#rows a >> nth=57", "td.texts a >> nth=4", "td.texts a >> nth=-1"):
        opened.open(folder / "index.html")
        link = opened.page.locator(selector)
        number = int((link.get_attribute("href") or "").rpartition("#t")[2])
        link.click()
        reached = opened.page.wait_for_selector("article:target")
        assert reached.get_attribute("id") == f"t{number}"
        assert opened.page.inner_text("article:target .t") == MADE[number].text
        assert opened.page.inner_text("article:target .k") == f"#{MADE[number].id}"
        box = reached.bounding_box()
        assert -1 <= box["y"] < 900


def test_pages_lead_forth_and_back(opened: Watched, folder: Path) -> None:
    """Every group's pages, from the index to the last and back, show each of its texts once."""
    groups = opened.page.locator(".groups li")
    seen: list[str] = []
    several = 0
    for index in range(groups.count()):
        group = groups.nth(index)
        pages, name = group.locator("a").count(), group.inner_text()
        several += pages > 1
        group.locator("a").first.click()
        opened.page.wait_for_selector("article")
        count = 0
        for number in range(1, pages + 1):
            articles = opened.texts("article .t")
            seen += articles
            count += len(articles)
            assert opened.page.inner_text("main > p.m >> nth=0").endswith(f"page {number}")
            assert opened.page.locator("text=← previous").count() == (2 if number > 1 else 0)
            assert opened.page.locator("text=next →").count() == (2 if number < pages else 0)
            if number < pages:
                opened.page.click("text=next → >> nth=0")
                opened.page.wait_for_selector(f"main > p.m:has-text('page {number + 1}')")
        assert f": {count} texts" in name
        for number in range(pages - 1, 0, -1):
            opened.page.click("text=← previous >> nth=1")
            opened.page.wait_for_selector(f"main > p.m:has-text('page {number}')")
        opened.page.click("text=Index >> nth=0")
        opened.page.wait_for_selector(".groups")
    assert several >= 3
    assert sorted(seen) == sorted(each.text for each in MADE)


def test_without_scripts_all_but_the_list_is_there(browser: Any, folder: Path) -> None:
    watched = Watched(browser, java_script_enabled=False)
    page = watched.open(folder / "index.html")
    assert page.locator("#texts").is_hidden() and page.locator("#to-texts").is_hidden()
    for shown in ("h1", "#words", "#pages", "td.texts a >> nth=0", "dl.facts"):
        assert page.locator(shown).is_visible(), shown
    cells = page.locator(".confusion a[data-predicted]")
    for index in range(cells.count()):
        count = int(cells.nth(index).inner_text())
        cells.nth(index).click()
        first = page.locator("main > p.m").first.inner_text()
        assert page.locator("article").count() == min(count, 40)
        assert first.startswith("label ") and first.endswith("page 1")
        assert page.locator("article .w.p10").first.is_visible()
        page.click("text=Index >> nth=0")
    page.click("td.texts a >> nth=0")
    assert page.locator("article:target").is_visible()
    watched.went(*folder.rglob("*.html"))
    watched.assert_calm(violations=False)
    watched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_errors_and_a_judgement_fit_on_a_phone(browser: Any, tmp_path: Path, scheme: str) -> None:
    scores = {"superb": 0.9, "dull": -0.4, "uncharacteristically": 1.25}
    made = [example(f"text {n} superb uncharacteristically dull", scores=scores).to_dict() for n in range(40)]
    figures: dict[str, Any] = {"skill": 0.2, "skill_interval": (-0.05, 0.4), "absolute_skill": 0.1, "texts": 50}
    judged = Judgement(**figures, masks=24, removal="mask", seed=0, fit_skill=0.7, fit_interval=(0.6, 0.8))
    index = write_report([Explanation.from_dict(refined(form, error=0.4)) for form in made], tmp_path, judgement=judged)
    watched = Watched(browser, width=360, scheme=scheme)
    watched.open(index)
    head = watched.page.locator("p.trust")
    assert head.is_visible() and head.inner_text().startswith("One pass explains 0.20 [\u22120.05, 0.40] of what")
    assert "these are of another kind" in head.inner_text() and "do not trust single words" in head.inner_text()
    assert "+1.25" in watched.page.inner_text("#words")
    watched.assert_laid_out()
    watched.page.click("td.texts a >> nth=0", timeout=4000)
    watched.page.wait_for_selector("article:target")
    outline = watched.page.locator("article:target .w", has_text="dull").evaluate(
        "e => getComputedStyle(e).outlineStyle"
    )
    assert outline == "dotted"
    watched.assert_laid_out()
    watched.went(*tmp_path.rglob("*.html"))
    watched.assert_calm()
    watched.close()


def test_a_regression_is_listed_with_its_values(browser: Any, tmp_path: Path) -> None:
    made = [example(f"text {n}", label=None, value=n / 2) for n in range(5)]
    watched = Watched(browser, width=360)
    watched.open(write_report(made, tmp_path, labels=[1, 2, 3, None, None]))
    assert watched.texts("#rows .k span") == ["0", "0.5", "1", "1.5", "2"]
    assert watched.page.locator("#rows .wrong").count() == 0
    watched.page.select_option("[name=gold]", label="2")
    assert watched.texts("#rows a") == ["text 1"]
    watched.page.click("text=Clear")
    watched.page.wait_for_function("() => document.querySelectorAll('#rows li').length === 5")
    watched.assert_laid_out()
    watched.assert_calm()
    watched.close()
