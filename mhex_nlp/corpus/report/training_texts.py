# SPDX-License-Identifier: Apache-2.0
"""`TrainingTexts`: what a model was trained on, searched by the states that the model reads labels off."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from ...explain.explainer import MhexExplainer
from ...explain.explanation import Explanation
from ...explain.gold_labels import class_of
from ...inputs.checks import as_integer
from ...inputs.texts import check_pairs, check_texts, zip_rows
from ...models.batches import InputBatcher
from ...models.label_states import label_states

_CHUNK = 512  # texts that are tokenised at once
_TIE = 1e-3  # logits that lie nearer may fall either way


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training text near another text: its number among them, its label, and the cosine of the two states."""

    number: int
    text: str
    label: str
    similarity: float
    same: bool  # the text itself stands in the training data


class TrainingTexts:
    """The texts that a model was trained on, for reports: `write_report(explanations, folder, train=...)`.

    >>> train = TrainingTexts(explainer, texts, labels)
    >>> train.nearest(["The room was noisy."])[0][0].label

    Each text goes through the model once, and takes H x 4 bytes (H the width of the model's last state: 100,000 texts
    of a BERT-base take 307 MB). Texts are compared by the cosine of their states.

    Args:
        explainer: a `MhexExplainer` of the model that is reported on, or of any text classifier's with heads.
        texts: the training texts.
        labels: their labels, by name or id (see `class_of`), one each.
        text_pairs: the second halves of pairs.
        count: how many are named beside a text.
        progress: shows a bar on stderr, in a terminal.

    Raises:
        TypeError, ValueError: an explainer of something else, texts or labels as the explainer and `class_of` refuse
            them, a label that is missing, more or fewer labels than texts, a regression or a multi-label model.
    """

    def __init__(
        self,
        explainer: MhexExplainer,
        texts: Iterable[str],
        labels: Iterable[Any],
        text_pairs: Iterable[str] | None = None,
        *,
        count: int = 5,
        progress: bool = False,
    ) -> None:
        if not isinstance(explainer, MhexExplainer):
            raise TypeError(f"explainer must be a MhexExplainer, got a {type(explainer).__name__}.")
        if explainer.classes.task != "single_label_classification":
            task = explainer.classes.task.replace("_", " ")
            raise ValueError(f"explainer must be of a model with one label a text for neighbours, got {task}.")
        self.explainer, self.count = explainer, as_integer(count, "count", at_least=1)
        self.classes = list(explainer.classes.labels)
        rows = list(zip_rows(texts, labels=labels))
        self.texts = check_texts((row["texts"] for row in rows), "texts")
        if not self.texts:
            raise ValueError("texts must hold at least one training text, got none.")
        self.pairs = check_pairs(self.texts, text_pairs, "text_pairs")
        self.labels = [self._label(row["labels"], number) for number, row in enumerate(rows)]
        self._batcher = InputBatcher(explainer.model, explainer.tokenizer)
        self._states = normalize(self._read(self.texts, self.pairs, progress)[0], copy=False)
        # of unit vectors the squared distance is 2 - 2 cosines; this search works in chunks of bounded size
        self._index = NearestNeighbors(algorithm="brute", metric="euclidean").fit(self._states)

    def _label(self, label: Any, number: int) -> str:
        name = class_of(label, self.classes, f"labels[{number}]")
        if name is None:
            raise ValueError(f"labels[{number}] must be the label of a training text, got {label!r:.80}.")
        return name

    def _read(self, texts: Sequence[str], pairs: Sequence[str] | None, progress: bool = False) -> tuple[Any, Any]:
        """The states (N, H) and logits (N, C) of texts, float32, tokenised part by part."""
        explainer, states, logits = self.explainer, list[torch.Tensor](), list[torch.Tensor]()
        hidden = not (progress and sys.stderr.isatty())
        with Progress(console=Console(stderr=True), transient=True, disable=hidden) as bar:
            for start in bar.track(range(0, len(texts), _CHUNK), description="Reading training texts"):
                part = slice(start, start + _CHUNK)
                items = explainer.tokenise(texts[part], None if pairs is None else pairs[part], start=start)
                state, logit = label_states(explainer.model, self._batcher, items, explainer.batch_tokens)
                states.append(state)
                logits.append(logit)
        return torch.cat(states).numpy(), torch.cat(logits).numpy()

    def nearest(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> list[list[Neighbour]]:
        """For each text the `count` nearest training texts, nearest first.

        Raises:
            TypeError, ValueError: texts as the explainer refuses them.
        """
        checked = check_texts(texts, "texts")
        pairs = check_pairs(checked, text_pairs, "text_pairs")
        return self._nearest(checked, pairs)[0] if checked else []

    def _nearest(self, texts: Sequence[str], pairs: Sequence[str] | None) -> tuple[list[list[Neighbour]], Any]:
        states, logits = self._read(texts, pairs)
        distances, numbers = self._index.kneighbors(normalize(states), min(self.count, len(self.texts)))
        named = [
            self._named(text, None if pairs is None else pairs[index], distances[index], numbers[index])
            for index, text in enumerate(texts)
        ]
        return named, logits

    def _named(self, text: str, pair: str | None, distances: Any, numbers: Any) -> list[Neighbour]:
        return [
            Neighbour(
                number=number,
                text=self.shown(number),
                label=self.labels[number],
                similarity=1 - distance * distance / 2,
                same=(self.texts[number], None if self.pairs is None else self.pairs[number]) == (text, pair),
            )
            for distance, number in zip(distances.tolist(), numbers.tolist(), strict=True)
        ]

    def shown(self, number: int) -> str:
        """A training text; of a pair both halves."""
        return self.texts[number] if self.pairs is None else f"{self.texts[number]} | {self.pairs[number]}"

    def beside(self, explanations: Sequence[Explanation]) -> list[list[Neighbour]]:
        """The same of explanations, whose predictions must be those of this model.

        Raises:
            ValueError: a prediction that the model does not make.
        """
        if not explanations:
            return []
        pairs = None if explanations[0].text_pair is None else [one.text_pair or "" for one in explanations]
        nearest, logits = self._nearest([one.text for one in explanations], pairs)
        for one, row in zip(explanations, logits, strict=True):
            predicted = self.classes.index(one.label) if one.label in self.classes else -1
            if predicted < 0 or row[predicted] < row.max() - _TIE:
                says = self.classes[int(row.argmax())]
                raise ValueError(
                    f"train must be of the model that made the explanations, got one that says {says!r} of "
                    f"{one.id!r:.80}, which was predicted {one.label!r}."
                )
        return nearest

    def disagreement(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """Of the training texts nearest to each of these training texts, itself left out: those labelled otherwise,
        and how many there are.
        """
        if not numbers:
            return []
        near = self._index.kneighbors(self._states[list(numbers)], min(self.count + 1, len(self.texts)), False)
        counts = []
        for number, row in zip(numbers, near.tolist(), strict=True):
            others = [other for other in row if other != number][: self.count]
            counts.append((sum(self.labels[other] != self.labels[number] for other in others), len(others)))
        return counts
