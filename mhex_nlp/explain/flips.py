# SPDX-License-Identifier: Apache-2.0
"""Flip sets: which words, removed or kept alone, turn what a model predicts. The scores lead, the model decides.

Axes: B texts, T tokens of a text, W words that may be removed, C labels.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from scipy.special import expit, softmax

from ..inputs.encoding import TokenisedText, Window
from ..inputs.segmentation import TokenGroup, group_tokens
from .asked_model import AskedModel, asked
from .assemble import align_item
from .flip_search import Answer, Array, Chosen, search_flip
from .parts import FlipSet, FlipWord
from .request import Request
from .scores import Evidence
from .targets import ClassName, ClassTable

FlipKind = Literal["removal", "insertion"]
KINDS: tuple[FlipKind, ...] = get_args(FlipKind)
PASSES = 6  # over a text with words removed, for each kind


class FlipOptions(TypedDict, total=False):
    """Keyword options of `MhexExplainer.flip`."""

    kind: FlipKind
    target: ClassName | None
    passes: int


_Search = Generator[Chosen, Array, FlipSet]  # yields words (W,), takes the logits (C,) of the text without or with them


@dataclass(frozen=True)
class _Text:
    """One text of W words that may be removed, and what the one pass says of it.

    `worth` (W, C) float64 are the scores of the words for each class, `logits` (C,) float64 the model's.
    """

    item: TokenisedText
    words: tuple[TokenGroup, ...]
    worth: Array
    logits: Array
    table: ClassTable
    removal: Literal["mask", "attention"]
    label: int | None = None  # of several labels the predicted one that is to be turned off

    @property
    def predicted(self) -> int:
        return int(self.logits.argmax()) if self.label is None else self.label

    def flip_set(
        self,
        kind: FlipKind,
        before: Array,
        words: Chosen | None,
        after: Array | None,
        passes: int,
        target: int | None = None,
    ) -> FlipSet:
        """What was found, by the logits before and after (C,)."""
        label, chance = self._outcome(before)
        label_after, chance_after = (None, None) if after is None else self._outcome(after)
        groups = [] if words is None else [g for g, chosen in zip(self.words, words, strict=True) if chosen]
        sources = self.item.sources
        return FlipSet(
            kind=kind,
            flipped=words is not None,
            words=tuple(FlipWord(sources[g.sequence][g.start : g.end], g.start, g.end, g.sequence) for g in groups),
            label=label,
            probability=chance,
            passes=passes,
            removal=self.removal,
            label_after=label_after,
            probability_after=chance_after,
            target=None if target is None else self.table.labels[target],
        )

    def _outcome(self, logits: Array) -> tuple[str, float]:
        """The label that (C,) logits predict, and its probability; of several labels whether that one holds."""
        if self.label is not None:
            chance = float(expit(logits[self.label]))
            name = self.table.labels[self.label]
            return (name, chance) if chance >= 0.5 else (f"not {name}", 1 - chance)
        label = int(logits.argmax())
        return self.table.labels[label], float(softmax(logits)[label])


def check_flips(table: ClassTable, of_label: bool = False) -> None:
    """ValueError for a model whose prediction is not one of several classes, nor `of_label` one of several labels."""
    several = table.task == "multi_label_classification"
    if not table.exclusive and not (several and of_label):
        advice = "; explainer.flip(text, target=label) turns one of its labels off" if several else ""
        raise ValueError(f"flip sets need classes that exclude each other, got a model for {table.task}{advice}.")


def check_kind(kind: Any, target: Any, of_label: bool = False) -> FlipKind:
    """ValueError for an unknown kind, or a target of insertions, which are towards the prediction.

    `of_label`: the target is a predicted label, one of several.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be 'removal' or 'insertion', got {kind!r}.")
    if kind == "insertion" and target is not None and not of_label:
        raise ValueError(f"target must be left out for insertions, which lead to the prediction, got {target!r}.")
    chosen: FlipKind = kind
    return chosen


