# SPDX-License-Identifier: Apache-2.0
"""Reviews for reports, and what the pages of one say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from helpers.report_examples import LABELS, example
from mhex_nlp import Explanation

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


def confusion(index: Path) -> dict[tuple[str, str], int]:
    """Counts by label and prediction, off the table."""
    html = index.read_text("utf-8").partition("Predictions against labels")[2].partition("</table>")[0]
    columns = re.findall(r'<th scope="col"><bdi>(.*?)</bdi>', html)
    found = {}
    for gold, cells in re.findall(r'<tr><th scope="row"><bdi>(.*?)</bdi></th>(.*?)</tr>', html, re.S):
        counts = re.findall(r">(\d+)<", re.sub(r"</?a[^>]*>", "", cells))
        found |= {(gold, column): int(count) for column, count in zip(columns, counts, strict=True) if count != "0"}
    return found
