# SPDX-License-Identifier: Apache-2.0
"""A corpus with planted faults: from the index a reader is at a text of each in two clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.browser_watch import Watched
from helpers.planted import LEAK, TOPIC, planted
from helpers.report_examples import example
from mhex_nlp import write_report

CORPUS = planted(600)
FAULTS = {"leak": f"{LEAK} pushes", "topic": f"Texts with {TOPIC}", "long": "Texts labelled negative of 51 to 100"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = [
        example(e.text, id=e.id, label="negative" if n % 30 == 0 else e.label, model="old")
        for n, e in enumerate(CORPUS.explanations)
    ]
    folder = tmp_path_factory.mktemp("report")
    failed = [{"row": 600, "id": "r600", "reason": "the text is empty"}]
    slices = {"source": CORPUS.source}
    options: dict[str, Any] = {"labels": CORPUS.labels, "slices": slices, "against": before, "failed": failed}
    return write_report(CORPUS.explanations, folder, **options).parent


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Watched]:
    watched = Watched(browser, width=1280)
    watched.open(folder / "index.html")
    yield watched
    watched.went(*folder.rglob("*.html"))
    watched.assert_calm()
    watched.close()


def reached(opened: Watched) -> int:
    opened.page.wait_for_selector("article:target")
    return int(str(opened.page.locator("article:target").get_attribute("id"))[1:])


@pytest.mark.parametrize("fault", FAULTS)
def test_two_clicks_lead_to_a_text_of_each_fault(opened: Watched, fault: str) -> None:
    page = opened.page
    finding = page.locator("#first li", has_text=FAULTS[fault])
    assert finding.count() == 1 and page.locator("#first li").count() <= 6
    finding.locator("a").first.click()
    if fault == "topic":
        page.click("tr:target td.texts a >> nth=0")
    else:
        listed = opened.do("() => [...document.querySelectorAll('#rows a')].map(a => +a.href.split('#t')[1])")
        assert listed == sorted(CORPUS.faults[fault])[:100]
        page.click("#rows a >> nth=0")
    assert reached(opened) in CORPUS.faults[fault]
    assert page.inner_text("article:target p.m >> nth=0").startswith("wrong, label")
    page.locator("a", has_text="Confusion").first.click()
    page.wait_for_selector("td:target")


def test_examples_of_a_finding_are_one_click_away(opened: Watched) -> None:
    for fault, sentence in FAULTS.items():
        links = opened.page.locator("#first li", has_text=sentence).locator(".such a")
        assert links.count() == 4
        links.first.click()
        assert reached(opened) in CORPUS.faults[fault]
        opened.page.go_back()


def test_rates_filter_the_list(opened: Watched) -> None:
    page = opened.page
    wrong = [label != e.label for label, e in zip(CORPUS.labels, CORPUS.explanations, strict=True)]
    for title, value, among in (
        ("By source", "web", [source == "web" for source in CORPUS.source]),
        ("By length", "51 to 100", [len(e.text.split()) > 50 for e in CORPUS.explanations]),
        ("By certainty", "90 to 95%", [0.9 <= (e.probability or 0) < 0.95 for e in CORPUS.explanations]),
        ("By label", "positive", [label == "positive" for label in CORPUS.labels]),
    ):
        row = page.locator("section", has=page.locator(f"h3:has-text('{title}')")).last.locator("tr", has_text=value)
        cells = row.last.locator("td").all_inner_texts()
        count = sum(w and a for w, a in zip(wrong, among, strict=True))
        assert [int(cell) for cell in cells[:2]] == [count, sum(among)], title
        row.last.locator("a").click()
        assert page.inner_text("#count").startswith(f"{count} of "), title


def test_tables_are_sorted_and_folded_words_come_on_request(opened: Watched) -> None:
    table = opened.page.locator("#words table.sorts").first
    head = table.locator("thead th button", has_text="texts")
    column = "tbody tr:not(.fold) td:nth-child(5)"
    head.click()
    counts = [int(text) for text in table.locator(column).all_inner_texts()]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) > 1
    assert table.locator("th[aria-sort=descending]").count() == 1
    head.focus()
    opened.page.keyboard.press("Enter")
    assert [int(text) for text in table.locator(column).all_inner_texts()] == counts[::-1]
    assert opened.page.locator("#words tr.fold").count() and not opened.page.locator("#words tr.fold:visible").count()
    opened.page.check("#fold")
    assert opened.page.locator("#words tr.fold:visible").count() == opened.page.locator("#words tr.fold").count()


def test_words_of_a_text_page_tell_their_scores(opened: Watched, folder: Path) -> None:
    opened.open(folder / "texts" / "g000-0001.html")
    card = opened.page.locator("article").first
    word = card.locator(".w").first
    for way in ("hover", "click"):
        getattr(word, way)()
        assert card.locator(".say").inner_text().split()[0] == (word.get_attribute("title") or "").split()[0]
    card.locator(".t").focus()
    opened.page.keyboard.press("ArrowRight")
    assert card.locator(".w.at").count() == 1 and card.locator(".say").inner_text()
    assert "base value" in card.inner_text() and "sum of scores" in card.inner_text()


@pytest.mark.parametrize("width, scheme", [(1440, "light"), (360, "dark")])
def test_the_index_fits_and_uses_the_width(browser: Any, folder: Path, width: int, scheme: str) -> None:
    watched = Watched(browser, width=width, scheme=scheme)
    page = watched.open(folder / "index.html")
    watched.assert_laid_out()
    assert page.locator("dl.facts dt").first.inner_text() == "accuracy"
    lines = "rows => rows.map(row => row.getBoundingClientRect().height)"
    heights = page.eval_on_selector_all("#words tr:not(.fold) > th[scope=row]", lines)
    assert max(heights) < 1.3 * min(heights), "one line a word"
    if width > 1000:
        assert page.locator("main").bounding_box()["width"] > 0.85 * width
    watched.open(folder / "texts" / "g000-0001.html")
    watched.assert_laid_out()
    watched.assert_calm()
    watched.close()
