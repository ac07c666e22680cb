# SPDX-License-Identifier: Apache-2.0
"""`MhexAnswerExplainer`: a question and a context in, the answer's Explanation out.

Axes: T tokens, C = 2 logits a position: start, end; K = 3 labels explained: both together, start, end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Unpack, overload

import torch
from torch import Tensor
from transformers import PretrainedConfig

from ..inputs.checks import as_integer
from ..inputs.encoding import TokenisedText, Window
from ..inputs.texts import SurrogateWarnings, check_ids, check_pairs, check_texts
from ..models.auto import AutoMhexModelForQuestionAnswering
from ..models.tasks.question_answering import best_span
from .assemble import align_item
from .budget import check_same_model
from .entity_finder import check_at
from .explanation import Explanation
from .judgement import Judgement
from .parts import Place
from .place_explainer import PlaceExplainer
from .place_reader import TextPlaces
from .places import Choice, Part, Reading
from .request import Budget, Further, Request
from .scores import Answer
from .targets import ClassName, ClassTable

ANSWER = "answer"
PARTS = {"both": ANSWER, "start": "start", "end": "end"}  # what may be explained, and the label of each
LONGEST_ANSWER = 30  # tokens
_MIXES = {  # (P, C, K): what start and end logits make of the labels, where the answer is two tokens, and one
    2: torch.tensor([[[1.0, 1, 0], [0, 0, 0]], [[0, 0, 0], [1.0, 0, 1]]]),
    1: torch.tensor([[[1.0, 1, 0], [1.0, 0, 1]]]),
}


class AnswerTable(ClassTable):
    """The labels of an answer: "answer" for the sum of the logits of its start and end, and each alone."""

    def __init__(self, config: PretrainedConfig) -> None:
        self.labels = tuple(PARTS.values())
        self.task = "span"  # type: ignore[assignment]  # one of many spans, not one of these labels


class AnswerFinder:
    """Finds the best span of a context, or takes that of `request.at`."""

    def __init__(self, item: TokenisedText, request: Request, longest: int) -> None:
        self.item, self.request, self.longest = item, request, longest
        self.aligned = align_item(item, request.language)
        self.notes: list[str] = []
        self._contexts = [self._context(part) for part in item.inputs]
        self._span = None if request.at is None else self._tokens_in(*request.at[0])

    @staticmethod
    def _context(part: TokenisedText) -> dict[int, int]:
        """Position in the input: token of the text, for the tokens of the context."""
        sequences = part.encoding.sequence_ids
        places = part.positions.tolist() if isinstance(part, Window) else range(len(part))
        return {p: places[p] for p in part.content_positions(causal=False) if sequences[p] == 1}

    def _tokens_in(self, start: int, end: int) -> tuple[int, int]:
        touched = [
            index
            for index, token in enumerate(self.aligned)
            if token.sequence == 1 and (token.start or 0) < end and start < (token.end or 0)
        ]
        if not touched or end > len(self.item.text_pair or ""):
            raise ValueError(
                f"at must be a span of the context of {self.item.name} that holds a token, which has "
                f"{len(self.item.text_pair or '')} characters, got ({start}, {end})."
            )
        return touched[0], touched[-1]

    def _best(self, number: int, logits: Tensor) -> tuple[float, int, int] | None:
        """The log-probability of an answer in an input, and its ends there; None where there can be none."""
        context = self._contexts[number]
        start, end = logits.log_softmax(0).T
        if self._span is not None:
            places = {token: position for position, token in context.items()}
            if not {*self._span} <= places.keys():
                return None
            first, last = (places[token] for token in self._span)
            return float(start[first] + end[last]), first, last
        if not context:
            return None
        positions = sorted(context)  # which stand together
        first, last = (positions[index] for index in best_span(logits[positions], self.longest))
        return float(start[first] + end[last]), first, last

    def wanted(self, number: int, logits: Tensor) -> list[int]:
        """The ends of the best answer in this input."""
        best = self._best(number, logits)
        return [] if best is None else [best[1], best[2]]

    def choose(self, readings: Sequence[Reading]) -> list[Choice]:
        """The most probable answer of all inputs."""
        answers = [(self._best(number, reading.logits), number) for number, reading in enumerate(readings)]
        possible = [(best, number) for best, number in answers if best is not None]
        if not possible:
            what = "the answer" if self._span else "the context"
            raise ValueError(f"{self.item.name}: {what} lies in no window as a whole; give a larger stride.")
        (_, first, last), number = max(possible, key=lambda one: (one[0][0], -one[1]))
        ends = [self.aligned[self._contexts[number][position]] for position in (first, last)]
        start, end = ends[0].start or 0, ends[1].end or 0
        tokens = tuple(range(self._contexts[number][first], self._contexts[number][last] + 1))
        place = Place((self.item.text_pair or "")[start:end], start, end, 1, ANSWER, tokens)
        chances = readings[number].logits.softmax(0)
        begins, stops = float(chances[first, 0]), float(chances[last, 1])
        reads = (first,) if first == last else (first, last)
        answer = Answer(
            0,
            self.request.target or 0,
            None,
            (begins * stops, begins, stops),
            self._notes(readings, number, first, last),
        )
        return [Choice(place, answer, (Part(number, reads, _MIXES[len(reads)]),))]

    def _notes(self, readings: Sequence[Reading], number: int, first: int, last: int) -> tuple[str, ...]:
        """That the template's first token, which stands for "no answer" in SQuAD 2.0, is more probable."""
        logits, template = readings[number].logits, self.item.inputs[number].encoding.sequence_ids
        if template[0] is None and logits[0].sum() > logits[first, 0] + logits[last, 1]:
            return ("The model finds it more probable that the context holds no answer.",)
        return ()


