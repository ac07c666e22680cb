# SPDX-License-Identifier: Apache-2.0
"""What else changed: a run beside another one over the same texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ...explain.explanation import Explanation
from .seen import SeenText, sum_by_word, words_beside
from .words import WordEffects

AHEAD = 1000  # explanations of the other run that wait for their text
LISTED = 12  # changed texts of each kind
_KINDS = ("broken", "fixed", "changed")


class OtherRun:
    """The explanations of another run, found by id while both come in about the same order; few are held at a time.

    Raises:
        ValueError: at a text whose id stands for another text in the other run.
    """

    def __init__(self, explanations: Iterator[Explanation], ahead: int = AHEAD) -> None:
        self._rest, self._ahead = explanations, ahead
        self._waiting: dict[str, tuple[int, Explanation]] = {}
        self._read = 0
        self.model: dict[str, Any] | None = None
        self.missing = 0  # texts that the other run lacks
        self.matched = 0

    def find(self, explanation: Explanation) -> Explanation | None:
        """The other run's explanation of the same text, if it is not far away."""
        while explanation.id not in self._waiting and len(self._waiting) < self._ahead:
            other = next(self._rest, None)
            if other is None:
                break
            self.model = self.model or other.to_dict()["model"]
            self._waiting[other.id] = (self._read, other)
            self._read += 1
        place, earlier = self._waiting.pop(explanation.id, (0, None))
        if earlier is None:
            self.missing += 1
            return None
        if (earlier.text, earlier.text_pair) != (explanation.text, explanation.text_pair):
            raise ValueError(
                f"against must hold explanations of the same texts, got another text for the id {earlier.id!r:.80}."
            )
        self.matched += 1
        # Those that were passed long ago have no text in this run.
        for id_ in [i for i, (at, _) in self._waiting.items() if at < place - self._ahead]:
            del self._waiting[id_]
        return earlier

    @property
    def alone(self) -> int:
        """How many texts only the other run has; reads it to its end."""
        self._read += sum(1 for _ in self._rest)
        return self._read - self.matched


class Changes:
    """Counts predictions that changed, and collects how the effects of words did."""

    def __init__(self, other: OtherRun) -> None:
        self.other = other
        self.counts: Counter[str] = Counter()  # changed, broken, fixed, labelled, right, right before
        self.moves: Counter[tuple[str, str]] = Counter()  # before, now
        self.effects = WordEffects()
        self.listed: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}

    def add(self, text: SeenText, explanation: Explanation) -> None:
        """Counts one text, where the other run has it too."""
        before = self.other.find(explanation)
        if before is None:
            return
        if text.gold is not None and text.predicted is not None:
            self.counts.update(labelled=1, right=not text.wrong, right_before=before.label == text.gold)
        if before.target.label == text.target:
            sums = sum_by_word(words_beside(before))
            self.effects.add(text.target, {word: s - sums[word] for word, s in text.words.items() if word in sums})
        if text.predicted is None or before.label is None or before.label == text.predicted:
            return
        self.counts["changed"] += 1
        self.moves[before.label, text.predicted] += 1
        kind = "changed"
        if text.gold is not None and text.gold in (before.label, text.predicted):
            kind = "broken" if text.wrong else "fixed"
            self.counts[kind] += 1
        if len(self.listed[kind]) < LISTED:
            entry = {"kind": kind, "before": before.label, "before_probability": before.probability}
            now = {"now": text.predicted, "now_probability": text.probability, "gold": text.gold}
            self.listed[kind].append({**entry, **now, "text": explanation.text, "place": text.place})

    def report(self, labels: Sequence[str]) -> dict[str, Any]:
        """What `render_report_index` shows of it.

        Raises:
            ValueError: no text in common.
        """
        alone = self.other.alone
        if not self.other.matched:
            raise ValueError("against must hold explanations of the same texts in about the same order, got none.")
        return {
            "model": self.other.model,
            "texts": self.other.matched,
            "only_here": self.other.missing,
            "only_there": alone,
            **{name: self.counts[name] for name in ("changed", "broken", "fixed", "labelled", "right", "right_before")},
            "moves": [{"before": a, "now": b, "texts": count} for (a, b), count in self.moves.most_common(20)],
            "words": self.effects.report(labels),
            "listed": [entry for kind in _KINDS for entry in self.listed[kind]],
        }
