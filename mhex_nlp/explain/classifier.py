# SPDX-License-Identifier: Apache-2.0
"""`ClassifierExplainer`: what a call of an explainer of classifiers does, whatever runs the model. Without torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Unpack, overload

from ..inputs.checks import as_integer
from ..inputs.encoding import TokenisedText
from ..inputs.texts import SurrogateWarnings, check_ids, check_pairs, check_texts, warn, zip_rows
from .assemble import assemble
from .explanation import Explanation
from .explanations import Explanations
from .parts import FlipSet
from .request import Budget, Request, TextCallOptions, TextOptions
from .scores import Answer, Evidence, Scores, attribute
from .targets import ClassName
from .text_explainer import TextExplainer

Flipper = Callable[[Sequence[TokenisedText], Evidence], list[tuple[FlipSet, ...]]]


class ClassifierExplainer(TextExplainer[Explanation]):
    """Texts in, Explanations out, of a model that says one thing of a text.

    `MhexExplainer` runs it in torch, `OnnxExplainer` as an exported graph: services and engines that call an explainer
    take either.
    """

    task: ClassVar[Any] = "sequence_classification"

    @abstractmethod
    def evidence(self, items: Sequence[TokenisedText], request: Request) -> Iterator[tuple[list[int], Evidence]]:
        """What one pass, and a budget, say of texts, by batch with their indices; that of windows joined.

        Raises:
            ValueError: logits that are not finite; names the text.
        """

    @abstractmethod
    def _flipper(self, request: Request) -> Flipper:
        """What searches the flip sets of a batch, a tuple of them for each text."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too
        self, text: str, text_pair: Any = None, **options: Unpack[TextCallOptions]
    ) -> Explanation: ...
    @overload
    def __call__(
        self, text: Iterable[str], text_pair: Any = None, **options: Unpack[TextCallOptions]
    ) -> Explanations: ...

    def __call__(
        self,
        text: str | Iterable[str],
        text_pair: Any = None,
        *,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: Literal["target", "all"] = "target",
        layers: bool = False,
        budget: Budget = 0,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
        flip: bool = False,
        ids: Iterable[str] | None = None,
    ) -> Any:
        """Explains one text, or a list of texts in one go. (Long because of its many arguments.)

        Args:
            text: a string, or any iterable of strings. Surrogates that make a pair are joined, and lone ones replaced
                by U+FFFD, with one UserWarning a call; the explanation holds, and its offsets count, the text that
                comes of it.
            text_pair: the second half of a pair, or one for each text.
            target: the class explained, by name or id; by default the one the model predicts. Of a multi-label model
                "predicted" explains every label that it predicts, of each text: all at 0.5 and above, or where there
                is none the most probable.
            foil: a class to compare with: scores say what speaks for the target rather than for the foil.
            classes: "all" adds the scores of every class to the tokens.
            layers: adds what each depth contributes; over depths it sums to the score.
            budget: further passes over each text with parts of it removed, an even number: they refine the one-pass
                scores, and every token, word and phrase gets an `error`, the standard deviation of its score. The
                scores then are the model's own whatever explains, and depths are not told apart. "auto" spends what
                the leading words of each text need (`explain/rounds.py`); `passes` and `settled` say how it went.
            tolerance, max_budget: with "auto", the probability that may be left that the leading words are ranked
                wrong (0.05), and the most passes over a text (128).
            seed: draws what the passes of a budget ask about.
            flip: searches the words whose removal turns the prediction, and those that are predicted alone as the whole
                text is, by at most 6 passes each (`flip`); they are in `flips`, and displays tell them.
            ids: a name for each explanation; by default its position.

        Returns:
            an `Explanation`, or `Explanations`, a list of them in the order of the texts. With every predicted label
            explained, `Explanations` of a text, or a list of those.

        Raises:
            TypeError, ValueError: empty text, `None`, a number, a table, half a pair, an unknown class, a foil or an
                option that makes no sense, a classifier or heads never trained. A bad text fails the call, by name.
        """
        single = isinstance(text, str)
        if isinstance(text, tuple) and len(text) == 2 and text_pair is None:
            warn("text is a tuple of two, which is read as two texts: a pair is explainer(first, text_pair=second).")
        surrogates = SurrogateWarnings()
        texts = check_texts(text, surrogates=surrogates)
        pairs = check_pairs(texts, text_pair, surrogates=surrogates)
        surrogates.emit()
        names = check_ids(ids, len(texts), single)
        target, every = self._predicted(target, budget)
        request = self.request(target, foil, classes, layers, budget, tolerance, max_budget, seed, flip)
        if not texts:
            return Explanations()
        items = self.tokenise(texts, pairs, start=None if single else 0)
        if every:
            of_texts = self._explain_every(items, names, request)
            return of_texts[0] if single else of_texts
        results = self._explain(items, names, request)
        return results[0] if single else Explanations(results)

    def _predicted(self, target: ClassName | None, budget: Budget) -> tuple[ClassName | None, bool]:
        """The target of a call, and whether every predicted label is one; "predicted" may be the name of a class."""
        if target != "predicted" or target in self.classes.labels:
            return target, False
        every = self.classes.task == "multi_label_classification"
        if every and budget == "auto":
            raise ValueError("budget must be a number with target='predicted', for labels share their passes.")
        return None, every

    def _explain_every(
        self, items: Sequence[TokenisedText], ids: Sequence[str], request: Request
    ) -> list[Explanations]:
        """The explanations of each item, one a predicted label, all from its one pass."""
        explanations = [Explanations() for _ in items]
        for indices, evidence in self.evidence(items, request):
            rows, answers = list[int](), list[Answer]()
            for row, labels in enumerate(request.table.predicted_ids(evidence.logits)):
                if request.foil in labels:
                    request.table.resolve(request.foil, request.foil)  # refuses it
                rows += [row] * len(labels)
                best = int(evidence.logits[row].argmax())
                answers += [Answer(best, label, request.foil) for label in labels]
            owners = [indices[row] for row in rows]
            of_labels = replace(evidence.select(rows), answers=tuple(answers))
            scores = attribute(of_labels, [items[owner].name for owner in owners], request)
            parts = assemble([items[owner] for owner in owners], [ids[owner] for owner in owners], scores, request)
            for owner, one in zip(owners, parts, strict=True):
                explanations[owner].append(one)
        self._warn_of_cuts(items, ids)
        return explanations

    def stream(
        self,
        texts: Iterable[str],
        text_pairs: Iterable[str] | None = None,
        *,
        batch_size: int = 64,
        ids: Iterable[str] | None = None,
        **options: Unpack[TextOptions],
    ) -> Iterator[Explanation]:
        """Explains texts as they come, `batch_size` at a time, in order and in constant memory.

        Options are those of the call, with `ids` as another iterable that is read along; they are checked at once,
        texts when their turn comes. Sentences count texts from the beginning of the stream.

        Raises:
            TypeError, ValueError: as the call; second halves or ids that are more or fewer than the texts.
        """
        rows = zip_rows(texts=texts, text_pairs=text_pairs, ids=ids)
        size = as_integer(batch_size, "batch_size", at_least=1)
        return self._stream(rows, size, self.request(**options))

    def attribute(self, items: Sequence[TokenisedText], request: Request) -> list[tuple[list[int], Scores]]:
        """The numbers that explain the items, by batch of like length, with the indices of its items.

        Raises:
            ValueError: logits that are not finite, a foil that the model predicts; names the text.
        """
        batches, flip = [], self._flipper(request) if request.flip else None
        for indices, evidence in self.evidence(items, request):
            texts = [items[index] for index in indices]
            scores = attribute(evidence, [text.name for text in texts], request)
            if flip is not None:
                scores = replace(scores, flips=flip(texts, evidence))
            batches.append((indices, scores))
        return batches

    def _explain(self, items: Sequence[TokenisedText], ids: Sequence[str], request: Request) -> list[Explanation]:
        """The explanations of all items, in their order; warns of those that were cut."""
        explanations: dict[int, Explanation] = {}
        for indices, scores in self.attribute(items, request):
            texts, names = [items[index] for index in indices], [ids[index] for index in indices]
            explanations.update(zip(indices, assemble(texts, names, scores, request), strict=True))
        self._warn_of_cuts(items, ids)
        return [explanations[index] for index in range(len(items))]
