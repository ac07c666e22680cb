# SPDX-License-Identifier: Apache-2.0
"""The texts of the faithfulness study, read from a folder with sst2/, ag_news/ and sst_trees/."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset

from ..common import labelled, read_sst2

NEWS = ["World", "Sports", "Business", "Sci/Tech"]
_NEUTRAL = 2  # of the treebank's five labels


class GoldText(NamedTuple):
    """A sentence, its class, and [start, end) in code points of the words people marked as on that class's side."""

    text: str
    label: int
    spans: list[tuple[int, int]]


def read(folder: Path, data: str) -> tuple[Dataset, Dataset]:
    """Training and test texts: columns text and label.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an unknown data set, or a row that is not as described.
    """
    if data == "sst2":
        return read_sst2(folder / data / "train.tsv"), read_sst2(folder / data / "test.tsv")
    if data == "ag_news":
        return _news(folder / data / "raw_split_fit.csv"), _news(folder / data / "raw_split_eval.csv")
    raise ValueError(f"data must be 'sst2' or 'ag_news', got {data!r}.")


def _news(path: Path) -> Dataset:
    """Header class, title, description; classes count from 1; a literal backslash stands for a new line."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [int(row["class"]) - 1 for row in rows]
    if not set(labels) <= set(range(len(NEWS))):
        raise ValueError(f"{path.name} must hold classes 1 to {len(NEWS)}.")
    return labelled([f"{row['title']} {row['description']}".replace("\\", " ") for row in rows], labels, NEWS)


def shuffled(rows: Dataset, count: int, seed: int) -> Dataset:
    """The first `count` rows after shuffling."""
    return rows.select(np.random.default_rng(seed).permutation(len(rows))[:count])


def read_gold(folder: Path) -> Iterator[GoldText]:
    """Test sentences of the treebank that take a side and have a word that people, shown it alone, put on that side."""
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
            yield GoldText(" ".join(row["tokens"]), int(row["binary_label"]), spans)