def _one_span(at: Any, texts: int) -> Any:
    """`at` of a call, checked; TypeError or ValueError for what is not one span."""
    spans = check_at(at, texts == 1)
    if spans == "all" or spans is not None and len(spans) > 1:
        raise ValueError(f"at must be None or one span (start, end) of the context, got {at!r:.60}.")
    return spans


class AnswerOptions(Further, total=False):
    """Keyword options of one call of `MhexAnswerExplainer`."""

    parts: Literal["both", "start", "end"]
    at: tuple[int, int] | None
    classes: Literal["target", "all"]
    layers: bool
    ids: Iterable[str] | None


class MhexAnswerExplainer(PlaceExplainer[Explanation]):
    """Explains the answer of an extractive reader: which words of question and context made it that span.

    >>> explainer = MhexAnswerExplainer(model, tokenizer, stride=64)
    >>> explainer("Who wrote it?", "The novel was written by Jane Austen in 1813.").show()

    The scores are of the start logit and the end logit of the answer, each less its mean over the positions of the
    text; with `base_value` they add up to these, in the unit of logits. `place` is the answer in the context.

    Args:
        model: a reader with MHEX heads (`AutoMhexModelForQuestionAnswering`, `get_mhex_model`) and fitted matrices
            (`fit_equivalent_matrices`); without, the passes of a budget start from nothing.
        tokenizer, batch_tokens, max_length, stride, language, non_negative, changed_weights: as for `MhexExplainer`.
            With a `stride` long contexts are read in windows; the answer is the most probable of all windows', and
            scores are of its window.
        longest_answer: tokens of an answer at the most.

    Raises:
        TypeError, ValueError: as `MhexExplainer`; a model for another task.
    """

    task = "question_answering"
    auto_class = AutoMhexModelForQuestionAnswering
    columns = ("questions", "contexts")

    def __init__(self, model: Any, tokenizer: Any, *, longest_answer: int = LONGEST_ANSWER, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        self.longest_answer = as_integer(longest_answer, "longest_answer", at_least=1)

    @property
    def classes(self) -> ClassTable:
        """ "answer", "start" and "end"."""
        return AnswerTable(self.model.config)

    @overload
    def __call__(self, question: str, context: Any, **options: Unpack[AnswerOptions]) -> Explanation: ...
    @overload
    def __call__(
        self, question: Iterable[str], context: Any, **options: Unpack[AnswerOptions]
    ) -> list[Explanation]: ...

    def __call__(
        self,
        question: str | Iterable[str],
        context: Any,
        *,
        parts: Literal["both", "start", "end"] = "both",
        at: tuple[int, int] | None = None,
        classes: Literal["target", "all"] = "target",
        layers: bool = False,
        budget: Budget | None = None,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
        ids: Iterable[str] | None = None,
    ) -> Any:
        """Explains the answer to one question, or those to a list of them with as many contexts.

        (Long because of its many arguments.)

        Args:
            question, context: strings, or iterables of as many.
            parts: "both" for the sum of start and end logit, or one of them.
            at: a span [start, end) of code points of the context to explain in place of the answer, for one question.
            classes: "all" gives every token its scores for "answer", "start" and "end".
            budget: further passes, by default 16, or none with `layers`. The answer stays, other words are removed.
            layers, tolerance, max_budget, seed, ids: as for `MhexExplainer`.

        Returns:
            an `Explanation` of the pair (question, context), or a list of them.

        Raises:
            TypeError, ValueError: an empty question or context, a span outside of the context, a model without a fit
                where the budget is 0; as `MhexExplainer`.
        """
        single, surrogates = isinstance(question, str), SurrogateWarnings()
        if single and isinstance(context, str):
            context = [context]
        names = ("question", "context") if single else self.columns
        texts = check_texts(question, names[0], surrogates=surrogates)
        pairs = check_pairs(texts, context, names[1], surrogates=surrogates)
        if pairs is None:
            raise TypeError("context must be a string, or one for each question, got None.")
        surrogates.emit()
        ids = check_ids(ids, len(texts), single)
        spans = _one_span(at, len(texts))
        request = self.request(parts, None, classes, layers, budget, tolerance, max_budget, seed, spans)
        if not texts:
            return []
        results = self._explain(self.tokenise(texts, pairs, start=None if single else 0, name=names[0]), ids, request)
        return results[0] if single else results

    def _names(
        self, target: ClassName | None, foil: ClassName | None, at: Any
    ) -> tuple[ClassName | None, ClassName | None, tuple[str | None, str | None]]:
        if target is not None and not (isinstance(target, str) and target in (*PARTS, ANSWER)):
            raise ValueError(f"parts must be one of {', '.join(map(repr, PARTS))}, got {target!r}.")
        if foil is not None:
            raise ValueError(f"foil must be left out for answers, which are spans and no classes, got {foil!r}.")
        return None if target is None else PARTS.get(str(target), ANSWER), None, (None, None)

    def refine(self, explanation: Any, **options: Unpack[Further]) -> Any:
        """The same explanation, or a list of them, after a budget of further passes (as in the call).

        Raises:
            TypeError, ValueError: as the call; a budget below 2, an explanation of another model or other weights.
        """
        return self._refine(explanation, Explanation, self._again, options)

    def _again(self, before: Explanation, options: Further) -> Explanation:
        place = before.place
        assert place is not None
        part = next(part for part, label in PARTS.items() if label == before.target.label)
        classes: Any = "target" if before.classes is None else "all"
        call: dict[str, Any] = {"at": (place.start, place.end), "parts": part, "classes": classes, "ids": [before.id]}
        after = self([before.text], [before.text_pair], **call, **options)[0]
        check_same_model(before, after)
        return after

    def stream(
        self,
        questions: Iterable[str],
        contexts: Iterable[str],
        *,
        batch_size: int = 64,
        ids: Iterable[str] | None = None,
        parts: Literal["both", "start", "end"] = "both",
        target: ClassName | None = None,
        **options: Any,
    ) -> Iterator[Explanation]:
        """Explains answers as questions and contexts come, as `MhexExplainer.stream` does texts.

        `target` is another name for `parts`, which explainers of all tasks take.
        """
        request = self.request(parts if target is None else target, **options)
        return self._streamed(questions, contexts, ids, batch_size, request)

    def judge(self, questions: Iterable[str], contexts: Iterable[str], *, masks: int = 24, seed: int = 0) -> Judgement:
        """How far the scores can be trusted on these: the paired skill on the tokens outside of the answers.

        Raises:
            TypeError, ValueError: as the call; fewer than 2 masks, or no text with two tokens beside the answer.
        """
        return self._judged(questions, contexts, masks, seed)

    def result(self, placed: TextPlaces, id: str, request: Request) -> Explanation:
        """The explanation of the answer."""
        return self.explanations(placed, id, request)[0]

    def _find(self, item: TokenisedText, request: Request) -> AnswerFinder:
        return AnswerFinder(item, request, self.longest_answer)
