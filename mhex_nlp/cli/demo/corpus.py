# SPDX-License-Identifier: Apache-2.0
"""The embedded sentiment corpus: sentences written for this project, with the words that carry the label."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "validation", "test")
LABELS = ("negative", "positive")  # the index is the class id


@dataclass(frozen=True, slots=True)
class CorpusSentence:
    """One labelled sentence; `spans` are the human rationale: sorted code-point [start, end) pairs."""

    id: str
    text: str
    label: str
    domain: str
    split: str
    spans: tuple[tuple[int, int], ...]


@cache
def _read() -> tuple[CorpusSentence, ...]:
    lines = files("mhex_nlp.cli.demo").joinpath("corpus.jsonl").read_text(encoding="utf-8").split("\n")
    rows = (json.loads(line) for line in lines if line)
    return tuple(CorpusSentence(**{**row, "spans": tuple(map(tuple, row["spans"]))}) for row in rows)


def load_corpus(split: str | None = None) -> list[CorpusSentence]:
    """Sentences of one split, or of all of them for None, in file order; ValueError for an unknown split."""
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or None, got {split!r}")
    return [sentence for sentence in _read() if split is None or sentence.split == split]


def as_dataset(split: str | None = None) -> Dataset:
    """The same sentences as a Dataset with columns text, label (ClassLabel), id, domain and spans."""
    sentences = load_corpus(split)
    from datasets import ClassLabel, Dataset, Features, Value  # here, so that importing this module stays fast

    types = {"text": Value("string"), "label": ClassLabel(names=list(LABELS))}
    types |= {"id": Value("string"), "domain": Value("string"), "spans": [[Value("int32")]]}
    rows = {name: [getattr(sentence, name) for sentence in sentences] for name in types}
    return Dataset.from_dict(rows, features=Features(types))
