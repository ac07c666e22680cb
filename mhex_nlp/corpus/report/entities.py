# SPDX-License-Identifier: Apache-2.0
"""A report over texts with entities: by type the words that decide, and mistakes against gold tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...explain.explanation import Explanation
from ...explain.positioned import PositionedExplanation, draw
from ...explain.tags import OUTSIDE
from ...inputs.texts import zip_rows
from ..gold_tags import OTHER_SPAN, GoldEntity, compared, gold_entities
from ..summary import CorpusSummary
from .counts import WORDS, Gathering
from .folder import INDEX, ReportFolder, page_name

_MISTAKES = 200  # that are listed
_NAMED = 5  # words beside a mistake


class EntityGathering:
    """Collects what the index shows, text by text; memory grows by each distinct word."""

    def __init__(self) -> None:
        self._beside, self._own = Gathering([]), CorpusSummary([])
        self.counts = Counter[str]()
        self.gold = Counter[str]()  # texts, entities, predicted, right
        self.confusion: dict[str, Counter[str]] = {}  # gold type: predicted type, "" for no entity
        self.scores: dict[str, list[float]] = {}  # type: sums of own and rest
        self.mistakes: list[dict[str, Any]] = []
        self.mistakes_counted = Counter[str]()

    def add(self, text: PositionedExplanation, number: int, gold: Sequence[GoldEntity] | None, page: int) -> None:
        """Counts a text by its number in the input, with its right entities, on the page of that number."""
        self.counts.update(texts=1, entities=len(text), without=not len(text))
        if len(text):
            self.counts.update(truncated=text[0].truncated, windowed=text[0].windows > 1)
        for one in text:
            self._beside.add(one, number, None, page)
            self._count_own(one)
        if gold is not None:
            self._compare(text, number, gold, page)

    def _count_own(self, one: Explanation) -> None:
        assert one.place is not None
        own = set(one.place.tokens)
        sums = self.scores.setdefault(one.place.label, [0.0, 0.0])
        sums[0] += one.place_score
        sums[1] += one.rest_score
        if one.place.label not in self._own.labels:
            self._own.labels = (*self._own.labels, one.place.label)
        self._own.count_text(
            target=one.place.label,
            predicted=None,
            gold=None,
            words=[(word.text, word.score, word.tokens) for word in one.words() if own & set(word.tokens)],
            covariance=one.covariance,
            special=0.0,
            truncated=False,
            windowed=False,
        )

    def _compare(self, text: PositionedExplanation, number: int, gold: Sequence[GoldEntity], page: int) -> None:
        places = [one.place for one in text if one.place is not None]
        types, missed = compared(places, gold)
        self.gold.update(texts=1, entities=len(gold), predicted=len(places))
        for one, place, right in zip(text, places, types, strict=True):
            self.confusion.setdefault("" if right == OUTSIDE else right, Counter())[place.label] += 1
            if right == place.label:
                self.gold["right"] += 1
                continue
            kind = {OUTSIDE: "extra", OTHER_SPAN: "wrong span"}.get(right, "wrong type")
            known = None if right in (OUTSIDE, OTHER_SPAN) else right
            entity = (place.start, place.end, known, place.label)
            self._mistake(kind, text.text, entity, number, page, _strongest(one))
        for start, end, label in missed:
            self.confusion.setdefault(label, Counter())[""] += 1
            self._mistake("missed", text.text, (start, end, label, None), number, page, [])

    def _mistake(
        self, kind: str, text: str, entity: tuple[int, int, str | None, str | None], number: int, page: int, words: Any
    ) -> None:
        self.mistakes_counted[kind] += 1
        if len(self.mistakes) < _MISTAKES:
            start, end, gold, predicted = entity
            entry = {"kind": kind, "text": text, "start": start, "end": end, "gold": gold, "predicted": predicted}
            self.mistakes.append({**entry, "number": number, "page": page, "words": words})

    def report(self, example: Explanation) -> dict[str, Any]:
        """What `render_entity_report` shows; `example` tells model and method."""
        beside, own = self._beside.report()["classes"], self._own.report(top=WORDS)["classes"]
        form, gold = example.to_dict(), self.gold
        precision, recall = (gold["right"] / (gold[name] or 1) for name in ("predicted", "entities"))
        figures = {
            "precision": precision,
            "recall": recall,
            "f1": 2 * gold["right"] / ((gold["predicted"] + gold["entities"]) or 1),
        }
        types = {}
        for label in sorted(self.scores):
            count = beside[label]["predicted"]
            means = {name: total / count for name, total in zip(("own", "rest"), self.scores[label], strict=True)}
            sides = {name: beside[label][name] for name in ("for", "against")}
            types[label] = {"entities": count, **means, **sides, "own_words": own[label]["for"]}
        return {
            **{name: self.counts[name] for name in ("texts", "entities", "without", "truncated", "windowed")},
            "gold": {**{name: gold[name] for name in ("texts", "entities")}, **figures} if gold["texts"] else None,
            "confusion": {label: dict(row) for label, row in self.confusion.items()},
            "types": types,
            "mistakes": self.mistakes,
            "mistakes_counted": dict(self.mistakes_counted),
            **{"model": form["model"], "method": form["method"], "passes": example.passes},
        }


def _strongest(one: Explanation) -> list[dict[str, Any]]:
    """The words beside a place that speak loudest."""
    own = set() if one.place is None else set(one.place.tokens)
    words = [word for word in one.top(len(one.tokens), by="abs") if word.score and not own & set(word.tokens)]
    return [
        {"word": word.text, "score": word.score, **({} if word.error is None else {"error": word.error})}
        for word in words[:_NAMED]
    ]


def write_entities(
    texts: Iterable[PositionedExplanation],
    folder: ReportFolder,
    *,
    labels: Any,
    title: str,
    unit: str,
    page_texts: int,
    judged: Mapping[str, Any] | None,
) -> None:
    """Writes the pages of texts, `page_texts` on each, and the index, as `write_report` says.

    `labels` are gold tags by the ids of texts, or one a text, as `gold_entities` reads them.
    """
    gathering, names, documents, example = EntityGathering(), list[str](), list[dict[str, Any]](), None
    by_id = labels if isinstance(labels, Mapping) else None
    columns = {} if labels is None or by_id is not None else {"labels": labels}

    def write_page() -> None:
        first = (len(names) - 1) * page_texts
        folder.write(names[-1], str(draw("positioned_page", documents, title=title, unit=unit, first=first)))
        documents.clear()

    for number, row in enumerate(zip_rows(texts, **columns)):
        text = row["texts"]
        cell = row.get("labels") if by_id is None else by_id.get(text.id)
        if number % page_texts == 0:
            if documents:
                write_page()
            names.append(page_name(0, len(names) + 1))
        documents.append(text.to_dict())
        example = example or next(iter(text), None)
        gathering.add(text, number, gold_entities(cell, text.text), len(names) - 1)
    if example is None:
        raise ValueError("explanations must hold an entity at least, got texts without any.")
    write_page()
    report = {**gathering.report(example), **({} if judged is None else {"judgement": judged})}
    folder.write(INDEX, str(draw("entity_report", report, names, title=title)))
