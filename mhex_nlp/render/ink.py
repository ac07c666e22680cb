# SPDX-License-Identifier: Apache-2.0
"""How deep colours are: ink says how much words matter, not only which of them matters most.

A unit has full colour at the score F, and its level is the part of F that its |score| is, in tenths, at most ten:

    F = top * max(1, need / mass)

`top` is the largest |score| of the units, `mass` the sum of all their |scores|, `need` the |logit explained|, of a
classifier at least one logit, for less moves no odds by more than e. So the strongest word is at full depth where the
words could make up the logit by themselves, and as pale as the part of it that they could make up elsewhere. (Ours,
beyond the paper.) Many texts may share one F instead.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from .numbers import plain

_LEAST = 1.0  # logits of a classifier that words must be able to make up, for full colour
_QUANTILE = 0.75  # of the texts that have no word beyond the scale that they share


def full_score(scored: Mapping[str, Any], scores: Sequence[float], others: Sequence[float] = ()) -> float:
    """The |score| of full colour in one text; 0 where no unit has a score.

    Args:
        scored: an explanation in JSON form, or what has scores alone, of which the largest has full colour.
        scores: of the units that are coloured.
        others: of the units that stand beside the scale, such as the place explained.
    """
    top = max(map(abs, scores), default=0.0)
    if top == 0 or "base_value" not in scored:
        return top
    need = min(abs(scored["base_value"] + scored["sum"]), sys.float_info.max)
    if "value" not in scored["prediction"]:
        need = max(need, _LEAST)
    share = math.fsum(min(abs(score) / top, sys.float_info.max / 1e9) for score in (*scores, *others))  # mass / top
    return max(top, need / share)


def shared_scale(full_scores: Iterable[float]) -> float | None:
    """One |score| of full colour for many texts, of which three in four reach it by no word; None where all are 0."""
    ordered = sorted(full for full in full_scores if 0 < full < math.inf)
    return ordered[math.ceil(_QUANTILE * len(ordered)) - 1] if ordered else None


def check_scale(scale: Any) -> None:
    """ValueError for a shared scale that is no positive number."""
    if scale is not None and not (
        isinstance(scale, Real) and not isinstance(scale, bool) and 0 < float(scale) < math.inf
    ):
        raise ValueError(f"scale must be a positive number, or None for each text's own, got {scale!r}.")


def describe_scale(scale: float | None) -> str:
    """What a legend says of the scale of colours."""
    if scale is None:
        return "each text has its own scale, pale where words explain little"
    return f"one scale for all texts, full colour at \u00b1{plain(scale)}"
