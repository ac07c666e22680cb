# SPDX-License-Identifier: Apache-2.0
"""The parts of a context explanation, as plain values that cannot be changed; field order is the order in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of the prompt that can be removed: `text` is the prompt at [start, end) in code points."""

    text: str
    start: int
    end: int
    kind: Literal["sentence", "word", "token"]


@dataclass(frozen=True, slots=True)
class ContinuationSpan:
    """A part of the continuation, [start, end) in its code points, and what each unit adds to its log-probability."""

    text: str
    start: int
    end: int
    log_probability: float  # nats, of its tokens given the whole prompt and what comes before them
    empty_log_probability: float | None  # without any unit; `None` where that was not asked
    scores: tuple[float, ...]  # one a unit, nats
    errors: tuple[float, ...] | None  # their standard deviations
    lds: float | None  # Spearman correlation of what the scores predict and what the model said, on held-out ablations
