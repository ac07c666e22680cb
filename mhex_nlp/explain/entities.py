# SPDX-License-Identifier: Apache-2.0
"""`MhexEntityExplainer`: a text in, an Explanation for each of its entities out, all by one forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, Unpack, overload

from ..inputs.encoding import TokenisedText
from ..inputs.texts import SurrogateWarnings, check_ids, check_texts
from ..models.auto import AutoMhexModelForTokenClassification
from ..models.tasks.token_classification import outside_label
from .budget import check_same_model
from .entity_finder import EntityFinder, check_at
from .explanation import Explanation
from .judgement import Judgement
from .place_explainer import PlaceExplainer
from .place_reader import TextPlaces
from .positioned import PositionedExplanation
from .request import Budget, CallOptions, Further, Request
from .tags import TagTable
from .targets import ClassName

At = Literal["all"] | tuple[int, int] | list[tuple[int, int]]


class EntityOptions(CallOptions, total=False):
    """Keyword options of one call of `MhexEntityExplainer`."""

    at: At | None


class MhexEntityExplainer(PlaceExplainer[PositionedExplanation]):
    """Explains a token classifier: for each entity of a text, which words made the model tag it so.

    >>> explainer = MhexEntityExplainer(model, tokenizer)
    >>> for entity in explainer("Michael Jordan lives in Chicago."):
    ...     print(entity.place.text, entity.label, entity.place_score, entity.rest_score)

    An entity is a run of words with tags of one type (BIO, also IOB1, BILOU and IOBES, or types without prefixes). Its
    logits and scores are the means over the first sub-words of its words, where a label such as "B-PER" stands for that
    of the run at each word: I-PER at the second. `base_value` and sum add up to the mean (contrasted) logit. Most of an
    entity's score lies on its own words; `place_score` and `rest_score` tell them apart.

    Args:
        model: a token classifier with MHEX heads (`AutoMhexModelForTokenClassification`, `get_mhex_model`) and fitted
            matrices (`fit_equivalent_matrices`); without, the passes of a budget start from nothing.
        tokenizer, contrast, batch_tokens, max_length, stride, language, non_negative, changed_weights: as for
            `MhexExplainer`. With a `stride`, long texts are read in windows, and an entity in the one that has most
            around it. `language` also says what a word is.

    Raises:
        TypeError, ValueError: as `MhexExplainer`; a model for another task.
    """

    task = "token_classification"
    auto_class = AutoMhexModelForTokenClassification

    @property
    def tags(self) -> TagTable:
        """The model's labels as tags."""
        return TagTable(self.classes.labels, outside_label(self.model.config))

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too
        self, text: str, **options: Unpack[EntityOptions]
    ) -> PositionedExplanation: ...
    @overload
    def __call__(self, text: Iterable[str], **options: Unpack[EntityOptions]) -> list[PositionedExplanation]: ...

    def __call__(
        self,
        text: str | Iterable[str],
        *,
        at: At | None = None,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: Literal["target", "all"] = "target",
        layers: bool = False,
        budget: Budget | None = None,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
        ids: Iterable[str] | None = None,
    ) -> Any:
        """Explains the entities of one text, or of each of a list. (Long because of its many arguments.)

        Args:
            text: a string, or any iterable of strings.
            at: what is explained in place of the predicted entities: a span [start, end) of code points, or several, of
                one text, each as one place; "all" for every word by itself, those outside of entities as well.
            target: the label explained, by name or id, or a type of entities such as "LOC", which is B-LOC for a run
                that begins with B; by default the predicted one.
            foil: a label, or a type, to compare with. An entity that is predicted as it is left out, with a note.
            budget: further passes on each entity, which stays while other words are removed; with "auto" these are
                ranked. By default 16, or none with `layers`; 0 is one pass for all entities together.
            classes, layers, tolerance, max_budget, seed, ids: as for `MhexExplainer`.

        Returns:
            a `PositionedExplanation`, or a list of them in the order of the texts.

        Raises:
            TypeError, ValueError: a span outside of the text, labels without O where entities are to be found, a model
                without a fit where the budget is 0; as `MhexExplainer`.
        """
        single, surrogates = isinstance(text, str), SurrogateWarnings()
        texts = check_texts(text, surrogates=surrogates)
        surrogates.emit()
        names = check_ids(ids, len(texts), single)
        request = self.request(
            target, foil, classes, layers, budget, tolerance, max_budget, seed, check_at(at, len(texts) == 1)
        )
        if not texts:
            return []
        results = self._explain(self.tokenise(texts, start=None if single else 0), names, request)
        return results[0] if single else results

    def _names(
        self, target: ClassName | None, foil: ClassName | None, at: Any
    ) -> tuple[ClassName | None, ClassName | None, tuple[str | None, str | None]]:
        tags = self.tags
        if at is None:
            tags.check_outside()
        wanted, against = (str(x) if x in tags.types and x not in tags.labels else None for x in (target, foil))
        if wanted is not None and wanted == against:
            raise ValueError(f"foil must be another class than the target, got {wanted!r} for both.")
        return None if wanted else target, None if against else foil, (wanted, against)

    def refine(self, explanation: Any, **options: Unpack[Further]) -> Any:
        """The same explanation, or a list of them, after a budget of further passes (as in the call).

        Raises:
            TypeError, ValueError: as the call; a budget below 2, an explanation of another model or other weights.
        """
        return self._refine(explanation, PositionedExplanation, self._again, options)

    def _again(self, before: PositionedExplanation, options: Further) -> PositionedExplanation:
        groups: dict[Any, list[int]] = {}
        for number, one in enumerate(before):
            target = None if one.target.id == one.prediction.id else one.target.id
            groups.setdefault((target, one.foil and one.foil.id, one.classes is None), []).append(number)
        refined: dict[int, Explanation] = {}
        for (target, foil, target_alone), numbers in groups.items():
            spans = [(one.place.start, one.place.end) for one in map(before.__getitem__, numbers) if one.place]
            classes: Any = "target" if target_alone else "all"
            call = {"at": spans, "target": target, "foil": foil, "classes": classes, "ids": before.id}
            refined.update(zip(numbers, self(before.text, **call, **options), strict=True))
        for number, one in enumerate(before):
            check_same_model(one, refined[number])
        return replace(before, explanations=tuple(refined[number] for number in range(len(before))))

    def stream(
        self,
        texts: Iterable[str],
        *,
        batch_size: int = 64,
        ids: Iterable[str] | None = None,
        at: Literal["all"] | None = None,
        **options: Any,
    ) -> Iterator[PositionedExplanation]:
        """Explains texts as they come, as `MhexExplainer.stream`."""
        return self._streamed(texts, None, ids, batch_size, self.request(**options, at=check_at(at, False)))

    def judge(self, texts: Iterable[str], *, masks: int = 24, seed: int = 0) -> Judgement:
        """How far the scores can be trusted on these texts: the paired skill on the tokens outside of their entities.

        Raises:
            TypeError, ValueError: as the call; fewer than 2 masks, or no entity with two tokens beside it.
        """
        return self._judged(texts, None, masks, seed)

    def result(self, placed: TextPlaces, id: str, request: Request) -> PositionedExplanation:
        """The explanations of the places of a text."""
        return PositionedExplanation(
            id=id,
            text=placed.item.text,
            explanations=self.explanations(placed, id, request),
            notes=placed.notes,
        )

    def _find(self, item: TokenisedText, request: Request) -> EntityFinder:
        return EntityFinder(item, request, self.tags)
