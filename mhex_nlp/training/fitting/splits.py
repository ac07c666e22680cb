# SPDX-License-Identifier: Apache-2.0
"""Texts to learn from, to choose by and to judge on, with near-duplicates of a text on one side.

Near-duplicates are found by MinHash (Broder 1997, "On the resemblance and containment of documents") over runs of
characters: signatures that agree in one of 16 bands, and then a Jaccard index of at least 0.7. Exact but for case,
space and punctuation is nearer still, and found in the same way.

Axes: B texts, H hashes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import xxhash
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...inputs.checks import as_integer

MAX_HELD_OUT = 300  # more would only make the choice slower, and memory grow
_RUN, _BANDS, _HASHES, _SIMILAR = 8, 16, 64, 0.7


class Splits(NamedTuple):
    """Numbers of texts, each in one of the three."""

    learn: list[int]
    choose: list[int]  # the ridge strength is chosen on these
    judge: list[int]  # seen by nothing but the judgement


def split(texts: Sequence[str], held_out: float, seed: int) -> Splits:
    """Draws two held-out parts of `held_out` of the texts (5 to 300) each; the rest is learnt from.

    Groups of near-duplicates that are larger than a part go to the rest.
    """
    return split_groups(near_duplicates(texts), held_out, seed)


def check_drawing(held_out: Any, seed: Any) -> int:
    """The seed as an integer; ValueError for what is none, and for a share that is not between 0 and 1."""
    if isinstance(held_out, bool) or not isinstance(held_out, Real) or not 0 < float(held_out) < 1:
        raise ValueError(f"held_out must be between 0 and 1, got {held_out!r}.")
    return as_integer(seed, "seed", at_least=0)


def split_groups(groups: np.ndarray, held_out: float, seed: int) -> Splits:
    """The same of (B,) numbers of groups, each of which is kept on one side."""
    members: dict[int, list[int]] = {}
    for number in np.random.default_rng(seed).permutation(len(groups)).tolist():
        members.setdefault(int(groups[number]), []).append(number)
    room = min(max(round(held_out * len(groups)), 5), MAX_HELD_OUT)
    splits = Splits([], [], [])
    for group in members.values():
        part = next((part for part in (splits.judge, splits.choose) if len(part) + len(group) <= room), splits.learn)
        part += group
    return splits


def near_duplicates(texts: Sequence[str]) -> np.ndarray:
    """(B,) int: texts of equal number are near-duplicates of each other, directly or by way of others."""
    runs = [_runs(text) for text in texts]
    generator = np.random.default_rng(0)
    factors, terms = generator.integers(0, 2**64, (2, _HASHES), dtype=np.uint64)
    signatures = [((factors | 1)[:, None] * run + terms[:, None] >> np.uint64(32)).min(1) for run in runs]
    first: dict[bytes, int] = {}  # of a band
    edges: list[tuple[int, int]] = []
    for number, signature in enumerate(signatures):
        for band, values in enumerate(signature.reshape(_BANDS, -1)):
            other = first.setdefault(bytes([band]) + values.tobytes(), number)
            if other != number and _jaccard(runs[other], runs[number]) >= _SIMILAR:
                edges.append((other, number))
    return connected(edges, len(texts))


def connected(edges: Sequence[tuple[int, int]], count: int) -> np.ndarray:
    """(count,) int: equal numbers are connected, directly or by way of others."""
    ends = np.array(edges, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _runs(text: str) -> np.ndarray:
    """The hashes of all runs of 8 characters, uint64; of the text where it is shorter."""
    plain = " ".join(re.findall(r"\w+", text.casefold())) or text
    starts = range(max(1, len(plain) - _RUN + 1))
    hashes = {xxhash.xxh3_64_intdigest(plain[start : start + _RUN].encode()) for start in starts}
    return np.fromiter(hashes, np.uint64, len(hashes))


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)
