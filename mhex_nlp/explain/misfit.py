# SPDX-License-Identifier: Apache-2.0
"""What a model says of a text with everything removed, looked up by length in the record of a fit.

By mask token, or hidden from attention, all texts of one length are the same once they are empty, but for where the
halves of a pair meet; so a fit asks about some lengths, and what lies between is interpolated (ours, beyond the paper).

Axes: B inputs, C labels, R lengths that were asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.encoding import TokenisedText


def is_empty_of_all(item: TokenisedText, causal: bool) -> bool:
    """Whether nothing of its own stays in the empty text, as the token does from which a decoder reads its label."""
    return not causal or len(item.content_positions(True)) == len(item.content_positions(False))


def empty_answers(items: Sequence[TokenisedText], fit: Mapping[str, Any], causal: bool) -> NDArray[np.float64] | None:
    """(B, C) float64: v(empty) of each input, NaN beyond the lengths that the fit knows; None where it knows none."""
    known = fit.get("empty")
    if known is None:
        return None
    lengths, values = np.asarray(known["lengths"]), np.asarray(known["values"], dtype=np.float64)  # (R,), (R, C)
    sizes = [len(item.content_positions(causal)) if is_empty_of_all(item, causal) else -1 for item in items]
    columns = [np.interp(sizes, lengths, column, left=np.nan, right=np.nan) for column in values.T]
    return np.stack(columns, axis=1)
