# SPDX-License-Identifier: Apache-2.0
"""Learning from texts, or images, until more of them bring no more skill.

Axes: F features, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isfinite
from typing import NamedTuple

from torch import Tensor

from ...explain.skill import Rows
from .ridge import RidgeStream
from .solving import best_solution

FIRST = 250  # texts learnt from before skill is looked at for the first time; then twice as many each time
FEWEST = 50  # rows that are solved before the last stage


class Learnt(NamedTuple):
    """What was learnt, and from how much."""

    weights: Tensor  # (F, C) float64
    strength: float
    curve: tuple[tuple[int, float], ...]  # texts, and the skill on those that strengths are chosen by, after each stage


def check_min_gain(value: object) -> float | None:
    """It as a number, if it is one or `None`; ValueError otherwise."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"min_gain must be a gain in skill such as 0.005, or None, got {value!r}.")
    return float(value)


def learn(
    stream: RidgeStream,
    numbers: Sequence[int],
    rows: Callable[[Sequence[int]], Iterable[Rows]],
    chosen_on: Sequence[Rows],
    min_gain: float | None,
) -> Learnt:
    """Adds the rows of texts to the stream and solves; in stages, each of as many texts as all before it.

    Args:
        stream: of equations; empty.
        numbers: of the texts to learn from, in the order in which they are taken.
        rows: makes those of some of them.
        chosen_on: rows of other texts, by which strengths are chosen and stages compared.
        min_gain: stop when a stage has raised the skill on `chosen_on` by less; `None` learns from all texts at once.

    Raises:
        ValueError: nothing can be fitted to the model's states.
    """
    curve: list[tuple[int, float]] = []
    learnt = 0
    for stage in _stages(numbers, min_gain is not None):
        for text_rows in rows(stage):
            stream.add(*text_rows.equations())
        learnt += len(stage)
        if stream.rows < FEWEST and learnt < len(numbers):
            continue  # places may be rare
        solution = best_solution(stream, chosen_on)
        curve.append((learnt, solution.skill))
        if min_gain is not None and len(curve) > 1 and curve[-1][1] - curve[-2][1] < min_gain:
            break
    return Learnt(solution.weights, solution.strength, tuple(curve))


def _stages(numbers: Sequence[int], in_stages: bool) -> Iterator[Sequence[int]]:
    start, end = 0, FIRST if in_stages else len(numbers)
    while start < len(numbers):
        # a rest of less than half a stage goes with the last, for little could be seen of it
        end = len(numbers) if len(numbers) < 1.5 * end else end
        yield numbers[start:end]
        start, end = end, 2 * end
