# SPDX-License-Identifier: Apache-2.0
"""`write_report`: each text once, right counts, links that lead somewhere, and folders that are treated with care."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from helpers.report_examples import LABELS, example
from helpers.report_reading import Page, confusion, golds, read, reviews
from helpers.tiny import tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import Explanation, MhexExplainer, fit_equivalent_matrices, write_report


def facts(index: Path) -> dict[str, str]:
    html = index.read_text("utf-8")
    return {name: unescape(value) for name, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html)}


@pytest.mark.parametrize("count", [1, 5, 23])
def test_each_text_stands_once_and_every_link_leads_somewhere(tmp_path: Path, count: int) -> None:
    made = reviews(count)
    index = write_report(made, tmp_path / "report", labels=golds(count), page_texts=4)
    assert index == tmp_path / "report" / "index.html"
    data, pages = read(index)
    found = {name: text for page in pages for name, text in page.texts.items()}
    assert sum(len(page.texts) for page in pages) == count
    assert found == {f"t{number}": each.text for number, each in enumerate(made)}
    assert max(len(page.texts) for page in pages) <= 4
    assert [(row[0], row[1], data["labels"][row[2]], row[5]) for row in data["rows"]] == [
        (number, each.id, each.label, each.text) for number, each in enumerate(made)
    ]
    for number, *_, page, words, length in data["rows"]:
        assert length == len(made[number].text.split())
        assert f"t{number}" in Page(index.parent / data["pages"][page]).ids
        strong = {data["words"][abs(place) - 1]: place > 0 for place in words}
        target = made[number].label
        assert strong["superb"] == (target == "positive") and strong["dull"] == (target == "negative")


def test_counts_accuracy_and_confusion(tmp_path: Path) -> None:
    made, labels = reviews(23), golds(23)
    index = write_report(made, tmp_path, labels=labels)
    expected = Counter((gold, str(each.label)) for gold, each in zip(labels, made, strict=True))
    assert confusion(index) == expected
    right = sum(gold == each.label for gold, each in zip(labels, made, strict=True))
    told = facts(index)
    assert told["texts"] == "23" and told["accuracy"] == f"{100 * right / 23:.1f}% of 23 with a label"
    # A cell links to the texts that it counts.
    html = index.read_text("utf-8").partition("Predictions against labels")[2].partition("</table>")[0]
    data, _ = read(index)
    for address, gold, predicted, count in re.findall(
        r'<a href="([^"]*)" data-gold="(\d+)" data-predicted="(\d+)">(\d+)', html
    ):
        names = data["labels"][int(gold)], data["labels"][int(predicted)]
        assert expected.pop(names) == int(count) == len(Page(index.parent / address).texts)
    assert not expected


@pytest.mark.parametrize("form", ["names", "ids", "digits", "generator", "mapping", "part", "none"])
def test_labels_in_any_form(tmp_path: Path, form: str) -> None:
    made, names = reviews(9), golds(9)
    ids = [LABELS.index(name) for name in names]
    given: Any = {
        "names": names,
        "ids": ids,
        "digits": [str(each) for each in ids],
        "generator": (each for each in names),
        "mapping": {each.id: name for each, name in zip(made, names, strict=True)},
        "part": {"r2": names[2], "r5": None, "other": "positive"},
        "none": None,
    }[form]
    index = write_report(iter(made), tmp_path, labels=given)
    known = {"part": [2], "none": []}.get(form, range(9))
    assert confusion(index) == Counter((names[number], str(made[number].label)) for number in known)
    data, _ = read(index)
    assert [row[0] for row in data["rows"] if row[4] is not None] == list(known)
    assert ("accuracy" in facts(index)) == (form != "none")


def test_words_are_counted_with_their_strongest_texts(tmp_path: Path) -> None:
    texts = ["superb", "it was superb", "superb superb", "so so", "Superb ending"]
    made = [
        example(text, scores={"superb": 0.1 * number, "Superb": 5.0, "so": -0.5})
        for number, text in enumerate(texts, start=1)
    ]
    index = write_report(made, tmp_path)
    html = index.read_text("utf-8")
    [row] = re.findall(r"<bdi>superb</bdi></th>(.*?)</tr>", html)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert cells[3] == "4" and cells[4] == "80%", "of five texts"
    assert float(cells[2]) == pytest.approx((0.1 + 0.2 + 0.6 + 5.0) / 4, abs=6e-3)
    assert re.findall(r"#t(\d+)", row) == ["4", "2", "1"], "strongest first: 5.0, 0.6, 0.2"
    [row] = re.findall(r"<bdi>so</bdi></th>(.*?)</tr>", html)
    assert re.findall(r"#t(\d+)", row) == ["3"]


def test_a_regression_has_values_and_no_classes(tmp_path: Path) -> None:
    made = [example(f"text {n}", label=None, value=n + 0.123456789) for n in range(7)]
    index = write_report(made, tmp_path, labels=[1, 2, 3, 4, 5, None, None])
    data, pages = read(index)
    assert [row[2:4] for row in data["rows"]][:2] == [[None, 0.123457], [None, 1.12346]]
    assert [None if row[4] is None else data["labels"][row[4]] for row in data["rows"]] == [*"12345", None, None]
    html = index.read_text("utf-8")
    assert "Predictions against labels" not in html and "accuracy" not in facts(index)
    assert 'name="answer"' not in html and 'name="predicted"' not in html and 'name="gold"' in html
    assert sum(len(page.texts) for page in pages) == 7
    several = [example("text", label=None, value=(0.5, 1.5))]
    data, _ = read(write_report(several, tmp_path))
    assert data["rows"][0][3] is None


def test_multi_label_and_pairs(tmp_path: Path) -> None:
    labels = ("toxic", "threat", "insult")
    made = [
        example("you clown", label="toxic", labels=labels, chosen=["toxic", "insult"], target=target, text_pair="yes")
        for target in labels
    ]
    index = write_report(made, tmp_path, labels=["toxic", "insult", None])
    assert confusion(index) == {("toxic", "toxic"): 1, ("insult", "toxic"): 1}
    data, pages = read(index)
    assert [row[5] for row in data["rows"]] == ["you clown | yes"] * 3
    html = "".join(page.html for page in pages)
    assert html.count("<bdi>insult</bdi> <i>90%</i>") == 3 and html.count("Scores for <b>") == 3


def test_explanations_of_a_real_model(tmp_path: Path) -> None:
    texts, labels = tiny_texts(30)
    model = tiny_mhex(gate=False)
    fit_equivalent_matrices(model, tiny_tokenizer(), texts)
    explainer = MhexExplainer(model, tiny_tokenizer())
    made = list(explainer.stream(texts))
    for unit in ("words", "tokens"):
        index = write_report(explainer.stream(texts), tmp_path, labels=labels, unit=unit, page_texts=7)
        data, pages = read(index)
        assert {row[1] for row in data["rows"]} == {each.id for each in made}
        shown = sorted(text for page in pages for text in page.texts.values())
        assert shown == sorted(texts)
        right = sum(LABELS[gold] == each.label for gold, each in zip(labels, made, strict=True))
        assert facts(index)["accuracy"].startswith(f"{100 * right / 30:.1f}".removesuffix(".0"))


def test_explanations_are_read_once_and_not_kept(tmp_path: Path) -> None:
    reads = 0

    def stream() -> Iterator[Explanation]:
        nonlocal reads
        for each in reviews(12):
            reads += 1
            yield each

    class Once:
        given = False

        def __iter__(self) -> Iterator[Explanation]:
            assert not self.given
            self.given = True
            return stream()

    write_report(Once(), tmp_path, page_texts=3)  # type: ignore[arg-type]
    assert reads == 12


def test_the_list_says_where_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhex_nlp.corpus.report.counts.LISTED", 5)
    index = write_report(reviews(9), tmp_path, labels=golds(9))
    html = index.read_text("utf-8")
    data, pages = read(index)
    assert len(data["rows"]) == 5 and sum(len(page.texts) for page in pages) == 9
    assert "The first 5 are listed here; the pages have all." in html
    assert "data-predicted=" not in html, "cells lead to pages, since the list lacks some of their texts"
    assert "are listed here" not in write_report(reviews(5), tmp_path).read_text("utf-8")


@pytest.mark.parametrize(
    "number, shown", [(0.99999991, 0.99999991), (1.0, 1.0), (0.123456789, 0.123457), (1e-9, 1e-9), (0.5, 0.5)]
)
def test_near_certainty_does_not_become_one(tmp_path: Path, number: float, shown: float) -> None:
    data, _ = read(write_report([example("text", probability=number)], tmp_path))
    assert data["rows"][0][3] == shown


def test_a_report_is_small(tmp_path: Path) -> None:
    """Under 4 kB a text over all files, and one text under 10 kB beyond its spans."""
    words = "The plot was thin , and the second half drags a little , but the acting was superb and the rest lovely ."
    made = [example(f"{words} {number} times {number % 7} over", id=str(number)) for number in range(400)]
    index = write_report(made, tmp_path, labels=[LABELS[n % 3 % 2] for n in range(400)])
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size / 400 < 4000
    # What a text adds to the index, which a reader loads first.
    assert index.stat().st_size < 25_000 + 300 * 400
    single = made[0].to_html()
    spans = sum(len(text.encode()) for text in re.findall(r'<p class="t".*?</p>', single, re.S))
    assert len(single.encode()) - spans < 10_000
