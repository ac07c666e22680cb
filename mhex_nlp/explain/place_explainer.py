# SPDX-License-Identifier: Apache-2.0
"""What the explainers of entities and answers share: one pass for all places of a text, which only a fit can read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..inputs.checks import as_integer
from ..inputs.encoding import TokenisedText
from ..inputs.texts import SurrogateWarnings, check_pairs, check_texts, zip_rows
from .assemble import assemble
from .base import ExplainerBase
from .explanation import Explanation
from .judgement import Judgement, judge_places
from .place_reader import PlaceReader, TextPlaces
from .places import PlaceFinder
from .request import Budget, Further, Request
from .targets import ClassName

R = TypeVar("R")


class PlaceExplainer(ExplainerBase[R]):
    """An explainer of what a model says at places of a text.

    A call that names no budget spends `usual_budget` passes on each place: what one pass alone says of the words around
    an entity is far behind what gradients say (docs/positions.md). With `layers` it spends none.
    """

    usual_budget = 16

    def _check_ready(self, aggregation: str, passes: int) -> None:
        """ValueError where there is neither a fit nor a budget: heads alone do not tell what a token does elsewhere."""
        if self._aggregation not in ("auto", "fitted"):
            raise ValueError(f"aggregation must be 'auto' or 'fitted' at places, got {self._aggregation!r}.")
        if aggregation != "fitted" and not passes:
            raise ValueError(
                "the model is not fitted: fit_equivalent_matrices(model, tokenizer, texts) makes the matrices that "
                "explain it in one pass, or give a budget of further passes."
            )

    @abstractmethod
    def _find(self, item: TokenisedText, request: Request) -> PlaceFinder:
        """What finds the places of a text."""

    def places(self, items: Sequence[TokenisedText], request: Request) -> Iterator[TextPlaces]:
        """The places of texts with the numbers that explain them, as texts come out of the model.

        Raises:
            ValueError: logits that are not finite, a place that cannot be explained as asked; names the text.
        """
        return PlaceReader(self._evidence, self._find).texts(items, request)

    @staticmethod
    def explanations(placed: TextPlaces, id: str, request: Request) -> tuple[Explanation, ...]:
        """Those of the places of one text."""
        if placed.numbers is None:
            return ()
        count = len(placed.rows)
        ids, aligned = [id] * count, [placed.aligned] * count
        return tuple(assemble(placed.rows, ids, placed.numbers, request, aligned, placed.places))

    def _explain(self, items: Sequence[TokenisedText], ids: Sequence[str], request: Request) -> list[R]:
        results: dict[int, R] = {}
        for placed in self.places(items, request):
            results[placed.index] = self.result(placed, ids[placed.index], request)
        self._warn_of_cuts(items, ids)
        return [results[index] for index in range(len(items))]

    @abstractmethod
    def result(self, placed: TextPlaces, id: str, request: Request) -> R:
        """What a call gives for a text."""

    @abstractmethod
    def _names(
        self, target: ClassName | None, foil: ClassName | None, at: Any
    ) -> tuple[ClassName | None, ClassName | None, tuple[str | None, str | None]]:
        """Target and foil as classes of the table, and those that are types of entities instead; checked with `at`."""

    def request(
        self,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: str = "target",
        layers: bool = False,
        budget: Budget | None = None,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
        at: Any = None,
    ) -> Request:
        """The options of a call, checked; errors as there. `at` is what `check_at` made of it."""
        named, against, types = self._names(target, foil, at)
        request = super().request(named, against, classes, layers, budget, tolerance, max_budget, seed)
        contrast = request.contrast if foil is None else "foil"
        return replace(request, at=at, types=types, contrast=contrast)

    def _refine(self, explanation: Any, kind: type, again: Callable[[Any, Any], Any], options: Further) -> Any:
        """What `again` makes of an explanation of that kind, or of several."""
        if not self.request(**options).budget:
            raise ValueError(f"budget must be at least 2 to refine, got {options.get('budget')!r}.")
        if isinstance(explanation, kind):
            return again(explanation, options)
        several = list(explanation) if isinstance(explanation, Iterable) and not isinstance(explanation, str) else None
        for one in [explanation] if several is None else several:
            if not isinstance(one, kind) or getattr(one, "place", one) is None:
                raise TypeError(
                    f"explanation must be one of {type(self).__name__}, or several, got {type(one).__name__}."
                )
        return [again(one, options) for one in several or []]

    def _streamed(self, texts: Any, pairs: Any, ids: Any, batch_size: Any, request: Request) -> Iterator[R]:
        columns = {"text_pairs": pairs} if pairs is not None else {}
        rows = zip_rows(texts, **columns, ids=ids)
        return self._stream(rows, as_integer(batch_size, "batch_size", at_least=1), request)

    def _judged(self, texts: Any, pairs: Any, masks: Any, seed: int) -> Judgement:
        surrogates, (name, pair_name) = SurrogateWarnings(), self.columns
        checked = check_texts(texts, name, surrogates=surrogates)
        halves = check_pairs(checked, pairs, pair_name, surrogates=surrogates)
        surrogates.emit()
        if not checked:
            raise ValueError(f"{name} must hold at least one text to judge on, got none.")
        request, masks = self.request(budget=0), as_integer(masks, "masks", at_least=2)
        items = self.tokenise(checked, halves, name=name)
        return judge_places(items, PlaceReader(self._evidence, self._find), request, masks, seed)
