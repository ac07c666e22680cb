# SPDX-License-Identifier: Apache-2.0
"""The texts of the faithfulness study, read from a folder with sst2/, ag_news/ and sst_trees/."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common import SENTIMENT, read_sst2

Span = tuple[int, int]
_NEUTRAL = 2  # of the treebank's five labels


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts with their class ids."""

    texts: list[str]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: int | None, seed: int) -> Texts:
        """The first `count` after shuffling; all, in their own order, where `count` is `None`."""
        if count is None:
            return self
        chosen = np.random.default_rng(seed).permutation(len(self))[:count].tolist()
        return Texts([self.texts[i] for i in chosen], [self.labels[i] for i in chosen])


@dataclass(frozen=True, slots=True)
class GoldText:
    """A sentence, its class, and [start, end) in code points of the words people marked as on that class's side."""

    text: str
    label: int
    spans: list[Span]


def read(folder: Path, data: str) -> tuple[Texts, Texts, list[str]]:
    """(training texts, test texts, class names).

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an unknown data set, or a row that is not as described.
    """
    if data == "sst2":
        parts = (read_sst2(folder / data / f"{part}.tsv") for part in ("train", "test"))
        return *(Texts(list(part["text"]), list(part["label"])) for part in parts), SENTIMENT
    if data == "ag_news":
        names = ["World", "Sports", "Business", "Sci/Tech"]
        return *(_news(folder / data / f"raw_split_{part}.csv", len(names)) for part in ("fit", "eval")), names
    raise ValueError(f"data must be 'sst2' or 'ag_news', got {data!r}.")


def _news(path: Path, classes: int) -> Texts:
    """Header class, title, description; classes count from 1; a literal backslash stands for a new line."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [int(row["class"]) - 1 for row in rows]
    if not all(0 <= label < classes for label in labels):
        raise ValueError(f"{path.name} must hold classes 1 to {classes}.")
    return Texts([f"{row['title']} {row['description']}".replace("\\", " ") for row in rows], labels)


def read_gold(folder: Path) -> list[GoldText]:
    """Test sentences of the treebank that take a side and have a word that people, shown it alone, put on that side."""
    sentences = []
    for line in (folder / "sst_trees" / "test.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["binary_label"] is None:
            continue
        spans, start = [], 0
        for token, label in zip(row["tokens"], row["token_labels"], strict=True):
            if label != _NEUTRAL and (label > _NEUTRAL) == bool(row["binary_label"]):
                spans.append((start, start + len(token)))
            start += len(token) + 1
        if spans:
            sentences.append(GoldText(" ".join(row["tokens"]), int(row["binary_label"]), spans))
    return sentences
