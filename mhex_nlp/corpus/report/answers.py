# SPDX-License-Identifier: Apache-2.0
"""What a report answers of all its texts, collected in one pass, and where to look first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

from ...explain.explanation import Explanation
from .compare import Changes, OtherRun
from .confusion import ConfusedWords
from .seen import Bounded, SeenText, name_example, wilson
from .slices import ErrorRates, WordErrors
from .spurious import Pushes
from .words import WordEffects

FINDINGS = 6
_OF_A_KIND = 2
_FEWEST = 5  # labelled texts of a finding
_LEAST = 1.0  # wrong texts beyond what is usual, or labels short of it
_CHANCE = 0.05  # of one finding or more where there is nothing to find
_NUMBERS = re.compile(r"\d[\d,.]*\d|\d")
_NOTES = 200  # told apart

Examples = Callable[[str, str, int], list[tuple[int, int]]]


class Answers:
    """Memory grows by the tables of `Bounded`, not by the texts.

    Args:
        labels: the model's classes, in id order; empty where there are none.
        columns: names of the columns that texts are sliced by.
        other: another run to compare with.
    """

    def __init__(self, labels: Sequence[str], columns: Sequence[str] = (), other: OtherRun | None = None) -> None:
        self.rates, self.topics, self.effects = ErrorRates(columns), WordErrors(), WordEffects()
        self.pushes, self.confused = Pushes(labels), ConfusedWords(labels)
        self.changes = None if other is None else Changes(other)
        self.notes: Bounded[str] = Bounded(lambda: [0, []], most=_NOTES)

    def add(self, text: SeenText, explanation: Explanation) -> None:
        """Counts one text."""
        for table in (self.rates, self.topics, self.pushes, self.confused):
            table.add(text)
        self.effects.add(text.target, text.words)
        if self.changes is not None:
            self.changes.add(text, explanation)
        for note in dict.fromkeys(_NUMBERS.sub("\u2026", note) for note in explanation.notes):
            row = self.notes.row(note)
            row[0] += 1
            name_example(row[1], text)

    def report(
        self, labels: Sequence[str], confusion: Mapping[str, Mapping[str, int]], examples: Examples
    ) -> dict[str, Any]:
        """What `render_report_index` shows; `examples` gives texts in which a word weighs most, by class and sign."""
        rates = self.rates.report(labels)
        effects = self.effects.report(labels)
        for label, words in effects.items():
            for side, sign in (("for", 1), ("against", -1)):
                for word in words[side]:
                    word["examples"] = examples(label, word["word"], sign)
        spurious, topics = self.pushes.report(self.rates.rate), self.topics.report(self.rates.lengths)
        tested = len(self.topics.table) + len(self.pushes.table) + len(rates["crossed"])
        return {
            "rates": rates,
            "topics": topics,
            "confused": self.confused.report(confusion, self.pushes),
            "effects": effects,
            "spurious": spurious,
            "findings": find_faults(rates, topics, spurious, tested),
            "notes": [
                {"note": note, "texts": row[0], "share": row[0] / rates["texts"], "examples": row[1]}
                for note, row in sorted(self.notes.items(), key=lambda entry: (-entry[1][0], entry[0]))
            ],
            "changes": None if self.changes is None else self.changes.report(labels),
        }


def find_faults(
    rates: Mapping[str, Any], topics: Sequence[Mapping[str, Any]], spurious: Sequence[Mapping[str, Any]], tested: int
) -> list[dict[str, Any]]:
    """Where to look first, by `excess`: the wrong texts beyond what is usual that are there at the least.

    Intervals are as wide as the number of rows that were looked at calls for (Bonferroni), so that a corpus whose
    mistakes lie anywhere has no finding but by chance, once in twenty.
    """
    z = NormalDist().inv_cdf(1 - _CHANCE / 2 / max(tested, 1))
    usual = rates["rate"] or 0.0
    findings = [*_spurious(spurious, z), *_topics(topics, z, {entry["word"] for entry in spurious[:1]})]
    places = [{"kind": "label", **row} for row in rates["labels"]]
    places += [{"kind": "length", **row} for row in rates["lengths"]]
    places += [{"kind": "crossed", **row} for row in rates["crossed"]]
    findings += _worst(places, usual, z)[:1]
    for column, of_column in enumerate(rates["slices"]):
        rows = [{"kind": "slice", "column": column, "row": row, **of} for row, of in enumerate(of_column["rows"])]
        findings += _worst(rows, usual, z)[:1] + _furthest(rows, rates, z)[:1]
    findings += _furthest([{"kind": "length", **row} for row in rates["lengths"]], rates, z)[:1]
    findings.sort(key=lambda entry: -entry["excess"])
    if rates["sure"]:
        findings.append({"kind": "sure", "texts": rates["sure"], "excess": 0.0})
    return findings[:FINDINGS]


def _worst(rows: Sequence[dict[str, Any]], usual: float, z: float) -> list[dict[str, Any]]:
    worst = []
    for row in rows:
        excess = (wilson(row["wrong"], row["labelled"], z)[0] - row.get("usual", usual)) * row["labelled"]
        if row["labelled"] >= _FEWEST and excess > _LEAST:
            worst.append({**row, "excess": excess})
    return sorted(worst, key=lambda row: -row["excess"])


def _furthest(rows: Sequence[dict[str, Any]], rates: Mapping[str, Any], z: float) -> list[dict[str, Any]]:
    """The same of a regression: where its mean absolute error is beyond that of all texts."""
    beyond = []
    for row in rows:
        excess = (row.get("off", 0.0) - z * row.get("spread", 0.0) - rates.get("off", 0.0)) * row["labelled"]
        if row["labelled"] >= _FEWEST and excess > 0 and row.get("spread"):
            beyond.append({**row, "kind": f"{row['kind']}_off", "excess": excess / rates["off"]})
    return sorted(beyond, key=lambda row: -row["excess"])


def _topics(topics: Sequence[Mapping[str, Any]], z: float, known: set[str]) -> list[dict[str, Any]]:
    rows = [{**row, "kind": "topic", "row": number} for number, row in enumerate(topics) if row["word"] not in known]
    return _worst(rows, 0.0, z)[:_OF_A_KIND]


def _spurious(spurious: Sequence[Mapping[str, Any]], z: float) -> list[dict[str, Any]]:
    findings = []
    for number, row in enumerate(spurious):
        excess = (row["expected"] - wilson(row["gold"] * row["texts"], row["texts"], z)[1]) * row["texts"]
        if excess > _LEAST:
            findings.append({**row, "kind": "spurious", "row": number, "excess": excess})
    return findings[:_OF_A_KIND]
