# SPDX-License-Identifier: Apache-2.0
"""From the evidence of a model's inputs, batch by batch, to that of texts, which may be several inputs each.

Axes: B inputs of a batch, T tokens, L depths, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..inputs.encoding import TokenisedText
from ..inputs.windows import merge
from .refinement import Sureness
from .scores import Evidence, stack

Refine = Callable[[Sequence[TokenisedText], Evidence], Evidence]


class WindowMerger:
    """Collects the evidence of texts whose windows lie in several batches, and hands on each text once it is whole.

    Args:
        items: the texts; `inputs` are their windows, or the texts themselves, in order.
        refine: what to do with the evidence of the inputs of texts that are all there, before windows are joined.
    """

    def __init__(self, items: Sequence[TokenisedText], refine: Refine | None = None) -> None:
        self.items, self._refine = items, refine
        self.inputs = [part for item in items for part in item.inputs]
        self._owners = [index for index, item in enumerate(items) for _ in item.inputs]
        self._waiting: dict[int, dict[int, Evidence]] = {}  # by text, the windows that are there

    def add(self, batch: Sequence[int], evidence: Evidence) -> Iterator[tuple[list[int], Evidence]]:
        """Takes the evidence of the inputs of these numbers; yields the texts that are whole now, by their indices."""
        whole = [row for row, number in enumerate(batch) if not self.items[self._owners[number]].windows]
        if whole:
            evidence_of_whole = evidence if len(whole) == len(batch) else evidence.select(whole)
            indices = [self._owners[batch[row]] for row in whole]
            yield indices, self._refined(indices, evidence_of_whole)
        for row in sorted(set(range(len(batch))) - set(whole)):
            number, index = batch[row], self._owners[batch[row]]
            windows = self._waiting.setdefault(index, {})
            windows[number] = evidence.select([row])
            if len(windows) == len(self.items[index].windows):
                del self._waiting[index]
                parts = stack([windows[number] for number in sorted(windows)])
                yield [index], join_windows(self._refined([index], parts), self.items[index])

    def _refined(self, indices: Sequence[int], evidence: Evidence) -> Evidence:
        return evidence if self._refine is None else self._refine([self.items[index] for index in indices], evidence)


def join_windows(parts: Evidence, item: TokenisedText) -> Evidence:
    """The evidence of a text, (1, T, L, C), from that of its windows, in their order."""
    per_depth = merge(list(parts.per_depth), item.windows, len(item))
    return replace(
        parts,
        per_depth=per_depth[None],
        logits=parts.logits.mean(0, keepdims=True),
        explained=parts.explained.mean(0, keepdims=True),
        empty=None if parts.empty is None else parts.empty.mean(0, keepdims=True),
        sureness=_placed(parts, item),
        settled=parts.settled and parts.settled[:1],
        answers=parts.answers and parts.answers[:1],
    )


def _placed(parts: Evidence, item: TokenisedText) -> tuple[tuple[Sureness, ...], ...] | None:
    """How sure the text's scores are, by how sure those of its windows are."""
    if parts.sureness is None:
        return None
    count, rows = len(item.windows), zip(parts.sureness, item.windows, strict=True)
    return (tuple(one.within(window.positions.tolist(), count) for row, window in rows for one in row),)
