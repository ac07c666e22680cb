# SPDX-License-Identifier: Apache-2.0
"""What a corpus says as a whole: words for and against each class, where the scores lie, errors against labels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..explain.tags import OUTSIDE
from ..render.errors import span_error
from .gold_tags import GoldEntity, compared

if TYPE_CHECKING:
    from .explained_rows import ExplainedEntities, ExplainedRow

WORDS_OF_A_PART = 400  # for each class; weaker ones of a part are not counted
_KEPT = 50_000  # for each class: so memory does not grow with the corpus


class CorpusSummary:
    """Counts and sums over texts, which can be written down for a part and added up over parts.

    Words are those of the texts' own words, case-folded, under the class that their text was explained for.

    Args:
        labels: the model's classes, in id order.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.texts = self.truncated = self.windowed = 0
        self.refined = 0  # texts whose scores have errors
        self.explained: Counter[str] = Counter()  # by the class explained
        self.predicted: Counter[str] = Counter()
        self.words: dict[str, dict[str, list[float]]] = {}  # class: word: `_count`'s
        self.mass = {"all": 0.0, "special tokens": 0.0, "punctuation": 0.0}
        self.confusion: dict[str, Counter[str]] = {}  # gold label: predicted label

    def add(self, row: ExplainedRow, gold: Any) -> None:
        """Counts one text that was just explained; `gold` is its right class, or its right entities (`gold_tags`)."""
        from .explained_rows import ExplainedEntities  # here, for it needs torch, which a report does not

        if isinstance(row, ExplainedEntities):
            self._add_entities(row, gold)
            return
        scores, sources = row.scores.tolist(), [row.item.text, row.item.text_pair or ""]
        labels = row.request.table.labels
        self.count_text(
            target=labels[row.target],
            predicted=None if row.probabilities is None else labels[row.predicted],
            gold=gold,
            words=(
                (
                    sources[group.sequence][group.start : group.end],
                    sum(scores[index] for index in group.tokens),
                    group.tokens,
                )
                for group in row.words
            ),
            covariance=None if row.numbers.covariances is None else row.numbers.covariances[row.row],
            special=sum(abs(score) for score, token in zip(scores, row.tokens, strict=True) if token.special),
            truncated=row.item.truncated,
            windowed=bool(row.item.windows),
        )

    def _add_entities(self, row: ExplainedEntities, gold: Sequence[GoldEntity] | None) -> None:
        """Counts a text, and under the type of each of its entities the words beside it."""
        places = [entity.place for entity in row.entities if entity.place is not None]
        types, missed = compared(places, gold or ())
        for entity, place, right in zip(row.entities, places, types, strict=True):
            scores, own = entity.scores.tolist(), set(place.tokens)
            same = entity.target == entity.predicted
            self.count_text(
                target=place.label if same else entity.request.table.labels[entity.target],
                predicted=place.label,
                gold=None if gold is None else right,
                words=(
                    (row.item.text[word.start : word.end], sum(scores[i] for i in word.tokens), word.tokens)
                    for word in entity.words
                    if not own & set(word.tokens)
                ),
                covariance=None if entity.numbers.covariances is None else entity.numbers.covariances[entity.row],
                special=sum(abs(score) for score, token in zip(scores, entity.tokens, strict=True) if token.special),
                truncated=False,
                windowed=False,
                texts=0,
            )
        for _, _, kind in missed:
            self.confusion.setdefault(kind, Counter())[OUTSIDE] += 1
        self.texts += 1
        self.truncated += row.item.truncated
        self.windowed += bool(row.item.windows)

    def count_text(
        self,
        *,
        target: str,
        predicted: str | None,
        gold: str | None,
        words: Iterable[tuple[str, float, Sequence[int]]],
        covariance: Any,
        special: float,
        truncated: bool,
        windowed: bool,
        texts: int = 1,
    ) -> None:
        """Counts one text, explained for the class `target`; `predicted` is `None` for regression.

        `gold` is the right class, where it is known, `words` are (text, score, tokens), `covariance` is the lower
        triangle of that of the tokens' scores or None, and `special` the sum of magnitudes on special tokens.
        """
        self.texts += texts
        self.truncated += truncated
        self.windowed += windowed
        if predicted is not None:
            self.predicted[predicted] += 1
            if gold is not None:
                self.confusion.setdefault(gold, Counter())[predicted] += 1
        self.explained[target] += 1
        of_class = self.words.setdefault(target, {})
        tokens_of: dict[str, list[int]] = {}
        for text, score, tokens in words:
            size = abs(score)
            tokens_of.setdefault(text.casefold(), []).extend(tokens)
            self.mass["all"] += size
            if all(unicodedata.category(character)[0] in "PS" for character in text):
                self.mass["punctuation"] += size
            _count(of_class, text.casefold(), 1, score, size)
        if len(of_class) > 2 * _KEPT:
            self.words[target] = of_class = _strongest(of_class, _KEPT)
        if covariance is not None:
            self.refined += 1
            for word, places in tokens_of.items():  # the errors of a word that comes twice go together
                _count(of_class, word, 0, 0.0, 0.0, span_error(covariance, places) ** 2)
        self.mass["all"] += special
        self.mass["special tokens"] += special

    def to_record(self) -> dict[str, Any]:
        """The counts as JSON, with the strongest words alone."""
        return {
            "texts": self.texts,
            "truncated": self.truncated,
            "windowed": self.windowed,
            **({"refined": self.refined} if self.refined else {}),
            "explained": dict(self.explained),
            "predicted": dict(self.predicted),
            "mass": self.mass,
            "confusion": {gold: dict(row) for gold, row in self.confusion.items()},
            "words": {name: self._words_of_part(words) for name, words in self.words.items()},
        }

    def _words_of_part(self, words: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
        sums = 4 if self.refined else 3  # variances are all 0 where no score has an error
        return {word: values[:sums] for word, values in _strongest(words, WORDS_OF_A_PART).items()}

    def merge(self, record: Mapping[str, Any]) -> None:
        """Adds what `to_record` gave of other texts."""
        self.texts += record["texts"]
        self.truncated += record["truncated"]
        self.windowed += record["windowed"]
        self.refined += record.get("refined", 0)  # which jobs of earlier versions do not tell
        self.explained.update(record["explained"])
        self.predicted.update(record["predicted"])
        for name, size in record["mass"].items():
            self.mass[name] += size
        for gold, row in record["confusion"].items():
            self.confusion.setdefault(gold, Counter()).update(row)
        for name, words in record["words"].items():
            of_class = self.words.setdefault(name, {})
            for word, (count, score, size, *variance) in words.items():
                _count(of_class, word, count, score, size, *variance)
            if len(of_class) > 2 * _KEPT:
                self.words[name] = _strongest(of_class, _KEPT)

    def report(self, top: int = 30) -> dict[str, Any]:
        """The summary as JSON: for each class its `top` words for and against it, by the sum of their scores."""
        whole = self.mass["all"]
        labelled = sum(sum(row.values()) for row in self.confusion.values())
        right = sum(row[gold] for gold, row in self.confusion.items())
        classes = {}
        labels = [*self.labels, *([OUTSIDE] if any(OUTSIDE in row for row in self.confusion.values()) else [])]
        for label in dict.fromkeys(labels):
            words = self.words.get(label, {})
            order = sorted(words.items(), key=lambda entry: (-entry[1][1], entry[0]))
            classes[label] = {
                "texts": self.explained.get(label, 0),
                "predicted": self.predicted.get(label, 0),
                "for": [self._word(name, values) for name, values in order[:top] if values[1] > 0],
                "against": [self._word(name, values) for name, values in order[::-1][:top] if values[1] < 0],
            }
        return {
            "texts": self.texts,
            "truncated": self.truncated,
            "windowed": self.windowed,
            "share_on_special_tokens": self.mass["special tokens"] / whole if whole else 0.0,
            "share_on_punctuation": self.mass["punctuation"] / whole if whole else 0.0,
            "labelled": labelled,
            "accuracy": right / labelled if labelled else None,
            "confusion": {gold: dict(row) for gold, row in sorted(self.confusion.items())},
            "classes": classes,
        }

    def _word(self, word: str, values: Sequence[float]) -> dict[str, Any]:
        count, score, _, variance = values
        entry = {"word": word, "count": int(count), "sum": score, "mean": score / count}
        return entry | ({"error": variance**0.5} if self.refined and self.refined == self.explained.total() else {})


def _count(
    words: dict[str, list[float]], word: str, count: float, score: float, size: float, variance: float = 0.0
) -> None:
    """Adds to the count, the sum, the sum of magnitudes and the variance of the sum of a word."""
    sums = words.setdefault(word, [0, 0.0, 0.0, 0.0])
    sums[0] += count
    sums[1] += score
    sums[2] += size
    sums[3] += variance


def _strongest(words: Mapping[str, Sequence[float]], most: int) -> dict[str, list[float]]:
    """Those with the largest sums of magnitudes, in order of the alphabet where these are equal."""
    order = sorted(words.items(), key=lambda entry: (-entry[1][2], entry[0]))[:most]
    return {
        word: [values[0], *(round(value, 6) for value in values[1:3]), float(f"{values[3]:.5g}")]
        for word, values in order
    }
