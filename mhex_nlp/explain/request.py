# SPDX-License-Identifier: Apache-2.0
"""What one call of the explainer asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..models.heads.readout import FittedReadout
from .parts import ModelRef
from .targets import ClassTable


@dataclass(frozen=True, slots=True)
class Request:
    """What one call asks for, checked: classes by id, the contrast and the aggregation by name."""

    table: ClassTable
    target: int | None
    foil: int | None
    all_classes: bool
    layers: bool
    contrast: str
    aggregation: str
    beta: float
    non_negative: bool
    language: str | None
    model: ModelRef
    causal: bool  # a decoder: its last token, which it reads the label off, is never the text's own
    readout: FittedReadout | None  # the fitted matrices, where they explain

    @property
    def fit(self) -> Mapping[str, Any] | None:
        """The record of the fit, where fitted matrices explain."""
        return None if self.readout is None else self.readout.record
