# SPDX-License-Identifier: Apache-2.0
"""A chunk of rows explained in one go: the numbers and places of each text, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..explain.assemble import align_item, assemble
from ..explain.classifier import ClassifierExplainer
from ..explain.entities import MhexEntityExplainer
from ..explain.explanation import Explanation, Place
from ..explain.notes import Note, notes_of
from ..explain.place_explainer import PlaceExplainer
from ..explain.place_reader import TextPlaces
from ..explain.positioned import PositionedExplanation
from ..explain.request import Request
from ..explain.scores import Scores
from ..explain.text_explainer import TextExplainer
from ..inputs.alignment import AlignedToken
from ..inputs.encoding import TokenisedText
from ..inputs.segmentation import TokenGroup, group_tokens
from .readers.rows import Row

T = TypeVar("T")


@dataclass(frozen=True)
class ExplainedText:
    """One text of T tokens explained: row `row` of the numbers of its batch."""

    item: TokenisedText
    numbers: Scores
    row: int
    predicted: int  # the class with the largest logit
    probabilities: tuple[float, ...] | None  # (C,), `None` for regression
    request: Request
    place: Place | None = None  # what of the text the scores are of, where it is not all
    aligned: Sequence[AlignedToken] | None = None  # its tokens, where they are known already

    @cached_property  # made when they are read: those of a chunk at once would keep Python's garbage collector busy
    def tokens(self) -> Sequence[AlignedToken]:
        """The tokens in their places."""
        return align_item(self.item, self.request.language) if self.aligned is None else self.aligned

    @property
    def scores(self) -> NDArray[np.float32]:
        """(T,) float32, the target's."""
        return self.numbers.scores[self.row, : len(self.item)]

    @property
    def class_scores(self) -> NDArray[np.float32] | None:
        """(T, C) float32, where all classes were asked for."""
        scores = self.numbers.class_scores
        return None if scores is None else scores[self.row, : len(self.item)]

    @property
    def target(self) -> int:
        """The class explained."""
        return self.numbers.targets[self.row]

    @cached_property  # used by summary.py and columns.py
    def words(self) -> list[TokenGroup]:
        """The tokens by word; those of the template are in none."""
        return group_tokens(self.tokens, [token.word for token in self.tokens], self.item.sources)

    def notes(self) -> tuple[Note, ...]:
        """The sentences of `Explanation.notes`, with their codes."""
        heads = None
        if self.request.of_heads:
            heads = self.request.table.heads_choice(self.numbers.explained[self.row], self.numbers.logits[self.row])
        return notes_of(self.item, heads, self.request, self.numbers, self.row)

    def explanation(self, name: str) -> Explanation:
        """The whole of it, as an Explanation of that id."""
        one = _row(self.numbers, self.row)
        places = None if self.place is None else [self.place]
        return next(assemble([self.item], [name], one, self.request, [self.tokens], places))


@dataclass(frozen=True)
class ExplainedEntities:
    """One text with its entities explained, each as a text is."""

    item: TokenisedText
    entities: tuple[ExplainedText, ...]
    notes_of_text: tuple[str, ...]

    def notes(self) -> tuple[Note, ...]:
        """Those of the text and those of its entities, each once."""
        of_text = [Note("place", sentence) for sentence in self.notes_of_text]
        return tuple(dict.fromkeys([*of_text, *(note for one in self.entities for note in one.notes())]))

    def explanation(self, name: str) -> PositionedExplanation:
        """The whole of it, with that id for all of its explanations."""
        return PositionedExplanation(
            id=name,
            text=self.item.text,
            explanations=tuple(entity.explanation(name) for entity in self.entities),
            notes=self.notes_of_text,
        )


ExplainedRow = ExplainedText | ExplainedEntities


def _row(numbers: Scores, row: int) -> Scores:
    """One row of a batch's numbers, as a batch of one."""
    values: dict[str, Any] = {field.name: getattr(numbers, field.name) for field in fields(numbers)}
    values = {name: value if isinstance(value, bool | None) else value[row : row + 1] for name, value in values.items()}
    return Scores(**values)


