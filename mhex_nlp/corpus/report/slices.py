# SPDX-License-Identifier: Apache-2.0
"""Where a model is wrong: error rates by class, length, certainty, columns of the data, and words."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Any

from ...render.report_answers import CERTAINTY_STEPS, LENGTH_STEPS, OTHER, SURE
from .seen import EXAMPLES, Bounded, SeenText, Z, is_folded, name_example, wilson

VALUES, SHOWN, BINS = 1000, 30, 5  # of a column: those told apart, those shown, steps where they are many numbers
NONE = "no value"
_TEXTS, _LABELLED, _WRONG, _SURE, _OFF, _SQUARES, _FURTHEST, _EXAMPLES = range(8)


def _zeros() -> list[Any]:
    return [0, 0, 0, 0, 0.0, 0.0, [], []]


def _count(row: list[Any], text: SeenText) -> None:
    """Texts, labelled ones, wrong ones, those wrong though the model is sure, examples of wrong ones.

    Of a regression the sums of absolute errors and of their squares, and the texts with the largest.
    """
    row[_TEXTS] += 1
    if text.off is not None:
        row[_LABELLED] += 1
        row[_OFF] += text.off
        row[_SQUARES] += text.off**2
        row[_FURTHEST] = sorted([*row[_FURTHEST], (-text.off, text.place)])[:EXAMPLES]
    if text.wrong is None:
        return
    row[_LABELLED] += 1
    if text.wrong:
        row[_WRONG] += 1
        row[_SURE] += (text.probability or 0.0) >= SURE
        name_example(row[_EXAMPLES], text)


def figures(row: Sequence[Any]) -> dict[str, Any]:
    """What is shown of a row of counts: the error rate with its interval (Wilson, 95 %).

    Of a regression the mean absolute error (`off`) with that of a mean (normal, 95 %).
    """
    texts, labelled, wrong, sure, off, squares, furthest, examples = row[: _EXAMPLES + 1]
    if furthest:
        mean = off / labelled
        spread = math.sqrt(max(squares / labelled - mean * mean, 0.0) / max(labelled - 1, 1))
        return {
            **{"texts": texts, "labelled": labelled, "off": mean, "spread": spread, "rate": None},
            **{"wrong": 0, "sure": 0, "low": max(mean - Z * spread, 0.0), "high": mean + Z * spread},
            "examples": [place for _, place in furthest],
        }
    low, high = wilson(wrong, labelled)
    return {
        **{"texts": texts, "labelled": labelled, "wrong": wrong, "sure": sure, "examples": examples},
        **{"rate": wrong / labelled if labelled else None, "low": low, "high": high},
    }


class ErrorRates:
    """Counts texts by class, length, certainty, class and length, and the values of columns.

    Args:
        columns: names of the data's columns, whose values each text has in `slices`.
    """

    def __init__(self, columns: Sequence[str] = ()) -> None:
        self.columns = list(columns)
        self.all = _zeros()
        self.labels: dict[str, list[Any]] = {}
        self.predicted: dict[str, list[Any]] = {}
        self.lengths: dict[int, list[Any]] = {}
        self.certainties: dict[int, list[Any]] = {}
        self.crossed: dict[tuple[str, int], list[Any]] = {}  # right class, length
        self.values: list[dict[str, list[Any]]] = [{} for _ in columns]

    def add(self, text: SeenText) -> None:
        """Counts one text."""
        length = step_of(text.length, LENGTH_STEPS)
        _count(self.all, text)
        _count(self.lengths.setdefault(length, _zeros()), text)
        if text.gold is not None and text.predicted is not None:
            _count(self.labels.setdefault(text.gold, _zeros()), text)
            _count(self.predicted.setdefault(text.predicted, _zeros()), text)
            _count(self.crossed.setdefault((text.gold, length), _zeros()), text)
        if text.probability is not None:
            _count(self.certainties.setdefault(step_of(text.probability, CERTAINTY_STEPS), _zeros()), text)
        for value, counts in zip(text.slices, self.values, strict=True):
            _count(counts.setdefault(value if value in counts or len(counts) < VALUES else OTHER, _zeros()), text)

    @property
    def rate(self) -> float:
        """The error rate of all labelled texts."""
        return self.all[_WRONG] / self.all[_LABELLED] if self.all[_LABELLED] else 0.0

    def report(self, labels: Sequence[str]) -> dict[str, Any]:
        """The rows of each table; those of a column come with `value_of`, the row that each raw value is shown in."""
        classes = [label for label in labels if label in self.labels or label in self.predicted]
        return {
            **figures(self.all),
            "labels": [{"label": label, **figures(self.labels.get(label, _zeros()))} for label in classes],
            "predicted": [{"label": label, **figures(self.predicted.get(label, _zeros()))} for label in classes],
            "lengths": [{"step": step, **figures(row)} for step, row in sorted(self.lengths.items())],
            "certainties": [{"step": step, **figures(row)} for step, row in sorted(self.certainties.items())],
            "crossed": [
                {"label": label, "step": step, **figures(row)} for (label, step), row in sorted(self.crossed.items())
            ],
            "slices": [self._column(name, counts) for name, counts in zip(self.columns, self.values, strict=True)],
        }

    def _column(self, name: str, counts: Mapping[str, list[Any]]) -> dict[str, Any]:
        numbers = {value: number for value in counts if (number := _number(value)) is not None}
        binned = len(numbers) > 2 * BINS and set(counts) <= {*numbers, NONE, OTHER}
        if binned:
            shown = _binned(numbers, counts)
        else:
            kept = sorted(counts, key=lambda value: (-counts[value][_TEXTS], value))[:SHOWN]
            shown = {value: value if value in kept else OTHER for value in counts}
        merged: dict[str, list[Any]] = {}
        for value in sorted(counts, key=lambda value: (numbers.get(value, 0.0), value)):
            row = merged.setdefault(shown[value], _zeros())
            for place in range(_FURTHEST):
                row[place] += counts[value][place]
            row[_FURTHEST] = sorted(row[_FURTHEST] + counts[value][_FURTHEST])[:EXAMPLES]
            row[_EXAMPLES] = (row[_EXAMPLES] + counts[value][_EXAMPLES])[:EXAMPLES]
        rows = [{"value": value, **figures(row)} for value, row in merged.items()]
        if not binned:
            rows.sort(key=lambda row: (-(row["rate"] or row.get("off", 0.0)), -row["texts"]))
        return {"name": name, "rows": rows, "value_of": shown}


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _binned(numbers: Mapping[str, float], counts: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Steps of about as many texts each, by their least and largest number."""
    order = sorted(numbers, key=lambda value: numbers[value])
    whole, passed = sum(counts[value][_TEXTS] for value in order), 0
    members: dict[int, list[str]] = {}
    for value in order:
        members.setdefault(passed * BINS // whole, []).append(value)
        passed += counts[value][_TEXTS]
    shown = {value: value for value in counts}
    for values in members.values():
        shown |= dict.fromkeys(values, values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}")
    return shown


def step_of(number: float, steps: Sequence[float]) -> int:
    """The index of the last step that a number reaches; those below the first are in it."""
    return max(0, bisect_right(steps, number) - 1)


class WordErrors:
    """By word, the error rate of the texts that it stands in, whatever its score: a topic that goes wrong."""

    def __init__(self) -> None:
        # behind the counts, how many labelled texts are of each length
        self.table: Bounded[str] = Bounded(lambda: [*_zeros(), *[0] * len(LENGTH_STEPS)])

    def add(self, text: SeenText) -> None:
        """Counts the words of a text with a label."""
        if text.wrong is None:
            return
        length = len(_zeros()) + step_of(text.length, LENGTH_STEPS)
        for word in text.words:
            if not is_folded(word):
                row = self.table.row(word)
                _count(row, text)
                row[length] += 1

    def report(self, lengths: Mapping[int, Sequence[Any]], top: int = 15) -> list[dict[str, Any]]:
        """Words by `excess`: the wrong texts that the lower end of their interval has beyond what is usual.

        `usual` is the error rate of texts that are as long (`ErrorRates.lengths`): where long texts fail, any word of
        theirs would stand out otherwise.
        """
        rates = [0.0] * len(LENGTH_STEPS)
        for step, row in lengths.items():
            rates[step] = row[_WRONG] / (row[_LABELLED] or 1)
        entries = []
        for word, row in self.table.items():
            if row[_WRONG] > 1:
                usual = sum(map(mul, row[len(_zeros()) :], rates)) / row[_LABELLED]
                entries.append({"word": word, **figures(row), "usual": usual})
        for entry in entries:
            entry["excess"] = (entry["low"] - entry["usual"]) * entry["labelled"]
        entries = [entry for entry in entries if entry["excess"] > 0]
        return sorted(entries, key=lambda entry: (-entry["excess"], entry["word"]))[:top]
