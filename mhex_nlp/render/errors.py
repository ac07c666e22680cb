# SPDX-License-Identifier: Apache-2.0
"""How sure scores are, after a budget of passes: errors of sums, signs that are not settled, numbers with errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SETTLED_FROM = 1.645  # errors that a score is from 0: then 0 is outside the interval of 90 %
DEVIATION = "\u00b1 is one standard deviation"
NOT_SETTLED = f"sign not settled, |score| below {SETTLED_FROM:g} \u00b1"
MARK = "[?]"  # after a word whose sign is not settled, where there is plain text alone
_LEAST = 1e-300  # what is smaller cannot be scaled
_DIGITS = 5  # of the larger of score and error: scores are in 32 bits


def span_error(covariance: Sequence[Sequence[float]], tokens: Iterable[int]) -> float:
    """The standard deviation of the sum of some tokens' scores.

    Args:
        covariance: of all tokens' scores, the lower triangle: row i has i + 1 entries.
        tokens: indices, each once.
    """
    rows = sorted(tokens)
    variance = math.fsum(
        covariance[row][column] * (1 if row == column else 2)
        for count, row in enumerate(rows, 1)
        for column in rows[:count]
    )
    return max(variance, 0.0) ** 0.5


def is_settled(score: float, error: float | None) -> bool:
    """Whether the sign of a score is: 0 is not within 90 % of where it may be. So is one whose error nobody knows."""
    return error is None or abs(score) >= SETTLED_FROM * error


def with_error(score: float, error: float) -> str:
    """Both to the second digit of the error, as in "+0.42 ± 0.11"; an error below what the score is known to is 0."""
    largest = max(abs(score), error)
    if largest < _LEAST:
        return "+0.00 \u00b1 0"
    power = math.floor(math.log10(largest))
    if not -4 <= power < 6:
        return f"({with_error(score / 10.0**power, error / 10.0**power)})e{power:+03d}"
    decimals = _DIGITS - 1 - power
    if error >= _LEAST:
        decimals = min(decimals, 1 - int(f"{error:.1e}".partition("e")[2]))
    decimals = max(decimals, 0)
    deviation = f"{error:.{decimals}f}" if round(error, decimals) else "0"
    return f"{round(score, decimals) + 0.0:+.{decimals}f} \u00b1 {deviation}"


def error_legend(explanations: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """What the errors of explanations in JSON form are, and what the mark of a word says; None where none has any."""
    passes = sorted({explanation.get("passes", 1) for explanation in explanations if "covariance" in explanation})
    if not passes:
        return None
    counts = " to ".join(f"1 + {count - 1:,}" for count in dict.fromkeys((passes[0], passes[-1])))
    return f"{DEVIATION}, after {counts} passes", NOT_SETTLED
