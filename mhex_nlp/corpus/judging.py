# SPDX-License-Identifier: Apache-2.0
"""How far scores can be trusted on the rows of a source: `MhexExplainer.judge` on some of them that are drawn."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xxhash

from ..explain.text_explainer import TextExplainer
from ..inputs.texts import warn
from .explained_rows import ExplainedEntities, explain_rows, tokenise_rows
from .judged import SampleJudgement
from .readers.rows import Row


def draw(numbers: Iterable[int], count: int, seed: int) -> list[int]:
    """`count` of the numbers, or all where they are fewer, in order; those that are drawn depend on the seed alone."""
    return sorted(heapq.nsmallest(count, numbers, key=lambda number: _order(number, seed)))


def _order(number: int, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(number.to_bytes(8, "little"), seed=seed % 2**64)


class Sample:
    """Rows drawn while they are read, as `draw` draws them when all numbers are known: however a job is split."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._heap: list[tuple[int, int, Row]] = []  # the last in order first

    def add(self, rows: Iterable[Row]) -> None:
        """Draws among these rows as well."""
        for row in rows:
            entry = (-_order(row.number, self.seed), row.number, row)
            (heapq.heappush if len(self._heap) < self.count else heapq.heappushpop)(self._heap, entry)

    @property
    def rows(self) -> list[Row]:
        """Those that are drawn, in order."""
        return sorted((row for _, _, row in self._heap), key=lambda row: row.number)


def judge_rows(
    explainer: TextExplainer[Any], rows: Sequence[Row], asked: int, seed: int, tied_to: Mapping[str, Any] | None = None
) -> SampleJudgement | None:
    """What `explainer.judge` says of rows that were drawn; None, with a warning, where it can judge none of them.

    Args:
        explainer: whose one-pass scores are judged.
        rows: drawn, without repetition.
        asked: how many were to be drawn.
        seed: of what is asked about them.
        tied_to: `weights`, `settings` and `rows` of a job, by their hashes.
    """
    request = explainer.request(budget=0)
    items = tokenise_rows(explainer, rows)
    reasons = {row.number: item for row, item in zip(rows, items, strict=True) if isinstance(item, str)}
    for row, result in zip(rows, explain_rows(explainer, request, items), strict=True):
        if isinstance(result, str):
            reasons[row.number] = result
        elif isinstance(result, ExplainedEntities) and not result.entities:
            reasons[row.number] = "the model finds no entity in it"
        elif all(len(part.content_positions(request.causal)) < 2 for part in result.item.inputs):
            reasons[row.number] = "the text has a single token"
    judged = [row for row in rows if row.number not in reasons]
    if not judged:
        first = f", such as row {rows[0].number}: {reasons[rows[0].number].rstrip('.')}" if rows else ""
        warn(f"judge: none of the {len(rows)} rows that were drawn can be judged{first}.")
        return None
    pairs = None if judged[0].text_pair is None else [row.text_pair or "" for row in judged]
    halves = () if pairs is None else (pairs,)
    judges: Any = explainer  # each class takes texts by names of its own
    judgement = judges.judge([row.text for row in judged], *halves, seed=seed)
    figures: dict[str, Any] = {name: getattr(judgement, name) for name in judgement.__slots__}
    return SampleJudgement(
        **{**figures, "texts": len(judged)},
        **{"weights": "", "settings": "", "rows": "", **(tied_to or {})},
        asked=asked,
        drawn=len(rows),
        passed_over=len(reasons),
        foreign=judgement.foreign,
    )
