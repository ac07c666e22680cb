# SPDX-License-Identifier: Apache-2.0
"""Runs of neighbours that score highest together. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence


def maximal_runs(scores: Sequence[float]) -> list[tuple[int, int]]:
    """All maximal scoring subsequences [start, stop) of `scores`, in order; no two of them overlap or touch.

    The best of them is the run of the greatest sum there is; the others are what the same search finds in what is left
    on either side of it, and so on. Each begins and ends with a positive score; without a positive score there is none.
    Found in linear time (Ruzzo & Tompa 1999, "A linear time algorithm for finding all maximal scoring subsequences").
    """
    found: list[tuple[int, int]] = []
    before: list[float] = []  # the sum of all scores before each candidate ...
    after: list[float] = []  # ... and up to its end
    lower: list[int] = []  # the nearest candidate to the left with a smaller sum before it; -1: there is none
    total = 0.0
    for index, score in enumerate(scores):
        left, total = total, total + score
        if score <= 0:
            continue
        start = index
        while True:
            other = len(found) - 1
            while other >= 0 and before[other] >= left:
                other = lower[other]
            if other < 0 or after[other] >= total:
                break
            start, left = found[other][0], before[other]
            for values in (found, before, after, lower):
                del values[other:]
        found.append((start, index + 1))
        before.append(left)
        after.append(total)
        lower.append(other)
    return found
