# SPDX-License-Identifier: Apache-2.0
"""What one call of the explainer asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from .parts import ModelRef
from .targets import ClassName, ClassTable


class CallOptions(TypedDict, total=False):
    """Keyword options of one call of `MhexExplainer`, and of its `stream`."""

    target: ClassName | None
    foil: ClassName | None
    classes: Literal["target", "all"]
    layers: bool
    budget: int
    seed: int
    ids: Iterable[str] | None


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
    fit: Mapping[str, Any] | None  # the record of the fit where fitted matrices explain
    budget: int = 0  # further passes over each text
    seed: int = 0  # of what they are asked about
