# SPDX-License-Identifier: Apache-2.0
"""From the evidence of a model's inputs, batch by batch, to that of texts, which may be several inputs each.

Axes: B inputs of a batch, T tokens, L depths, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ..inputs.encoding import TokenisedText
from ..inputs.windows import merge
from .refinement import Sureness
from .scores import Evidence


class WindowMerger:
    """Collects the evidence of texts whose windows lie in several batches, and hands on each text once it is whole.

    Args:
        items: the texts; `inputs` are their windows, or the texts themselves, in order.
    """

    def __init__(self, items: Sequence[TokenisedText]) -> None:
        self.items = items
        self.inputs = [part for item in items for part in item.inputs]
        self._owners = [index for index, item in enumerate(items) for _ in item.inputs]
        self._waiting: dict[int, dict[int, Evidence]] = {}  # by text, the windows that are there

    def add(self, batch: Sequence[int], evidence: Evidence) -> Iterator[tuple[list[int], Evidence]]:
        """Takes the evidence of the inputs of these numbers; yields the texts that are whole now, by their indices."""
        whole = [row for row, number in enumerate(batch) if not self.items[self._owners[number]].windows]
        if whole:
            evidence_of_whole = evidence if len(whole) == len(batch) else evidence.select(whole)
            yield [self._owners[batch[row]] for row in whole], evidence_of_whole
        for row in sorted(set(range(len(batch))) - set(whole)):
            number, index = batch[row], self._owners[batch[row]]
            windows = self._waiting.setdefault(index, {})
            windows[number] = evidence.select([row])
            if len(windows) == len(self.items[index].windows):
                del self._waiting[index]
                yield [index], _joined([windows[number] for number in sorted(windows)], self.items[index])


def _joined(parts: Sequence[Evidence], item: TokenisedText) -> Evidence:
    """The evidence of a text from that of its windows, in their order."""
    per_depth = merge([part.per_depth[0] for part in parts], item.windows, len(item))
    logits = torch.cat([part.logits for part in parts]).mean(0, keepdim=True)
    explained = torch.cat([part.explained for part in parts]).mean(0, keepdim=True)
    known = [part.empty for part in parts if part.empty is not None]
    empty = torch.cat(known).mean(0, keepdim=True) if known else None
    return Evidence(per_depth[None], logits, explained, empty, _placed(parts, item), parts[0].fit_holds)


def _placed(parts: Sequence[Evidence], item: TokenisedText) -> tuple[tuple[Sureness, ...], ...] | None:
    """How sure the text's scores are, by how sure those of its windows are."""
    placed: list[Sureness] = []
    for part, window in zip(parts, item.windows, strict=True):
        if part.sureness is None:
            return None
        places = window.positions.tolist()
        placed += [sureness.within(places, len(parts)) for sureness in part.sureness[0]]
    return (tuple(placed),)
