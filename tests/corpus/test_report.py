# SPDX-License-Identifier: Apache-2.0
"""`write_report`: each text once, right counts, links that lead somewhere, and folders that are treated with care."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.report_examples import LABELS, example
from helpers.tiny import tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import Explanation, MhexExplainer, fit_equivalent_matrices, write_report
from mhex_nlp.corpus.report.folder import ReportFolder

GOOD, BAD = {"superb": 0.9, "dull": -0.4}, {"superb": -0.5, "dull": 0.8}


def reviews(count: int) -> list[Explanation]:
    """Texts of two classes; every third is predicted against the right label of `golds`."""
    made = []
    for index in range(count):
        label = LABELS[(index // 2) % 2]
        words = GOOD if label == "positive" else BAD
        text = f"text {index} was superb , not dull"
        made.append(example(text, id=f"r{index}", label=label, probability=0.6 + index / (4 * count), scores=words))
    return made


def golds(count: int) -> list[str]:
    right = [LABELS[(index // 2) % 2] for index in range(count)]
    return [LABELS[1 - LABELS.index(label)] if index % 3 == 0 else label for index, label in enumerate(right)]


class Page(HTMLParser):
    """The articles (id: text), links, table cells and facts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path, self.html = path, path.read_text("utf-8")
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.texts: dict[str, str] = {}
        self.article, self.in_text = "", False
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if (name := given.get("id")) is not None:
            self.ids.add(name)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag == "article":
            self.article = given["id"] or ""
            self.texts[self.article] = ""
        if tag == "p" and given.get("class") == "t":
            self.in_text = True

    def handle_endtag(self, tag: str) -> None:
        self.in_text = self.in_text and tag != "p"

    def handle_data(self, data: str) -> None:
        if self.in_text:
            self.texts[self.article] += data


def read(index: Path) -> tuple[dict[str, Any], list[Page]]:
    """The index's data, and all pages of texts; every link of either leads to what is there."""
    pages = {path: Page(path) for path in sorted(index.parent.rglob("*.html"))}
    for path, page in pages.items():
        for link in page.links:
            file, _, part = link.partition("#")
            aim = (path.parent / file).resolve() if file else path
            assert aim in pages, (path.name, link)
            assert not part or part in pages[aim].ids, (path.name, link)
    [data] = re.findall('<script type="application/json" id="data">(.*?)</script>', pages[index].html, re.S)
    return json.loads(data), [page for path, page in pages.items() if path != index]


def facts(index: Path) -> dict[str, str]:
    html = index.read_text("utf-8")
    return {name: unescape(value) for name, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html)}


def confusion(index: Path) -> dict[tuple[str, str], int]:
    """Counts by label and prediction, off the table."""
    html = index.read_text("utf-8").partition("Predictions against labels")[2].partition("</table>")[0]
    columns = re.findall(r'<th scope="col"><bdi>(.*?)</bdi>', html)
    found = {}
    for gold, cells in re.findall(r'<tr><th scope="row"><bdi>(.*?)</bdi></th>(.*?)</tr>', html, re.S):
        counts = re.findall(r">(\d+)<", re.sub(r"</?a[^>]*>", "", cells))
        found |= {(gold, column): int(count) for column, count in zip(columns, counts, strict=True) if count != "0"}
    return found


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