def find_flips(
    items: Sequence[TokenisedText],
    evidence: Evidence,
    request: Request,
    perturbed: AskedModel,
    kind: FlipKind,
    target: int | None = None,
    passes: int = PASSES,
) -> list[FlipSet]:
    """A flip set of each text of a batch; a set of words of each is asked about at a time, those of all texts together.

    Args:
        items: B texts.
        evidence: of them, that of windows joined.
        request: of the call.
        perturbed: the model, with the removal of its fit.
        kind: "removal" or "insertion".
        target: the class that removals must lead to; None: any other than the predicted one. Of several labels the
            predicted one that is turned off, by removals, or on, by insertions; None: the most probable.
        passes: masked texts that the model is asked about for each text, at the most.

    Raises:
        ValueError: a target that is predicted already, or a label that is not, which names the text; logits that are
            not finite.
    """
    phi, logits = evidence.per_depth.sum(2).astype(np.float64), evidence.logits.astype(np.float64)  # (B, T, C), (B, C)
    texts = [_text(item, phi[row], logits[row], request, perturbed) for row, item in enumerate(items)]
    if not request.table.exclusive:
        texts, target = [_of_label(text, target) for text in texts], None
    for text in texts:
        if target == text.predicted:
            raise ValueError(
                f"target must be another class than the prediction, got {request.table.labels[target]!r}, which is "
                f"what the model predicts for {text.item.name}."
            )
    searches = [_removal(text, target, passes) if kind == "removal" else _insertion(text, passes) for text in texts]
    flips: list[FlipSet | None] = [None] * len(texts)
    answers: dict[int, Array | None] = dict.fromkeys(range(len(texts)))
    while answers:
        kept: dict[int, Chosen] = {}
        for number, answer in answers.items():
            try:
                chosen = next(searches[number]) if answer is None else searches[number].send(answer)
                kept[number] = ~chosen if kind == "removal" else chosen
            except StopIteration as end:
                flips[number] = end.value
        said = _ask([texts[number] for number in kept], list(kept.values()), perturbed, request.causal) if kept else []
        answers = dict(zip(kept, said, strict=True))
    return [flip for flip in flips if flip is not None]


def flip_sets(
    items: Sequence[TokenisedText], evidence: Evidence, request: Request, perturbed: AskedModel
) -> list[tuple[FlipSet, ...]]:
    """Those of all kinds, of each text of a batch; errors as `find_flips`."""
    of_kinds = [find_flips(items, evidence, request, perturbed, kind) for kind in KINDS]
    return list(zip(*of_kinds, strict=True))


def _text(item: TokenisedText, phi: Array, logits: Array, request: Request, perturbed: AskedModel) -> _Text:
    """Its words that can be removed whole: not the one whose token a decoder reads the label off."""
    tokens = align_item(item, request.language)
    stays: set[int] = set()
    for part in item.inputs:
        content = set(part.content_positions(request.causal))
        stays |= {whole for index, whole in enumerate(_places(part)) if index not in content}
    groups = group_tokens(tokens, [token.word for token in tokens], item.sources)
    words = tuple(group for group in groups if stays.isdisjoint(group.tokens))
    worth = np.array([phi[list(group.tokens)].sum(0) for group in words]).reshape(len(words), len(logits))
    return _Text(item, words, worth, logits, request.table, "mask" if perturbed.removal == "mask" else "attention")


def _of_label(text: _Text, label: int | None) -> _Text:
    """A text of a model of several labels, asked about one that it predicts."""
    chosen = int(text.logits.argmax()) if label is None else label
    if text.logits[chosen] < 0:
        raise ValueError(
            f"target must be a label that the model predicts, got {text.table.labels[chosen]!r}, which it does not "
            f"predict for {text.item.name}."
        )
    return replace(text, label=chosen)


def _places(part: TokenisedText) -> list[int]:
    """Where the tokens of a window are in the whole text; those of a text itself are where they are."""
    return part.positions.tolist() if isinstance(part, Window) else list(range(len(part)))


