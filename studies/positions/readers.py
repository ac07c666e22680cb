# SPDX-License-Identifier: Apache-2.0
"""Words with entity labels, and questions with answers, as the files under `--data` have them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """A sentence as it was written, its words' places in it, and a BIO label for each word."""

    text: str
    words: tuple[tuple[int, int], ...]  # start and end, in code points
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, its context, and the answer's place in the context."""

    question: str
    context: str
    start: int
    end: int


def read_iob2(path: Path) -> list[TaggedSentence]:
    """The sentences of a file of Universal NER: `# text = ...`, then a word a line, its label in the third column.

    Raises:
        ValueError: a word that its text does not hold.
    """
    sentences = []
    for block in path.read_text("utf-8").split("\n\n"):
        lines = block.splitlines()
        text = next((line.removeprefix("# text = ") for line in lines if line.startswith("# text = ")), None)
        rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
        if text is None or not rows:
            continue
        places, end = [], 0
        for row in rows:
            start = text.find(row[1], end)
            if start < 0:
                raise ValueError(f"{path.name}: {row[1]!r} is not in its text after character {end}: {text!r:.80}")
            end = start + len(row[1])
            places.append((start, end))
        # OTH is none of the three types of the benchmark
        labels = [row[2] if row[2][2:] in ("PER", "ORG", "LOC") else "O" for row in rows]
        sentences.append(TaggedSentence(text, tuple(places), tuple(labels)))
    return sentences


TYPES = {
    **dict.fromkeys(("person", "politician", "researcher"), "PER"),
    **dict.fromkeys(("organisation", "politicalparty", "university", "group", "corporation"), "ORG"),
    **dict.fromkeys(("location", "country"), "LOC"),
}
UNKNOWN = "?"  # of a word whose label in the three types nobody knows: an event or a product may hold a name of theirs


def read_crossner(path: Path) -> list[TaggedSentence]:
    """The sentences of a file of CrossNER: a word and its label a line, an empty line between sentences."""
    blocks = [block.splitlines() for block in path.read_text("utf-8").split("\n\n") if block.strip()]
    rows = [[line.split("\t") for line in block if line.strip()] for block in blocks]
    return [_joined([row[0] for row in block], [row[1] for row in block]) for block in rows]


def read_wnut(path: Path) -> list[TaggedSentence]:
    """The sentences of a JSONL file with lists "tokens" and "tags"."""
    rows = map(json.loads, filter(str.strip, path.read_text("utf-8").splitlines()))
    return [_joined(row["tokens"], row["tags"]) for row in rows]


def _joined(words: list[str], tags: list[str]) -> TaggedSentence:
    """Words with a space between them, labels in the three types."""
    places, text = [], ""
    for word in words:
        text += " " if text else ""
        places.append((len(text), len(text) + len(word)))
        text += word
    labels = [tag if tag == "O" else f"{tag[:2]}{TYPES[tag[2:]]}" if tag[2:] in TYPES else UNKNOWN for tag in tags]
    return TaggedSentence(text, tuple(places), tuple(labels))


def read_xquad(path: Path) -> list[list[Answered]]:
    """The questions of each article."""
    articles = json.loads(path.read_text("utf-8"))["data"]
    return [
        [
            Answered(
                question["question"],
                paragraph["context"],
                question["answers"][0]["answer_start"],
                question["answers"][0]["answer_start"] + len(question["answers"][0]["text"]),
            )
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        for article in articles
    ]


def read_squad_subset(path: Path) -> list[Answered]:
    """The questions of a JSON list of {context, question, answer, answer_span} whose answer is in the context."""
    questions = []
    for row in json.loads(path.read_text("utf-8")):
        span = row["answer_span"]
        if span:
            questions.append(Answered(row["question"], row["context"], int(span[0]), int(span[1])))
    return questions
