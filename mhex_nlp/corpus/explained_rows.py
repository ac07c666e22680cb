# SPDX-License-Identifier: Apache-2.0
"""A chunk of rows explained in one go: the numbers and places of each text, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..explain.assemble import align_item, assemble, notes_of
from ..explain.explainer import MhexExplainer
from ..explain.explanation import Explanation
from ..explain.request import Request
from ..explain.scores import Scores
from ..inputs.alignment import AlignedToken
from ..inputs.encoding import TokenisedText
from ..inputs.segmentation import TokenGroup, group_tokens
from .readers.rows import Row

T = TypeVar("T")


@dataclass(frozen=True)
class ExplainedText:
    """One text of T tokens explained: row `row` of the numbers of its batch."""

    item: TokenisedText
    tokens: Sequence[AlignedToken]
    numbers: Scores
    row: int
    predicted: int  # the class with the largest logit
    probabilities: tuple[float, ...] | None  # (C,), `None` for regression
    request: Request

    @property
    def scores(self) -> NDArray[np.float32]:
        """(T,) float32, the target's."""
        return self.numbers.scores[self.row, : len(self.tokens)]

    @property
    def class_scores(self) -> NDArray[np.float32] | None:
        """(T, C) float32, where all classes were asked for."""
        scores = self.numbers.class_scores
        return None if scores is None else scores[self.row, : len(self.tokens)]

    @property
    def target(self) -> int:
        """The class explained."""
        return self.numbers.targets[self.row]

    @cached_property  # used by summary.py and columns.py
    def words(self) -> list[TokenGroup]:
        """The tokens by word; those of the template are in none."""
        return group_tokens(self.tokens, [token.word for token in self.tokens], self.item.sources)

    def notes(self) -> tuple[str, ...]:
        """As `Explanation.notes`."""
        heads = None
        if self.request.of_heads:
            heads = self.request.table.heads_choice(self.numbers.explained[self.row], self.numbers.logits[self.row])
        return notes_of(self.item, heads, self.request.fit, self.numbers, self.row)

    def explanation(self, name: str) -> Explanation:
        """The whole of it, as an Explanation of that id."""
        one = _row(self.numbers, self.row)
        return next(assemble([self.item], [name], one, self.request, [self.tokens]))


def _row(numbers: Scores, row: int) -> Scores:
    """One row of a batch's numbers, as a batch of one."""
    values: dict[str, Any] = {field.name: getattr(numbers, field.name) for field in fields(numbers)}
    values = {name: value if isinstance(value, bool | None) else value[row : row + 1] for name, value in values.items()}
    return Scores(**values)


def tokenise_rows(explainer: MhexExplainer, rows: Sequence[Row]) -> list[TokenisedText | str]:
    """Texts tokenised; for one that has a problem, or that cannot be tokenised, the reason."""
    paired = any(row.text_pair is not None for row in rows)
    items: list[TokenisedText | str] = [row.problem or "" for row in rows]

    def tokenise(indices: Sequence[int]) -> list[tuple[int, TokenisedText]]:
        pairs = [rows[index].text_pair or "" for index in indices] if paired else None
        tokenised = explainer.tokenise([rows[index].text for index in indices], pairs, start=None)
        return list(zip(indices, tokenised, strict=True))

    for index, item in _together_or_alone(tokenise, [i for i, row in enumerate(rows) if row.problem is None], items):
        items[index] = item
    return items


def explain_rows(
    explainer: MhexExplainer, request: Request, items: Sequence[TokenisedText | str]
) -> list[ExplainedText | str]:
    """The items explained, in their order, in batches of like length; reasons stay where they are.

    A text that the model or the request cannot explain alone (logits that are not finite, a foil that is predicted)
    gives a reason as well, and does not keep the others of its batch from being explained.
    """
    rows: list[ExplainedText | str] = [item if isinstance(item, str) else "" for item in items]
    texts = {index: item for index, item in enumerate(items) if not isinstance(item, str)}

    def attribute(indices: Sequence[int]) -> list[tuple[list[int], Scores]]:
        batches = explainer.attribute([texts[index] for index in indices], request)
        return [([indices[position] for position in positions], numbers) for positions, numbers in batches]

    for indices, numbers in _together_or_alone(attribute, list(texts), rows):
        predicted = numbers.logits.argmax(1).tolist()
        probabilities = request.table.probabilities(numbers.logits)
        for row, index in enumerate(indices):
            item = texts[index]
            chances = None if probabilities is None else tuple(probabilities[row])
            tokens = align_item(item, request.language)
            rows[index] = ExplainedText(item, tokens, numbers, row, predicted[row], chances, request)
    return rows


def _together_or_alone(call: Callable[[Sequence[int]], list[T]], indices: Sequence[int], results: list[Any]) -> list[T]:
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
