# SPDX-License-Identifier: Apache-2.0
"""`MhexExplainer`: texts in, Explanations out, one forward pass a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack, overload

from ..inputs.checks import as_integer
from ..inputs.encoding import TokenisedText
from ..inputs.texts import SurrogateWarnings, check_ids, check_pairs, check_texts, warn, zip_rows
from ..models.auto import AutoMhexModelForSequenceClassification
from .assemble import assemble
from .base import ExplainerBase
from .budget import refine_explanations
from .explanation import Explanation
from .explanations import Explanations
from .flips import KINDS, PASSES, FlipKind, FlipOptions, check_flips, check_kind, find_flips
from .judgement import Judgement, judge
from .parts import FlipSet
from .request import Budget, Request, RequestOptions, TextCallOptions, TextOptions
from .scores import Answer, Scores, attribute
from .targets import ClassName


class MhexExplainer(ExplainerBase[Explanation]):
    """Explains a classifier with trained MHEX heads: which tokens made it decide, and for what.

    >>> explainer = MhexExplainer(model, tokenizer)
    >>> explainer("The plot was thin but the acting was superb.").show()

    Args:
        model: a model with MHEX heads (`AutoMhexModelForSequenceClassification`, `get_mhex_model`), also inside PEFT,
            torch.compile or DataParallel; the attribute `model` is the one inside, and its forward is what runs.
        tokenizer: its fast tokenizer; its settings are neither changed nor obeyed (padding, truncation).
        aggregation: "fitted" for the matrices of `fit_equivalent_matrices`, "mean", "last" or "ema" for the supervised
            ones, or "auto": fitted where the model has a fit, else what its `MhexConfig` says.
        contrast: "centred" takes the mean over classes off each score, "none" leaves it; "auto" centres for
            single-label models. A `foil` given in the call goes before.
        non_negative: clamp scores at 0 (the paper's map); sums then promise nothing.
        batch_tokens: texts times longest text of one batch, padding included; by default 1024 on a CPU, else 4096.
        max_length: tokens a text is cut at; by default what the model takes.
        stride: read longer texts in windows that share this many tokens, instead of cutting them; prediction and scores
            are then means over the windows (`mhex_nlp.inputs.windows`).
        language: spaCy language whose tokenizer makes the words, such as "en"; by default runs of letters and digits.
        changed_weights: what to do where a fit was made on other weights than the model has: "refuse" to explain, or
            "note" it in each explanation and show no skill.

    Raises:
        TypeError, ValueError: a model without heads (names `get_mhex_model`), a slow tokenizer or that of another
            model, an unknown option.
    """

    task = "sequence_classification"
    auto_class = AutoMhexModelForSequenceClassification

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
        for indices, evidence in self._evidence.texts(items, request):
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

    def refine(
        self,
        explanation: Any,
        *,
        budget: Budget,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
    ) -> Any:
        """The same explanation, or a list of them in one go, after a budget of further passes (as in the call).

        Raises:
            TypeError, ValueError: as the call; a budget below 2, an explanation of another model or other weights.
        """
        options: RequestOptions = {"budget": budget, "tolerance": tolerance, "max_budget": max_budget, "seed": seed}
        return refine_explanations(self, explanation, options)

    @overload
    def flip(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too
        self, text: str, text_pair: Any = None, **options: Unpack[FlipOptions]
    ) -> FlipSet: ...
    @overload
    def flip(self, text: Iterable[str], text_pair: Any = None, **options: Unpack[FlipOptions]) -> list[FlipSet]: ...

    def flip(
        self,
        text: str | Iterable[str],
        text_pair: Any = None,
        *,
        kind: FlipKind = "removal",
        target: ClassName | None = None,
        passes: int = PASSES,
    ) -> Any:
        """A small set of whole words that turns the prediction: searched along the scores, verified by the model.

        >>> explainer.flip("The staff were kind, but the room was noisy and the bed was awful.").words

        Words are removed as the fit removed them; special tokens never are. Where no set is found, `flipped` is False.
        That does not say that there is none, nor that a set that is found is the smallest there is. (Long because of
        its many arguments.)

        Args:
            text, text_pair: as in the call.
            kind: "removal", words without which the prediction is another; or "insertion", words that alone, all others
                removed, are predicted as the whole text is. Where the text without any word is, too, no word is needed,
                and `needless` is true.
            target: the class that removals must lead to; by default any other. Of a multi-label model the predicted
                label that is turned off, or for insertions kept; by default the most probable. The flip set then goes
                from "spam" to "not spam", or back.
            passes: texts with words removed that the model is asked about for each text, at the most.

        Returns:
            a `FlipSet`, or a list of them in the order of the texts.

        Raises:
            TypeError, ValueError: as the call; a regression, a target that is predicted already, or of a multi-label
                model one that is not, fewer than 2 passes.
        """
        single, surrogates = isinstance(text, str), SurrogateWarnings()
        texts = check_texts(text, surrogates=surrogates)
        pairs = check_pairs(texts, text_pair, surrogates=surrogates)
        surrogates.emit()
        request = self.request()
        check_flips(request.table, of_label=True)
        kind = check_kind(kind, target, of_label=not request.table.exclusive)
        towards = None if target is None else request.table.id_of(target, "target")
        most = as_integer(passes, "passes", at_least=2)
        if not texts:
            return []
        items = self.tokenise(texts, pairs, start=None if single else 0)
        flips: dict[int, FlipSet] = {}
        perturbed = self._evidence.perturbed(request)
        for indices, evidence in self._evidence.texts(items, request):
            batch = [items[index] for index in indices]
            found = find_flips(batch, evidence, request, perturbed, kind, towards, most)
            flips.update(zip(indices, found, strict=True))
        results = [flips[index] for index in range(len(items))]
        return results[0] if single else results

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

    def judge(
        self, texts: Iterable[str], text_pairs: Iterable[str] | None = None, *, masks: int = 24, seed: int = 0
    ) -> Judgement:
        """How far the scores can be trusted on these texts: their paired skill, from `masks` passes over each.

        A fit's own figure is of texts of the kind that it was made on. `seed` draws the subsets that are kept.

        Raises:
            TypeError, ValueError: as the call; fewer than 2 masks, or no text of two tokens and more.
        """
        surrogates = SurrogateWarnings()
        checked = check_texts(texts, "texts", surrogates=surrogates)
        pairs = check_pairs(checked, text_pairs, "text_pairs", surrogates=surrogates)
        surrogates.emit()
        if not checked:
            raise ValueError("texts must hold at least one text to judge on, got none.")
        request, masks = self.request(), as_integer(masks, "masks", at_least=2)
        inputs = [part for item in self.tokenise(checked, pairs, name="texts") for part in item.inputs]
        return judge(inputs, self._evidence, request, masks, seed)

    def attribute(self, items: Sequence[TokenisedText], request: Request) -> list[tuple[list[int], Scores]]:
        """The numbers that explain the items, by batch of like length, with the indices of its items.

        Raises:
            ValueError: logits that are not finite, a foil that the model predicts; names the text.
        """
        batches, perturbed = [], self._evidence.perturbed(request) if request.flip else None
        for indices, evidence in self._evidence.texts(items, request):
            texts = [items[index] for index in indices]
            scores = attribute(evidence, [text.name for text in texts], request)
            if perturbed is not None:
                flips = [find_flips(texts, evidence, request, perturbed, kind) for kind in KINDS]
                scores = replace(scores, flips=list(zip(*flips, strict=True)))
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
