# SPDX-License-Identifier: Apache-2.0
"""The training texts beside the texts of a report: which are nearest, and what those of wrong texts say together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...explain.explanation import Explanation
from ...explain.gold_labels import listed
from ...inputs.segmentation import word_spans
from ...inputs.texts import warn
from .seen import EXAMPLES, STRONG, sum_by_word, words_beside

if TYPE_CHECKING:
    from .training_texts import Neighbour, TrainingTexts

_SUSPECTS, _SHOWN = 50, 12  # training texts whose own neighbours are looked at, and those that are listed
_FEWEST = 5  # wrong texts of a finding
_AHEAD = 64  # texts whose neighbours are looked for together


class Neighbourhoods:
    """Gives wrong texts their neighbours on the way to their pages, and counts what those say.

    Args:
        train: the training texts, or None: no text has neighbours then.
        chosen: ids of further texts that get some.
    """

    def __init__(self, train: TrainingTexts | None, chosen: Iterable[str] = ()) -> None:
        self.train, self.chosen = train, frozenset(chosen)
        self.not_met = set(self.chosen)  # ids that no explanation has had so far
        self.mistakes = self.as_predicted = 0
        self.surest: list[tuple[float, tuple[int, int]]] = []  # of those amid texts that are labelled as predicted
        self.near: dict[int, list[Any]] = {}  # by training text: mistakes near it, labelled otherwise, and examples

    def check(self, classes: Sequence[str]) -> None:
        """ValueError for training texts of a model with other classes."""
        if self.train is not None and list(classes) != self.train.classes:
            raise ValueError(
                f"train must be of the model that made the explanations, got one with the classes "
                f"{listed(self.train.classes)}; the explanations have {listed(classes) or 'none'}."
            )

    def beside(
        self, rows: Iterable[tuple[Explanation, str | None, Any]]
    ) -> Iterator[tuple[Explanation, str | None, Any, list[Neighbour]]]:
        """Rows of a report, each with the neighbours of its text."""
        stream = iter(rows)
        if self.train is None:
            yield from ((*row, []) for row in stream)
            return
        while chunk := list(islice(stream, _AHEAD)):
            self.not_met -= {one.id for one, _, _ in chunk}
            wanted = [index for index, (one, gold, _) in enumerate(chunk) if one.id in self.chosen or _wrong(one, gold)]
            nearest = dict(zip(wanted, self.train.beside([chunk[index][0] for index in wanted]), strict=True))
            yield from ((*row, nearest.get(index, [])) for index, row in enumerate(chunk))

    def count(
        self, explanation: Explanation, gold: str | None, neighbours: Sequence[Neighbour], place: tuple[int, int]
    ) -> None:
        """Counts those of a text that stands at `place`, (number, page), where its prediction is wrong."""
        if not neighbours or not _wrong(explanation, gold):
            return
        self.mistakes += 1
        if all(one.label == explanation.label for one in neighbours):
            self.as_predicted += 1
            likeness = sum(one.similarity for one in neighbours) / len(neighbours)
            self.surest = sorted([*self.surest, (-likeness, place)])[:EXAMPLES]
        for one in neighbours:
            if one.label != gold:
                row = self.near.setdefault(one.number, [0, []])
                row[0] += 1
                row[1] = [*row[1], place][:EXAMPLES]

    def report(self) -> dict[str, Any] | None:
        """What the index shows of them: None without training texts.

        `suspects` are training texts near to mistakes that are labelled otherwise than these: those whose own nearest
        training texts are mostly labelled otherwise as well first, then by how many mistakes they are near to.
        """
        train = self.train
        if train is None:
            return None
        if self.not_met:
            warn(f"chosen names {min(self.not_met)!r:.80} and {len(self.not_met) - 1} more that no explanation has.")
        often = sorted(self.near, key=lambda number: (-self.near[number][0], number))[:_SUSPECTS]
        suspects = [
            {
                "number": number,
                "text": train.shown(number),
                "label": train.labels[number],
                "mistakes": self.near[number][0],
                "examples": self.near[number][1],
                "otherwise": otherwise,
                "of": of,
                "suspect": 2 * otherwise > of,
            }
            for number, (otherwise, of) in zip(often, train.disagreement(often), strict=True)
        ]
        suspects.sort(key=lambda row: (not row["suspect"], -row["mistakes"], row["number"]))
        return {
            "texts": len(train.texts),
            "count": min(train.count, len(train.texts)),
            "mistakes": self.mistakes,
            "as_predicted": self.as_predicted,
            "examples": [place for _, place in self.surest],
            "suspects": suspects[:_SHOWN],
        }


def near_findings(near: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What is to be said of training texts where to look first: nothing where few mistakes lie among such."""
    if near is None:
        return []
    amid = near["as_predicted"] if near["as_predicted"] >= _FEWEST else 0
    suspects = sum(row["suspect"] and row["mistakes"] > 1 for row in near["suspects"])
    if not amid and not suspects:
        return []
    examples = near["examples"] if amid else []
    return [
        {"kind": "near", "as_predicted": amid, "mistakes": near["mistakes"], "suspects": suspects, "examples": examples}
    ]


def _wrong(explanation: Explanation, gold: str | None) -> bool:
    return gold is not None and explanation.label is not None and gold != explanation.label


def shown_beside(explanation: Explanation, neighbours: Sequence[Neighbour]) -> list[dict[str, Any]]:
    """Neighbours as a page shows them, with the strong words of the explained text that stand in each."""
    if not neighbours:
        return []
    sums = sum_by_word(words_beside(explanation))
    least = STRONG * max(map(abs, sums.values()), default=0.0)
    strong = [word for word in sorted(sums, key=lambda word: -abs(sums[word])) if abs(sums[word]) >= least > 0]
    shown = []
    for one in neighbours:
        words = {one.text[start:end].casefold() for start, end in word_spans(one.text)}
        parts = {"number": one.number, "text": one.text, "label": one.label, "similarity": one.similarity}
        shown.append({**parts, "same": one.same, "shared": [word for word in strong if word in words]})
    return shown