# ---- what is refused


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"explanations": []}, "explanations must hold at least one, got none"),
        ({"explanations": [1]}, "explanations must hold Explanation objects, got int at 0"),
        ({"explanations": ["a text"]}, "explanations must hold Explanation objects, got str at 0"),
        ({"unit": "letters"}, "unit must be 'words' or 'tokens', not 'letters'"),
        ({"page_texts": 0}, "page_texts must be an integer from 1 to 200, got 0"),
        ({"page_texts": 201}, "page_texts must be an integer from 1 to 200, got 201"),
        ({"slices": "source"}, "slices must be names of columns, or columns by name, got the string 'source'"),
        ({"slices": ["source"]}, "slices that name columns need data, whose columns they are, got none"),
        ({"slices": ["a"], "data": {"b": [1]}}, "slices must name columns of data, got 'a'; it has b"),
        ({"slices": ["a"], "data": 3}, "data must be a data set, a frame or columns by name, got int"),
        ({"slices": {"a": [1, 2]}}, r"slices\['a'\] must have one entry for each text, got none for texts\[2\]"),
        (
            {"slices": {"a": [1, [2], 3]}},
            r"slices\['a'\]\[1\] must be a string, a number, a truth value or None, got l",
        ),
        ({"against": [1]}, "against must hold Explanation objects, got int at 0"),
        ({"against": []}, "against must hold explanations of the same texts in about the same order, got none"),
        (
            {"against": reviews(9)[3:]},
            "against must hold explanations of the same texts in about the same order, got n",
        ),
        (
            {"against": [example("other", id="r0")]},
            "against must hold explanations of the same texts, got another text",
        ),
        ({"page_texts": True}, "page_texts must be an integer from 1 to 200, got True"),
        ({"page_texts": 2.5}, "page_texts must be an integer from 1 to 200, got 2.5"),
        ({"labels": ["positive"]}, r"labels must have one entry for each text, got none for texts\[1\]"),
        ({"labels": ["positive"] * 4}, "labels must have one entry for each text, got more than the 3 texts"),
        ({"labels": "positive"}, "labels must be one a text, or a mapping from ids, got the string 'positive'"),
        ({"labels": 3}, "labels must be an iterable"),
        ({"labels": [["positive"], None, None]}, r"labels\[0\] must be a class name, an id or None, got list"),
        ({"labels": [None, 0.5, None]}, r"labels\[1\] must be a class of the model, got 0.5. The classes are 0 '"),
        ({"labels": {"r1": "Positive"}}, r"labels\['r1'\] must be .* got 'Positive'; did you mean 'positive'\?"),
        ({"labels": iter([2, None, None])}, r"labels\[0\] must be a class of the model, got 2"),
        ({"title": None}, "title must be a string, got NoneType"),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"explanations": reviews(3), "output_dir": tmp_path / "report", **changes}
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        write_report(**given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report" / "index.html").exists()
    if "must be a class" in sentence or "a class name" in sentence:
        assert not (tmp_path / "report").exists(), "labels are checked before any work"


def test_labels_are_taken_as_the_command_takes_them(tmp_path: Path) -> None:
    wanted = confusion(write_report(reviews(4), tmp_path, labels=["positive", "negative", None, None]))
    for labels in ([1.0, 0.0, float("nan"), None], pd.Series([1, 0, None, None]), iter(["1", "0", "", None])):
        assert confusion(write_report(reviews(4), tmp_path, labels=labels)) == wanted
    by_id = {"r0": 1, "r1": 0.0, "r2": float("nan")}
    assert confusion(write_report(reviews(4), tmp_path, labels=by_id)) == wanted


@pytest.mark.parametrize(
    "other",
    [
        example("text", id="x", label="sports", labels=("world", "sports")),
        example("text", id="x", target="sports", labels=("positive", "sports")),
        example("text", id="x", label=None, value=0.5),
    ],
    ids=["prediction", "target", "regression"],
)
def test_another_models_classes_are_refused(tmp_path: Path, other: Explanation) -> None:
    for made in ([*reviews(2), other], [example("text", label=None, value=0.5), *reviews(1)]):
        with pytest.raises(ValueError, match="explanations must all be of one model, got the class"):
            write_report(made, tmp_path / "report")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(NotADirectoryError, match="output_dir must be a folder, got the file"):
        write_report(reviews(1), tmp_path / "report")
    assert (tmp_path / "report").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.txt", "index.html", "texts/g000-0001.html", "texts/mine.html", "texts"])
def test_files_of_others_are_not_touched(tmp_path: Path, name: str) -> None:
    """Not even those that have a report's names, where no report has been."""
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(ValueError, match=f"output_dir must be a new folder, .* which holds {re.escape(name)}"):
        write_report(reviews(3), tmp_path)
    assert [(path, path.read_text()) for path in tmp_path.rglob("*") if path.is_file()] == [(mine, "mine")]


@pytest.mark.parametrize("name", ["notes.txt", "texts/g1.html", "deep/er/x", "texts/g000-0001.html.bak"])
def test_files_of_others_in_a_report_are_not_touched(tmp_path: Path, name: str) -> None:
    index = write_report(reviews(3), tmp_path)
    before = index.read_bytes()
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds {re.escape(name)}"):
        write_report(reviews(9), tmp_path)
    assert index.read_bytes() == before and (tmp_path / name).read_text() == "mine"


def test_links_to_elsewhere_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "g000-0001.html").write_text("mine")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "texts").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="which holds texts"):
        write_report(reviews(3), tmp_path / "report")
    assert (elsewhere / "g000-0001.html").read_text() == "mine"


def test_a_new_report_replaces_the_earlier_one(tmp_path: Path) -> None:
    write_report(reviews(40), tmp_path / "one", labels=golds(40), page_texts=3)
    write_report(reviews(6), tmp_path / "two", page_texts=3)
    index = write_report(reviews(6), tmp_path / "one", page_texts=3)
    names = [
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert names[0] == names[1]
    read(index)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 11])
@pytest.mark.parametrize("where", ["source", "disk"])
def test_after_a_crash_the_folder_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, where: str
) -> None:
    folder = tmp_path / "report"
    earlier = write_report(reviews(20), folder, page_texts=2).read_bytes()

    def source() -> Iterator[Explanation]:
        for number, each in enumerate(reviews(12)):
            if number == after:
                raise Stop
            yield each

    if where == "source":
        with pytest.raises(Stop):
            write_report(source(), folder, page_texts=2)
    else:
        written = 0

        def write(self: ReportFolder, name: str, page: str) -> None:
            nonlocal written
            written += 1
            if written * 2 > after:
                (self.path / name).with_name(f".{Path(name).name}.{1}.unfinished").write_text("half")
                raise Stop
            kept(self, name, page)

        kept = ReportFolder.write
        monkeypatch.setattr(ReportFolder, "write", write)
        with pytest.raises(Stop):
            write_report(reviews(12), folder, page_texts=2)
        monkeypatch.undo()
    assert (folder / "index.html").read_bytes() == earlier, "the index comes last"
    index = write_report(reviews(12), folder, page_texts=2)
    again = write_report(reviews(12), tmp_path / "fresh", page_texts=2)
    assert {path.relative_to(folder) for path in folder.rglob("*")} == {
        path.relative_to(again.parent) for path in again.parent.rglob("*")
    }
    assert index.read_bytes() == again.read_bytes()


# ---- sizes


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
