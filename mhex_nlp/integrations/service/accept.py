# SPDX-License-Identifier: Apache-2.0
"""Which form an answer has, by the header `Accept` (RFC 9110, 12.5.1)."""

from __future__ import annotations

from .requests import RefusedError

HTML, JSON = "text/html", "application/json"


def chosen_type(accept: str | None, explain: bool) -> str:
    """HTML where it is preferred to JSON, else JSON.

    Raises:
        RefusedError: neither is accepted, or HTML alone of a prediction that is not explained.
    """
    header = accept or "*/*"
    html, json = _weight(header, HTML), _weight(header, JSON)
    if html > json and explain:
        return HTML
    if json:
        return JSON
    if html:
        raise RefusedError(406, "accept", "HTML is for explanations: ask with ?explain=true.")
    raise RefusedError(406, "accept", f"the answer can be {JSON} or {HTML}, and Accept takes neither.")


def _weight(header: str, wanted: str) -> float:
    """How much a type is wanted, 0 to 1, by the most specific range that it is in."""
    precision = {"*/*": 0, f"{wanted.partition('/')[0]}/*": 1, wanted: 2}
    best = (-1, 0.0)
    for part in header.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in precision:
            weight = next((_quality(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
            best = max(best, (precision[kind], weight))
    return best[1]


def _quality(value: str) -> float:
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
