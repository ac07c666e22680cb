# SPDX-License-Identifier: Apache-2.0
"""`MhexExplainer`: texts in, Explanations out, one forward pass a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Unpack, overload

from ..inputs.checks import as_integer
from ..inputs.encoding import TokenisedText
from ..inputs.texts import SurrogateWarnings, check_pairs, check_texts
from ..models.auto import AutoMhexModelForSequenceClassification
from ..models.loading import check_fresh
from .base import ExplainerBase
from .budget import refine_explanations
from .classifier import ClassifierExplainer, Flipper
from .explanation import Explanation
from .flips import PASSES, FlipKind, FlipOptions, check_flips, check_kind, find_flips, flip_sets
from .judgement import Judgement, judge
from .parts import FlipSet, Prediction
from .request import Budget, Request, RequestOptions
from .scores import Evidence
from .targets import ClassName


class MhexExplainer(ClassifierExplainer, ExplainerBase[Explanation]):
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

    auto_class = AutoMhexModelForSequenceClassification

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

    def evidence(self, items: Sequence[TokenisedText], request: Request) -> Iterator[tuple[list[int], Evidence]]:
        """As `ClassifierExplainer` has it; with a tolerance also ValueError for a foil that the model predicts."""
        return self._evidence.texts(items, request)

    def predict(self, items: Sequence[TokenisedText]) -> list[Prediction]:
        """What the model predicts for items (`tokenise`), by the plain model's forward pass: none is explained.

        Equal to the bit to the predictions in explanations of the same items.

        Raises:
            ValueError: a classifier that was never trained, logits that are not finite.
        """
        check_fresh(self.model)
        table = self.classes
        return [table.prediction(row) for row in self._evidence.logits(items)] if items else []

    def _flipper(self, request: Request) -> Flipper:
        return partial(flip_sets, request=request, perturbed=self._evidence.perturbed(request))
