# SPDX-License-Identifier: Apache-2.0
"""A chunk of rows explained in one go: the numbers and places of each text, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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

    @cached_property  # the summary and the columns both want them
    def words(self) -> list[TokenGroup]:
        """The tokens by word; those of the template are in none."""
        return group_tokens(self.tokens, [token.word for token in self.tokens], self.item.sources)

    def notes(self) -> tuple[str, ...]:
        """As `Explanation.notes`."""
        heads = None
        if self.request.fit is None:
            heads = self.request.table.heads_choice(self.numbers.explained[self.row], self.numbers.logits[self.row])
        return notes_of(self.item, heads, self.request.fit)

    def explanation(self, name: str) -> Explanation:
        """The whole of it, as an Explanation of that id."""
        one = _row(self.numbers, self.row)
        return next(assemble([self.item], [name], one, self.request, [self.tokens]))


def _row(numbers: Scores, row: int) -> Scores:
    own = slice(row, row + 1)
    return Scores(
        numbers.scores[own],
        None if numbers.class_scores is None else numbers.class_scores[own],
        None if numbers.layer_scores is None else numbers.layer_scores[own],
        numbers.sums[own],
        numbers.bases[own],
        numbers.targets[own],
        numbers.logits[own],
        numbers.explained[own],
    )


def tokenise_rows(
    explainer: MhexExplainer, texts: Sequence[str], pairs: Sequence[str] | None
) -> list[TokenisedText | str]:
    """Checked texts tokenised; in the place of one that cannot be, the reason."""
    if not texts:
        return []
    try:
        return list(explainer.tokenise(texts, pairs, start=None))
    except ValueError:  # one of them at least: find which
        found: list[TokenisedText | str] = []
        for index, text in enumerate(texts):
            try:
                found += explainer.tokenise([text], None if pairs is None else [pairs[index]], start=None)
            except ValueError as error:
                found.append(str(error))
        return found


def explain_rows(
    explainer: MhexExplainer, request: Request, items: Sequence[TokenisedText | str]
) -> list[ExplainedText | str]:
    """The items explained, in their order, in batches of like length; reasons stay where they are.

    A text that the model or the request cannot explain alone (logits that are not finite, a foil that is predicted)
    gives a reason as well, and does not keep the others of its batch from being explained.
    """
    found: list[ExplainedText | str] = [item if isinstance(item, str) else "" for item in items]
    sound = [index for index, item in enumerate(items) if not isinstance(item, str)]
    texts: list[Any] = [items[index] for index in sound]
    try:
        batches = explainer.attribute(texts, request)
    except ValueError:
        batches = []
        for place, item in enumerate(texts):
            try:
                batches += [([place], numbers) for _, numbers in explainer.attribute([item], request)]
            except ValueError as error:
                found[sound[place]] = str(error)
    for places, numbers in batches:
        predicted = numbers.logits.argmax(1).tolist()
        probabilities = request.table.probabilities(numbers.logits)
        for row, place in enumerate(places):
            item = texts[place]
            chances = None if probabilities is None else tuple(probabilities[row])
            tokens = align_item(item, request.language)
            found[sound[place]] = ExplainedText(item, tokens, numbers, row, predicted[row], chances, request)
    return found
