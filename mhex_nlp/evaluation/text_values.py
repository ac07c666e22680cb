# SPDX-License-Identifier: Apache-2.0
"""One text as a game over its tokens or words, with the model's answers remembered.

Axes: T tokens of the text, n units that may be removed, S subsets, C labels, K bins, B texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..explain.targets import ClassName, ClassTable
from ..inputs.alignment import AlignedToken
from ..inputs.encoding import TokenisedText
from .metrics.arrays import Bools, Floats, as_finite
from .metrics.games import ValueFunction
from .metrics.perturbation import ERASER_BINS, bin_masks

UnitName = Literal["tokens", "words"]


class Answers(Protocol):
    """What runs the model for a `TextValues`: `ModelValues`."""

    @property
    def classes(self) -> ClassTable: ...

    def fill(self, texts: Sequence[TextValues], keeps: Sequence[ArrayLike]) -> None: ...

    def soft_logits(self, item: TokenisedText, weights: Tensor) -> Floats: ...


class TextValues:
    """What a model says of one text when some of its units are removed; made by `ModelValues.of`.

    `n` units may be removed; `units` holds the token positions of each. Template tokens, and the token a decoder pools,
    belong to none and always stay (`fixed`, (T,) bool). `tokens` are the T aligned tokens, as in an Explanation.
    """

    def __init__(
        self, owner: Answers, item: TokenisedText, tokens: tuple[AlignedToken, ...], fixed: Tensor, unit: UnitName
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
        rows = self.owner.classes.probabilities(torch.from_numpy(logits))
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