def tokenise_rows(explainer: TextExplainer[Any], rows: Sequence[Row]) -> list[TokenisedText | str]:
    """Texts tokenised; for one that has a problem, or that cannot be tokenised, the reason."""
    paired = any(row.text_pair is not None for row in rows)
    items: list[TokenisedText | str] = [row.problem or "" for row in rows]

    def tokenise(indices: Sequence[int]) -> list[tuple[int, TokenisedText]]:
        pairs = [rows[index].text_pair or "" for index in indices] if paired else None
        tokenised = explainer.tokenise([rows[index].text for index in indices], pairs, start=None)
        return list(zip(indices, tokenised, strict=True))

    for index, item in together_or_alone(tokenise, [i for i, row in enumerate(rows) if row.problem is None], items):
        items[index] = item
    return items


def explain_rows(
    explainer: TextExplainer[Any], request: Request, items: Sequence[TokenisedText | str]
) -> list[ExplainedRow | str]:
    """The items explained, in their order, in batches of like length; reasons stay where they are.

    A text that the model or the request cannot explain alone (logits that are not finite, a foil that is predicted)
    gives a reason as well, and does not keep the others of its batch from being explained.
    """
    rows: list[ExplainedRow | str] = [item if isinstance(item, str) else "" for item in items]
    texts = {index: item for index, item in enumerate(items) if not isinstance(item, str)}

    if isinstance(explainer, PlaceExplainer):
        for index, placed in together_or_alone(partial(_places, explainer, request, texts), list(texts), rows):
            rows[index] = _explained_places(placed, request)
        return rows
    assert isinstance(explainer, ClassifierExplainer)

    def attribute(indices: Sequence[int]) -> list[tuple[list[int], Scores]]:
        batches = explainer.attribute([texts[index] for index in indices], request)
        return [([indices[position] for position in positions], numbers) for positions, numbers in batches]

    for indices, numbers in together_or_alone(attribute, list(texts), rows):
        predicted = numbers.logits.argmax(1).tolist()
        probabilities = request.table.probabilities(numbers.logits)
        for row, index in enumerate(indices):
            chances = None if probabilities is None else tuple(probabilities[row])
            rows[index] = ExplainedText(texts[index], numbers, row, predicted[row], chances, request)
    return rows


def check_flip(flip: bool, explainer: Any) -> None:
    """ValueError for flip sets of what is no prediction of a whole text."""
    if flip and not isinstance(explainer, ClassifierExplainer):
        raise ValueError(f"flip is for classifiers of whole texts, got a {type(explainer).__name__}.")


def summary_labels(explainer: TextExplainer[Any]) -> tuple[str, ...]:
    """What texts are counted under: the model's classes, or the types of its entities."""
    return explainer.tags.types if isinstance(explainer, MhexEntityExplainer) else explainer.classes.labels


def _places(
    explainer: PlaceExplainer[Any], request: Request, texts: Mapping[int, TokenisedText], indices: Sequence[int]
) -> list[tuple[int, TextPlaces]]:
    return [(indices[p.index], p) for p in explainer.places([texts[index] for index in indices], request)]


def _explained_places(placed: TextPlaces, request: Request) -> ExplainedRow:
    """The entities of a text, or the one answer in it."""
    explained = []
    if (numbers := placed.numbers) is not None:
        chances = request.table.probabilities(numbers.logits) or []
        for row, (item, place, answer) in enumerate(
            zip(placed.rows, placed.places, numbers.answers or [], strict=True)
        ):
            of_row = tuple(answer.chances or chances[row])
            explained.append(
                ExplainedText(item, numbers, row, answer.predicted, of_row, request, place, placed.aligned)
            )
    if request.table.task == "span":
        return explained[0]
    return ExplainedEntities(placed.item, tuple(explained), placed.notes)


def together_or_alone(call: Callable[[Sequence[int]], list[T]], indices: Sequence[int], results: list[Any]) -> list[T]:
    """`call` of all indices, or where that raises ValueError of each alone, with the reasons put into `results`."""
    try:
        return call(indices) if indices else []
    except ValueError:
        answers = []
        for index in indices:
            try:
                answers += call([index])
            except ValueError as error:
                results[index] = str(error)
        return answers