def _ask(texts: Sequence[_Text], kept: Sequence[Chosen], perturbed: AskedModel, causal: bool) -> list[Array]:
    """The logits (C,) of each text of which some words (W,) stay; of one in windows the mean of theirs."""
    parts: list[TokenisedText] = []
    subsets: list[Chosen] = []
    for text, words in zip(texts, kept, strict=True):
        gone = {index for group, stays in zip(text.words, words, strict=True) if not stays for index in group.tokens}
        for part in text.item.inputs:
            places = _places(part)
            parts.append(part)
            stay = [places[index] not in gone for index in part.content_positions(causal)]
            subsets.append(np.array([stay], dtype=bool))
    rows = iter(asked(perturbed, parts, subsets))
    return [np.concatenate([next(rows) for _ in text.item.inputs]).mean(0) for text in texts]


def _removal(text: _Text, target: int | None, passes: int) -> _Search:
    """Words whose removal turns the prediction, towards the classes that the scores say are the nearest."""
    before, left = text.predicted, passes
    if text.label is not None:
        worth, start = text.worth[:, before], float(text.logits[before])
        words, after, left = yield from search_flip(worth, start, left, partial(_off, label=before))
        return text.flip_set("removal", text.logits, words, after, passes - left)
    judge = partial(_away, label=before) if target is None else partial(_towards, label=target)
    words = after = None
    for foil in _nearest(text) if target is None else [target]:
        start = float(text.logits[before] - text.logits[foil])
        words, after, left = yield from search_flip(text.worth[:, before] - text.worth[:, foil], start, left, judge)
        if words is not None or not left:
            break
    return text.flip_set("removal", text.logits, words, after, passes - left, target)


def _insertion(text: _Text, passes: int) -> _Search:
    """Words that are predicted alone as the whole text is."""
    wanted = text.predicted
    empty = yield np.zeros(len(text.words), dtype=bool)
    if text.label is not None and empty[wanted] < 0:
        judge = partial(_on, label=wanted)
        words, after, left = yield from search_flip(text.worth[:, wanted], -float(empty[wanted]), passes - 1, judge)
        return text.flip_set("insertion", empty, words, after, passes - left)
    before = wanted if text.label is not None else int(empty.argmax())
    if before == wanted:
        return text.flip_set("insertion", empty, None, empty, 1)
    worth, start = text.worth[:, wanted] - text.worth[:, before], float(empty[before] - empty[wanted])
    words, after, left = yield from search_flip(worth, start, passes - 1, partial(_towards, label=wanted))
    return text.flip_set("insertion", empty, words, after, passes - left)


def _nearest(text: _Text) -> list[int]:
    """The other classes, that first which takes the fewest words by their scores; ties by the logits."""
    before, ranks = text.predicted, []
    for foil in (label for label in range(len(text.logits)) if label != before):
        worth = np.sort(np.maximum(text.worth[:, before] - text.worth[:, foil], 0))[::-1]
        margin = float(text.logits[before] - text.logits[foil])
        ranks.append((int((np.cumsum(worth) < margin).sum()), margin, foil))
    return [foil for _, _, foil in sorted(ranks)]


def _away(logits: Array, label: int) -> Answer:
    """How far an answer is from any other class than `label`."""
    return Answer(int(logits.argmax()) != label, float(logits[label] - np.delete(logits, label).max()))


def _off(logits: Array, label: int) -> Answer:
    """How far an answer is from a label that does not hold."""
    return Answer(bool(logits[label] < 0), float(logits[label]))


def _on(logits: Array, label: int) -> Answer:
    """How far an answer is from a label that holds."""
    return Answer(bool(logits[label] >= 0), -float(logits[label]))


def _towards(logits: Array, label: int) -> Answer:
    """How far an answer is from `label`."""
    return Answer(int(logits.argmax()) == label, float(np.delete(logits, label).max() - logits[label]))
