# SPDX-License-Identifier: Apache-2.0
"""What a report's index shows of its texts: a short row for each, counts, and the words that decide with examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...explain.explanation import Explanation
from ...render.controls import beginning_of
from ..summary import CorpusSummary
from .seen import MOST, SeenText, sum_by_word, words_beside

STRONGEST = 8  # words of a text that the index can be filtered by
LISTED = 20_000  # texts in the index's list: what a browser reads at once without a wait
WORDS = 15  # for a class, and against it
EXAMPLES = 3
_SNIPPET = 120  # code points of a text in the index's list


class Gathering:
    """Collects what the index shows, text by text.

    Memory grows by a short row for each text, up to `LISTED`, and by each distinct word.

    Args:
        labels: the model's classes, in id order; empty for regression.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.summary = CorpusSummary(self.labels)
        self.of_values: bool | None = None  # whether the model is a regression, once one text is known
        self.rows: list[list[Any]] = []
        self.words: dict[str, int] = {}
        self.examples: dict[tuple[str, str], list[tuple[float, int, int]]] = {}  # class, word: (score, number, page)

    def add(
        self, explanation: Explanation, number: int, gold: str | None, page: int, slices: tuple[str, ...] = ()
    ) -> SeenText:
        """Counts a text, by its number in the input and its right label, that stands on the page of that number.

        `slices` are its values in columns of the data.
        """
        of_values = explanation.prediction.value is not None
        self.of_values = of_values if self.of_values is None else self.of_values
        label, target = shown_label(explanation), explanation.target.label
        if explanation.place is not None and explanation.target.id == explanation.prediction.id:
            target = explanation.place.label
        for name in (label, target):
            if name is not None and (of_values != self.of_values or self.labels and name not in self.labels):
                first = "values" if self.of_values else ", ".join(map(repr, self.labels))
                raise ValueError(
                    f"explanations must all be of one model, got the class {name!r} in {explanation.id!r}, where the "
                    f"first has {first}."
                )
        beside_place = words_beside(explanation)
        words = [(word.text, word.score, word.tokens) for word in beside_place]
        for name in (label, target):
            if name is not None and name not in self.summary.labels:
                self.summary.labels = (*self.summary.labels, name)
        self.summary.count_text(
            target=target,
            predicted=label,
            gold=gold,
            words=words,
            covariance=explanation.covariance,
            special=sum(abs(token.score) for token in explanation.tokens if token.special),
            truncated=explanation.truncated,
            windowed=explanation.windows > 1,
        )
        sums = sum_by_word(beside_place)
        for word, score in sums.items():
            self._example(target, word, (score, number, page))
        if len(self.rows) < LISTED:
            beside = [len(words), *([list(slices)] if slices else [])]
            self.rows.append([*self._row(explanation, number, gold, page, sums), *beside])
        chance = None if of_values else explanation.probability
        off = _error_of(explanation, gold)
        return SeenText(number, page, target, label, gold, chance, sums, len(words), slices, off)

    def _example(self, target: str, word: str, example: tuple[float, int, int]) -> None:
        """Keeps the texts in which a word weighs most, either way."""
        if len(self.examples) > 2 * MOST:
            order = sorted(self.examples.items(), key=lambda entry: -max(abs(score) for score, _, _ in entry[1]))
            self.examples = dict(order[:MOST])
        kept = self.examples.setdefault((target, word), [])
        kept.append(example)
        if len(kept) > 2 * EXAMPLES:
            kept.sort()
            del kept[EXAMPLES]

    def _row(
        self, explanation: Explanation, number: int, gold: str | None, page: int, sums: dict[str, float]
    ) -> list[Any]:
        """[number, id, predicted, probability or value, gold, beginning, page, words with their signs].

        `add` puts the text's length in words behind, and its values in columns where there are any.
        """
        strongest = sorted((word for word in sums if sums[word]), key=lambda word: -abs(sums[word]))[:STRONGEST]
        value = explanation.prediction.value
        answer = explanation.probability if value is None else value if isinstance(value, float) else None
        texts = [explanation.text] if explanation.text_pair is None else [explanation.text, explanation.text_pair]
        texts = texts if explanation.place is None else [explanation.place.text, *texts]
        beginning = " | ".join(" ".join(text[: 4 * _SNIPPET].split()) for text in texts)
        return [
            number,
            explanation.id,
            shown_label(explanation),
            _rounded(answer),
            gold,
            beginning_of(beginning, _SNIPPET),
            page,
            # counted from 1, so that every word has a sign
            [(self.words.setdefault(w, len(self.words)) + 1) * (1 if sums[w] > 0 else -1) for w in strongest],
        ]

    def report(self) -> dict[str, Any]:
        """The summary of all texts, with (number, page) of up to `EXAMPLES` texts for each word."""
        summary = self.summary.report(top=WORDS)
        for label, words in summary["classes"].items():
            for side, sign in (("for", -1), ("against", 1)):
                for word in words[side]:
                    word["examples"] = self.strongest_texts(label, word["word"], -sign)
        return summary

    def strongest_texts(self, label: str, word: str, sign: int) -> list[tuple[int, int]]:
        """(number, page) of the texts in which a word speaks most for a class (sign 1), or against it (-1)."""
        texts = sorted(self.examples.get((label, word), []), key=lambda text: -sign * text[0])
        return [(number, page) for score, number, page in texts[:EXAMPLES] if score * sign > 0]


def _error_of(explanation: Explanation, gold: str | None) -> float | None:
    """How far the value of a regression is from the right one; None for anything else, or where it is not known.

    Raises:
        ValueError: a label of a regression that is no finite number.
    """
    value = explanation.prediction.value
    if gold is None or not isinstance(value, float):
        return None
    try:
        right = float(gold)
    except ValueError:
        right = math.nan
    if not math.isfinite(right):
        raise ValueError(
            f"labels must be finite numbers where the model predicts values, got {gold!r:.80} for "
            f"{explanation.id!r:.80}."
        )
    return abs(value - right)


def shown_label(explanation: Explanation) -> str | None:
    """The predicted label that a text is counted under: of a place the type."""
    return explanation.label if explanation.place is None else explanation.place.label


def _rounded(number: float | None) -> float | None:
    """To six digits; what is near a certainty does not become one."""
    if number is None:
        return None
    short = float(f"{number:.6g}")
    return number if short != number and short in (0.0, 1.0) else short
