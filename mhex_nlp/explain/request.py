# SPDX-License-Identifier: Apache-2.0
"""What one call of the explainer asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Protocol, TypedDict

from ..inputs.checks import as_integer
from ..models.config import AGGREGATIONS
from .parts import ModelRef
from .targets import ClassName, ClassTable

Budget = int | Literal["auto"]
MOST = 128  # passes that budget="auto" spends on a text, where nothing else is said


class Further(TypedDict, total=False):
    """Keyword options that say how many further passes there may be, and what they ask about."""

    budget: Budget
    tolerance: float | None
    max_budget: int | None
    seed: int


class RequestOptions(Further, total=False):
    """Keyword options of explainers that say what to explain, and at what cost."""

    target: ClassName | None
    foil: ClassName | None
    classes: Literal["target", "all"]
    layers: bool


class CallOptions(RequestOptions, total=False):
    """Keyword options of one call of an explainer."""

    ids: Iterable[str] | None


class TextOptions(RequestOptions, total=False):
    """The same for `MhexExplainer.stream`."""

    flip: bool


class TextCallOptions(CallOptions, total=False):
    """The same for one call of `MhexExplainer`."""

    flip: bool


class Fitted(Protocol):
    """Fitted matrices, of torch or in an exported graph."""

    @property
    def record(self) -> Mapping[str, Any]:
        """Of their fit: it says how good they are."""


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
    readout: Any  # `Fitted`, or None: the fitted matrices, where they explain
    changed_weights: Literal["refuse", "note"] = "refuse"
    budget: int = 0  # further passes over each text, at the most
    tolerance: float | None = None  # of doubt in the ranking of the leading words; None: all of the budget is spent
    seed: int = 0  # of what they are asked about
    at: Any = None  # the places explained: "all", [start, end) of some, or those that the model finds
    types: tuple[str | None, str | None] = (None, None)  # target and foil, where they are types of entities
    flip: bool = False  # whether words are searched that turn the prediction

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
        from ..models.fit_weights import has_weights_of  # torch: not where a graph explains

        same = None if self.fit is None else has_weights_of(model, self.fit)
        if same is False and self.changed_weights == "refuse":
            raise ValueError(
                "the model's weights are not those that its fit was made on, so the fitted matrices explain another "
                "model: fit_equivalent_matrices(model, tokenizer, texts) fits anew (changed_weights='note' goes on)."
            )
        return same


def choose_aggregation(name: str, model: Any, readout: Fitted | None) -> str:
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


def check_call(
    classes: str, layers: bool, budget: Any, tolerance: Any, max_budget: Any, seed: Any
) -> tuple[int, float | None, int]:
    """The budget, the tolerance (`None`: spend all of it) and the seed of a call.

    Raises:
        ValueError: an option out of range, layers with a budget, or what is for "auto" with another budget.
    """
    if classes not in ("target", "all"):
        raise ValueError(f"classes must be 'target' or 'all', got {classes!r}.")
    auto = isinstance(budget, str) and budget == "auto"
    for name, value in (("tolerance", tolerance), ("max_budget", max_budget)):
        if value is not None and not auto:
            raise ValueError(f"{name} is for budget='auto', got {name}={value!r} with budget={budget!r}.")
    if auto:
        name, passes = "max_budget", as_integer(MOST if max_budget is None else max_budget, "max_budget", at_least=2)
    else:
        name, expected = "budget", "an integer of at least 0, or 'auto'"
        passes = as_integer(budget, "budget", at_least=0, expected=expected)
    if passes % 2:
        raise ValueError(f"{name} must be even, for passes come in pairs, got {passes}.")
    if passes and layers:
        raise ValueError("layers=True cannot be had with a budget, whose passes do not tell depths apart.")
    return passes, _check_tolerance(tolerance) if auto else None, as_integer(seed, "seed", at_least=0)


def _check_tolerance(tolerance: Any) -> float:
    if tolerance is None:
        return 0.05
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 < float(tolerance) < 1:
        raise ValueError(f"tolerance must be a number between 0 and 1, got {tolerance!r}.")
    return float(tolerance)
