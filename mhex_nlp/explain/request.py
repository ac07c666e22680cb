# SPDX-License-Identifier: Apache-2.0
"""What one call of the explainer asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from ..inputs.checks import as_integer
from ..models.config import AGGREGATIONS
from ..models.fit_weights import has_weights_of
from ..models.heads.readout import FittedReadout
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
    readout: FittedReadout | None  # the fitted matrices, where they explain
    changed_weights: Literal["refuse", "note"] = "refuse"
    budget: int = 0  # further passes over each text
    seed: int = 0  # of what they are asked about

    @property
    def fit(self) -> Mapping[str, Any] | None:
        """The record of the fit, where fitted matrices explain."""
        return None if self.readout is None else self.readout.record

    @property
    def of_heads(self) -> bool:
        """Whether the scores explain the heads' logits rather than the model's."""
        return self.readout is None and not self.budget

    def check_weights(self, model: Any) -> bool | None:
        """Whether the fit is of the model's weights; None where there is no fit, or one that does not say.

        Raises:
            ValueError: it is of others, and nobody said to go on.
        """
        same = None if self.fit is None else has_weights_of(model, self.fit)
        if same is False and self.changed_weights == "refuse":
            raise ValueError(
                "the model's weights are not those that its fit was made on, so the fitted matrices explain another "
                "model: fit_equivalent_matrices(model, tokenizer, texts) fits anew (changed_weights='note' goes on)."
            )
        return same


def choose_aggregation(name: str, model: Any, readout: FittedReadout | None) -> str:
    """ "fitted", "mean", "last" or "ema": `name`, or what "auto" is for a model with heads.

    Raises:
        ValueError: an unknown name, or "fitted" without fitted matrices.
    """
    if name not in ("auto", *AGGREGATIONS):
        raise ValueError(f"aggregation must be one of {['auto', *AGGREGATIONS]}, got {name!r}.")
    usual = "fitted" if readout is not None else str(model.mhex_config.aggregation)
    chosen = usual if name == "auto" else name
    if chosen == "fitted" and readout is None:
        raise ValueError(
            "aggregation='fitted' needs fitted equivalent matrices, which this model does not have: "
            "fit_equivalent_matrices(model, tokenizer, texts) makes them."
        )
    return chosen


def choose_contrast(name: str, classes: ClassTable, aggregation: str) -> str:
    """ "centred" or "none": `name`, or what "auto" is for the classes.

    Raises:
        ValueError: an unknown name, or one that the classes or fitted matrices do not allow.
    """
    if name not in ("auto", "centred", "none"):
        raise ValueError(f"contrast must be 'auto', 'centred' or 'none', got {name!r}.")
    if name == "centred" and not classes.exclusive:
        raise ValueError(
            f"contrast='centred' compares classes that exclude each other, got a model for {classes.task}."
        )
    usual = "centred" if classes.exclusive else "none"
    if name == "none" != usual and aggregation == "fitted":
        raise ValueError("contrast='none' cannot be had of fitted matrices, which explain centred logits.")
    return usual if name == "auto" else name


def check_changed_weights(value: Any) -> Literal["refuse", "note"]:
    """ValueError for what is neither."""
    if value not in ("refuse", "note"):
        raise ValueError(f"changed_weights must be 'refuse' or 'note', got {value!r}.")
    return "note" if value == "note" else "refuse"


def check_call(classes: str, layers: bool, budget: Any, seed: Any) -> tuple[int, int]:
    """The budget and the seed of a call as integers.

    Raises:
        ValueError: an option out of range, or layers with a budget.
    """
    if classes not in ("target", "all"):
        raise ValueError(f"classes must be 'target' or 'all', got {classes!r}.")
    budget = as_integer(budget, "budget", at_least=0)
    if budget % 2:
        raise ValueError(f"budget must be even, for passes come in pairs, got {budget}.")
    if budget and layers:
        raise ValueError("layers=True cannot be had with a budget, whose passes do not tell depths apart.")
    return budget, as_integer(seed, "seed", at_least=0)
