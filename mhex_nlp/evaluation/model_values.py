# SPDX-License-Identifier: Apache-2.0
"""What metrics ask a model: its answers to texts from which tokens or words were removed.

Axes: T tokens of a text, n units that may be removed (content tokens or words), S subsets, C labels, K bins, B texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..explain.targets import ClassName, ClassTable
from ..inputs.alignment import AlignedToken, align
from ..inputs.encoding import TokenisedText
from ..inputs.texts import SurrogateWarnings, check_pairs, check_texts
from ..models.eval_mode import eval_view
from ..models.perturbed import PerturbedModel
from .metrics.arrays import Bools, Floats, as_finite
from .metrics.games import ValueFunction
from .metrics.perturbation import ERASER_BINS, bin_masks

UnitName = Literal["tokens", "words"]
_ROWS = 4096  # whose inputs are held at the same time


class ModelValues(PerturbedModel):
    """Runs any transformers sequence classifier, plain or with heads, on texts with units removed.

    >>> values = ModelValues(model, tokenizer)
    >>> text = values.of("The plot was thin but the acting was superb.")
    >>> sampled_shapley(text.value(), text.n)

    Args:
        model, tokenizer, removal, batch_tokens, max_length: as for `PerturbedModel`, and so are the errors.
        language: spaCy language whose tokenizer makes the words; by default as `segment_words`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        removal: str = "mask",
        batch_tokens: int = 4096,
        *,
        max_length: int | None = None,
        language: str | None = None,
    ) -> None:
        super().__init__(model, tokenizer, removal, batch_tokens, max_length)
        self.language, self.classes = language, ClassTable(model.config)

    def of(self, text: str, text_pair: str | None = None, unit: UnitName = "tokens") -> TextValues:
        """The value function of one text, or pair of texts, over its content tokens or its words.

        Raises:
            TypeError, ValueError: no text, an unknown unit, or nothing in it that could be removed.
        """
        surrogates = SurrogateWarnings()
        texts = check_texts(text, surrogates=surrogates)
        pairs = check_pairs(texts, None if text_pair is None else [text_pair], surrogates=surrogates)
        surrogates.emit()
        (item,) = self.tokenise(texts, pairs)
        tokens = tuple(align(item.encoding, item.text, item.text_pair, language=self.language))
        fixed = torch.tensor([token.special for token in tokens])
        if self.causal:
            fixed[-1] = True
        return TextValues(self, item, tokens, fixed, unit)

    def fill(self, texts: Sequence[TextValues], keeps: Sequence[ArrayLike]) -> None:
        """Computes what each text does not know yet of its subsets, all texts together in length-sorted batches.

        `keeps` are for each text (S, n) bool, true where a unit is kept; errors as in `TextValues.logits`.
        """
        missing = [
            (text, key, removed) for text, keep in zip(texts, keeps, strict=True) for key, removed in text.missing(keep)
        ]
        for start in range(0, len(missing), _ROWS):
            chunk = missing[start : start + _ROWS]
            variants = [self.variants(text.item, removed, text.fixed)[0] for text, _, removed in chunk]
            for (text, key, _), logits in zip(chunk, self.logits(variants).double().numpy(), strict=True):
                text.learn(key, logits)

    def batches(
        self, items: Sequence[TokenisedText], batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Whole texts as the model takes them, for methods that look inside it: indices, and (B, T) on its device.

        A text may stand among the items several times; `batch_tokens` of the class is the default.
        """
        ids = [item.features["input_ids"] for item in items]
        for batch in self.batcher.indices(ids, batch_tokens or self.batch_tokens):
            yield batch, self.batcher.collate([items[index].features for index in batch])

    def explained(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What a benchmark explains: the target's logit, less the mean over classes where these exclude each other.

        Of (B, C) logits and (B,) class ids: (B,).
        """
        chosen = logits.gather(1, targets[:, None]).squeeze(1)
        return chosen - logits.mean(1) if self.classes.exclusive else chosen

    def soft_logits(self, item: TokenisedText, weights: Tensor) -> Floats:
        """Logits with each token's embedding moved towards the mask token's: w * own + (1 - w) * mask.

        Of (S, T) weights in [0, 1], 1 for tokens that stay: (S, C) float64; errors as in
        `TextValues.soft_probabilities`. The decoder of an encoder-decoder would see the tokens.
        """
        if self.tokenizer.mask_token_id is None or self.model.config.is_encoder_decoder:
            raise ValueError("a soft mask needs a tokenizer with a mask token and a model without a decoder beside it.")
        view = eval_view(self.model)  # whose hook no other pass meets
        embed = view.get_input_embeddings()
        with torch.no_grad():
            blank = embed(torch.tensor([self.tokenizer.mask_token_id], device=self.model.device))  # (1, H)
        logits = np.empty((len(weights), len(self.classes)))
        ids = [item.features["input_ids"]] * len(weights)
        for batch in self.batcher.indices(ids, self.batch_tokens):
            share = weights[batch].to(blank)[..., None]  # (b, T, 1)
            hook = embed.register_forward_hook(lambda module, args, out, w=share: w * out + (1 - w) * blank)
            try:
                logits[batch] = self.run([item.features] * len(batch), view).double()
            finally:
                hook.remove()
        return logits


class TextValues:
    """What a model says of one text when some of its units are removed; made by `ModelValues.of`.

    `n` units may be removed; `units` holds the token positions of each. Template tokens, and the token a decoder pools,
    belong to none and always stay (`fixed`, (T,) bool). `tokens` are the T aligned tokens, as in an Explanation.
    """

    def __init__(
        self, owner: ModelValues, item: TokenisedText, tokens: tuple[AlignedToken, ...], fixed: Tensor, unit: UnitName
    ) -> None:
        if unit not in ("tokens", "words"):
            raise ValueError(f"unit must be 'tokens' or 'words', got {unit!r}.")
        self.owner, self.item, self.tokens, self.fixed, self.unit = owner, item, tokens, fixed, unit
        groups: dict[int, list[int]] = {}
        for position, token in enumerate(tokens):
            if not fixed[position]:
                key = position if unit == "tokens" or token.word is None else token.word
                groups.setdefault(key, []).append(position)
        if not groups:
            raise ValueError(f"text {item.text[:40]!r} has no token that could be removed.")
        self.units = tuple(tuple(group) for group in groups.values())
        self._member = torch.zeros(len(self.units), len(tokens), dtype=torch.bool)  # (n, T)
        for index, group in enumerate(self.units):
            self._member[index, list(group)] = True
        self._known: dict[bytes, Floats] = {}

    def anew(self) -> TextValues:
        """The same text, without the answers so far."""
        return TextValues(self.owner, self.item, self.tokens, self.fixed, self.unit)

    @property
    def n(self) -> int:
        """How many units may be removed."""
        return len(self.units)

    def unit_scores(self, scores: ArrayLike) -> Floats:
        """Token scores summed over each unit: (T,) finite, as `Explanation.scores`, to (n,) float64."""
        array = as_finite(scores, "scores")
        if array.shape != (len(self.tokens),):
            raise ValueError(f"scores must have one entry a token, ({len(self.tokens)},), got {array.shape}.")
        return np.asarray([array[list(group)].sum() for group in self.units])

    def logits(self, keep: ArrayLike) -> Floats:
        """(S, n) bool, true where a unit is kept, to (S, C) float64. Each distinct subset runs once, ever.

        ValueError for another shape, or logits that are not finite.
        """
        self.owner.fill([self], [keep])
        rows = self._masks(keep)
        return np.asarray([self._known[_key(row)] for row in rows]).reshape(len(rows), len(self.owner.classes))

    def probabilities(self, keep: ArrayLike) -> Floats:
        """(S, n) bool to (S, C) float64: softmax, or sigmoid for several labels at once.

        Errors as in `logits`; ValueError for a regression model, which has none.
        """
        return self._to_probabilities(self.logits(keep))

    def soft_probabilities(self, weights: ArrayLike) -> Floats:
        """Probabilities under soft masks (`soft_average_drop`): (S, n) in [0, 1], 1 keeps, to (S, C) float64.

        Raises:
            ValueError: weights of another shape or outside [0, 1], a tokenizer without a mask token, an
                encoder-decoder, a regression model.
        """
        array = as_finite(weights, "weights")
        if array.ndim != 2 or array.shape[1] != self.n or not array.size or array.min() < 0 or array.max() > 1:
            raise ValueError(f"weights must be (S, {self.n}) in [0, 1], got shape {array.shape}.")
        member = self._member.double()
        spread = torch.from_numpy(array) @ member + (1 - member.sum(0))  # (S, T), 1 on tokens of no unit
        return self._to_probabilities(self.owner.soft_logits(self.item, spread))

    def predicted(self) -> int:
        """The class of the highest logit on the full text."""
        return int(self.logits(np.ones((1, self.n), dtype=bool))[0].argmax())

    def value(
        self, target: ClassName | None = None, output: Literal["probability", "logit", "centred"] = "probability"
    ) -> ValueFunction:
        """The value function of one class, for `sampled_shapley`, `aopc_bounds`, `leave_one_out`.

        Args:
            target: a class by name or id; by default the one predicted on the full text.
            output: "probability", "logit", or "centred": the logit less the mean over classes.

        Raises:
            ValueError: an unknown class or output, probabilities of a regression model, centred logits where classes
                do not exclude each other, no target for several regression outputs.
        """
        classes = self.owner.classes
        if output not in ("probability", "logit", "centred"):
            raise ValueError(f"output must be 'probability', 'logit' or 'centred', got {output!r}.")
        if output == "centred" and not classes.exclusive:
            raise ValueError(f"output='centred' needs classes that exclude each other, got a model for {classes.task}.")
        if output == "probability":
            self._check_probabilities()
        if target is None and classes.task == "regression" and len(classes) > 1:
            raise ValueError(f"target must be given for several regression outputs: one of {list(classes.labels)}.")
        column = self.predicted() if target is None else classes.id_of(target, "target")

        def values(keep: Bools) -> Floats:
            outputs = self.probabilities(keep) if output == "probability" else self.logits(keep)
            return outputs[:, column] - (outputs.mean(1) if output == "centred" else 0.0)

        return values

    def explained(self, target: int) -> ValueFunction:
        """`ModelValues.explained` of a class id as a value function."""
        return self.value(target, "centred" if self.owner.classes.exclusive else "logit")

    def missing(self, keep: ArrayLike) -> Iterator[tuple[bytes, Tensor]]:
        """(key, (T,) bool removed) of each subset in (S, n) `keep` that was never run."""
        for key, row in {_key(row): row for row in self._masks(keep)}.items():
            if key not in self._known:
                yield key, self._member[torch.from_numpy(~row)].any(0)

    def learn(self, key: bytes, logits: Floats) -> None:
        """Keeps the (C,) logits of the subset that `missing` called `key`."""
        self._known[key] = logits

    def _masks(self, keep: ArrayLike) -> Bools:
        masks = np.asarray(keep, dtype=bool)
        if masks.ndim != 2 or masks.shape[1] != self.n:
            raise ValueError(f"keep must be (S, {self.n}), a column for each of the {self.unit}, got {masks.shape}.")
        return masks

    def _check_probabilities(self) -> None:
        if self.owner.classes.task == "regression":
            raise ValueError("a regression model has no probabilities: use output='logit'.")

    def _to_probabilities(self, logits: Floats) -> Floats:
        self._check_probabilities()
        rows = self.owner.classes.probabilities(logits)
        return np.asarray(rows).reshape(logits.shape)


class Perturbed(NamedTuple):
    """Probabilities for `metrics.perturbation`: full (B,), without (B, K), only (B, K), float64."""

    full: Floats
    without: Floats
    only: Floats


def perturb(
    texts: Sequence[TextValues],
    scores: Sequence[ArrayLike],
    targets: Sequence[ClassName | None] | None = None,
    bins: Sequence[float] = ERASER_BINS,
) -> Perturbed:
    """The model's probabilities on B texts, without the top units of each bin, and with them only.

    Args:
        texts: made by one `ModelValues`; all run together.
        scores: for each text (n,) scores of its units (`TextValues.unit_scores`).
        targets: a class for each text; `None` for the one predicted on the full text.
        bins: K shares of the units.

    Raises:
        ValueError: zero texts, lists that do not align, scores that are not finite, or as in `TextValues.value`.
    """
    if not len(texts) or len(scores) != len(texts) or (targets is not None and len(targets) != len(texts)):
        raise ValueError(f"texts, scores and targets must have one entry a text, at least one, got {len(texts)} texts.")
    if any(text.owner is not texts[0].owner for text in texts):
        raise ValueError("texts must come from one ModelValues, got several.")
    keeps = []
    for index, (text, row) in enumerate(zip(texts, scores, strict=True)):
        values = as_finite(row, f"scores[{index}]")
        if values.shape != (text.n,):
            raise ValueError(f"scores[{index}] must have one entry a unit, ({text.n},), got {values.shape}.")
        keeps.append(np.concatenate([np.ones((1, text.n), dtype=bool), *bin_masks(values, bins)]))
    texts[0].owner.fill(texts, keeps)
    classes = [None] * len(texts) if targets is None else targets
    rows = [text.value(target)(keep) for text, target, keep in zip(texts, classes, keeps, strict=True)]
    table = np.asarray(rows, dtype=np.float64)  # (B, 1 + 2K)
    return Perturbed(table[:, 0], table[:, 1 : 1 + len(bins)], table[:, 1 + len(bins) :])


def _key(row: Bools) -> bytes:
    return np.packbits(row).tobytes()
