# SPDX-License-Identifier: Apache-2.0
"""Numbers as all displays write them: three significant digits, so that none but 0 looks like 0."""

from __future__ import annotations

_DIGITS = 3


def signed(score: float) -> str:
    """A finite score with its sign, as "+0.0213", "-12.3" and "+4.50e-07"; "0" has none."""
    if score == 0:
        return "0"
    rounded = f"{score:.{_DIGITS - 1}e}"  # rounds 0.9996 up to the next power
    power = int(rounded.partition("e")[2])
    if not -4 <= power < 6:
        return f"{score:+.{_DIGITS - 1}e}"
    return f"{float(rounded):+.{max(_DIGITS - 1 - power, 0)}f}"


def plain(value: float) -> str:
    """The same without a plus, for what is no score."""
    return signed(value).removeprefix("+")
