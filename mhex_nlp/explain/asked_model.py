# SPDX-License-Identifier: Apache-2.0
"""What budgets and flip sets ask about parts of texts: a model of torch, or an exported graph. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..inputs.encoding import TokenisedText


class AskedModel(Protocol):
    """Says what it predicts of texts of which only some tokens are kept.

    One about places in texts has `empty_logits` as well: what it says there when nothing stays, not even they.
    """

    @property
    def removal(self) -> str:
        """How tokens are taken out: "mask", "deletion" or "attention"."""

    def kept_logits(self, items: Sequence[TokenisedText], subsets: Sequence[Any]) -> list[Any]:
        """(S, C) float32 for each text, of subsets (S, N) bool of its content tokens; ValueError where not finite."""


def asked(
    model: AskedModel, items: Sequence[TokenisedText], subsets: Sequence[NDArray[np.bool_]]
) -> list[NDArray[np.float64]]:
    """What `model` says of subsets (S, N) bool of each text, (S, C) float64 each."""
    return [np.asarray(logits, dtype=np.float64) for logits in model.kept_logits(items, subsets)]
