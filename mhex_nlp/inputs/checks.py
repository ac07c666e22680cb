# SPDX-License-Identifier: Apache-2.0
"""Numbers as users give them, checked. Pure Python."""

from __future__ import annotations

import operator
from typing import Any


def integer_or_none(value: Any) -> int | None:
    """What an integer of Python, NumPy or torch is; `None` for anything else, truth values included."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_integer(value: Any, name: str, *, at_least: int | None = None, expected: str | None = None) -> int:
    """`value` as a Python integer; else ValueError, or TypeError without `at_least`, says what `name` must be."""
    number = integer_or_none(value)
    if number is not None and (at_least is None or number >= at_least):
        return number
    expected = expected or ("an integer" if at_least is None else f"an integer of at least {at_least}")
    raise (TypeError if at_least is None else ValueError)(f"{name} must be {expected}, got {value!r}.")


def check_share(value: Any, name: str) -> float:
    """`value`, a share from 0 to 1; TypeError for what is no number, ValueError for one out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share from 0 to 1, got {value!r}.")
    return float(value)
