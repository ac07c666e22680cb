# SPDX-License-Identifier: Apache-2.0
"""The search for a small set of words that turns a prediction, led by their scores and decided by answers.

Words stand in the order of what they are worth. How many of the first must be chosen is estimated by the scores, and by
the answers so far (regula falsi on the sum of what is chosen, in turn with bisection); then words of the set that the
rest can do without are taken out. (Ours, beyond the paper.) Pure NumPy, nothing here runs a model.

Axes: W words, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Chosen = NDArray[np.bool_]  # (W,)


class Answer(NamedTuple):
    """What an answer says: whether the prediction turned, and by how many logits it was short of it."""

    turned: bool
    gap: float  # at most 0 where it turned


class SearchResult(NamedTuple):
    """The smallest set that turned the prediction, and the logits (C,) that it led to; None where there was none."""

    words: Chosen | None
    logits: Array | None
    passes: int  # that are left


def search_flip(
    worth: Array, start: float, passes: int, judge: Callable[[Array], Answer]
) -> Generator[Chosen, Array, SearchResult]:
    """Yields sets of words and takes the logits (C,) that each leads to.

    Args:
        worth: (W,) by how much each word is expected to lower the gap; words that are worth nothing are not chosen.
        start: the gap where no word is chosen.
        passes: sets at the most.
        judge: what logits say.
    """
    order = np.argsort(-worth, kind="stable")[: int((worth > 0).sum())]
    prefixes = _Prefixes(np.concatenate([[0.0], np.cumsum(worth[order])]), start)
    best = start, np.zeros(0)  # the gap and the logits of the smallest set that turned
    short: set[frozenset[int]] = set()  # the sets that did not turn, which need not be asked about again
    while passes and (count := prefixes.next_count()):
        logits = yield _chosen(order[:count], len(worth))
        passes -= 1
        answer = judge(logits)
        prefixes.take(count, answer)
        best = (answer.gap, logits) if answer.turned else best
        if not answer.turned:
            short.add(frozenset(order[:count].tolist()))
    if prefixes.high is None:
        return SearchResult(None, None, passes)
    kept = [int(word) for word in order[: prefixes.high]]
    # the set without its last word, where that was asked about, did not turn; what is worth least is doubted first
    doubtful = kept[-2::-1] if prefixes.low == prefixes.high - 1 else kept[::-1]
    group: list[int] = []
    while passes and doubtful and len(kept) > 1:
        group = group or doubtful[: _spared(worth[doubtful], float(worth[kept].sum()), start, best[0], len(kept))]
        rest = [word for word in kept if word not in group]
        turned = frozenset(rest) not in short
        if turned:
            logits = yield _chosen(np.array(rest), len(worth))
            passes -= 1
            answer = judge(logits)
            turned = answer.turned
        if turned:
            kept, best = rest, (answer.gap, logits)
            doubtful, group = [word for word in doubtful if word not in group], []
            continue
        short.add(frozenset(rest))
        if len(group) > 1:
            group = group[: len(group) // 2]
        else:
            doubtful, group = doubtful[1:], []
    return SearchResult(_chosen(np.array(kept), len(worth)), best[1], passes)


class _Prefixes:
    """How many of the first words turn the prediction: more than `low`, and `high` at the most.

    `reach` (K + 1,) is what the first 0, 1, ... K words are worth together.
    """

    def __init__(self, reach: Array, start: float) -> None:
        self.reach, self.gaps = reach, {0: start}
        self.low: int = 0
        self.high: int | None = None
        self._tries = 0

    def next_count(self) -> int:
        """How many to ask about; 0 where nothing is left to be asked."""
        most = len(self.reach) - 1
        if self.low == most or (self.high is not None and self.high - self.low < 2):
            return 0
        self._tries += 1
        if self.high is None:
            if self._tries > 2:
                return most
            return int(np.clip(self._count_at(self._needed()), max(self.low + 1, min(2 * self.low, most)), most))
        if self._tries % 2:
            return (self.low + self.high) // 2
        here, there = self.gaps[self.low], self.gaps[self.high]
        share = here / (here - there) if here > there else 0.5
        needed = self.reach[self.low] + share * (self.reach[self.high] - self.reach[self.low])
        return int(np.clip(self._count_at(float(needed)), self.low + 1, self.high - 1))

    def take(self, count: int, answer: Answer) -> None:
        """The answer to the first `count` words."""
        self.gaps[count] = answer.gap
        if answer.turned:
            self.high, self._tries = count, 1
        else:
            self.low = count

    def _needed(self) -> float:
        """What must be chosen to turn the prediction, if answers go on as they did so far."""
        start, here = self.gaps[0], self.gaps[self.low]
        if self.low == 0:
            return start
        return float(start * self.reach[self.low] / (start - here)) if start > here else float("inf")

    def _count_at(self, needed: float) -> int:
        return int(np.searchsorted(self.reach, needed * (1 - 1e-9)))


def _spared(doubtful: Array, whole: float, start: float, gap: float, size: int) -> int:
    """How many of the doubtful words, the one that is worth least first, seem to be more than is needed: 1 or more."""
    slack = -gap * whole / (start - gap) if start > gap else 0.0
    return int(np.clip(np.searchsorted(np.cumsum(doubtful), slack, side="right"), 1, size - 1))


def _chosen(words: NDArray[np.int64], count: int) -> Chosen:
    chosen = np.zeros(count, dtype=bool)
    chosen[words] = True
    return chosen
