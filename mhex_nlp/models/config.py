# SPDX-License-Identifier: Apache-2.0
"""What a MHEX head is made of, kept as a plain dict in `model.config.mhex`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..inputs.checks import as_integer

AGGREGATIONS = ("mean", "last", "ema", "fitted")


@dataclass(frozen=True, slots=True)
class MhexConfig:
    """Settings of the heads; every value is JSON, so that any transformers config can carry it.

    Args:
        gate: scale each layer's attention output by the attention gate. `False` leaves every prediction of the
            model bit-identical for ever: the heads only read.
        loss_weight: weight of the mean head loss beside the task loss (the lambda of the deep supervision).
        aggregation: how depths become one map by default: "mean", "last", "ema" or "fitted".
        beta: smoothing of "ema", in [0, 1).
        faithfulness_weight: weight of the faithfulness loss (`faithfulness.faithfulness_loss`) in training, which costs
            a second forward pass a step; 0 leaves it out.
        mask_token_id: what that second pass puts in the place of the tokens it removes, such as the tokenizer's; `None`
            hides them by the attention mask.

    Raises:
        TypeError, ValueError: a field of the wrong type or out of its range.
    """

    gate: bool = True
    loss_weight: float = 0.3
    aggregation: str = "mean"
    beta: float = 0.5
    faithfulness_weight: float = 0.0
    mask_token_id: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.gate, bool):
            raise TypeError(f"MhexConfig.gate must be True or False, got {self.gate!r}.")
        for name in ("loss_weight", "beta", "faithfulness_weight"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"MhexConfig.{name} must be a number, got {value!r}.")
        for name in ("loss_weight", "faithfulness_weight"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"MhexConfig.{name} must be finite and at least 0, got {value!r}.")
        mask = self.mask_token_id
        if mask is not None:
            mask = as_integer(mask, "MhexConfig.mask_token_id", at_least=0, expected="a token id or None")
            object.__setattr__(self, "mask_token_id", mask)
        if not 0 <= self.beta < 1:
            raise ValueError(f"MhexConfig.beta must be in [0, 1), got {self.beta!r}.")
        if self.aggregation not in AGGREGATIONS:
            raise ValueError(f"MhexConfig.aggregation must be one of {list(AGGREGATIONS)}, got {self.aggregation!r}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-serialisable values; `MhexConfig.of` reads them back."""
        return asdict(self)

    @classmethod
    def of(cls, value: MhexConfig | Mapping[str, Any] | None) -> MhexConfig:
        """A `MhexConfig` from itself, from the dict kept in `config.mhex`, or the defaults from `None`."""
        if isinstance(value, cls):
            return value
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise TypeError(f"mhex must be a MhexConfig or a dict of its fields, got {type(value).__name__}.")
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(value) - set(known)):
            raise ValueError(f"mhex has unknown fields {unknown}; MhexConfig knows {known}.")
        return cls(**value)

    @classmethod
    def stored(cls, value: Any, where: str) -> MhexConfig:
        """The settings that heads were saved with; ValueError for what cannot be such, or lacks what scores need."""
        try:
            if isinstance(value, Mapping) and (lost := sorted({"gate", "aggregation", "beta"} - value.keys())):
                raise ValueError(f"it has no {lost[0]}")
            return cls.of(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"mhex in {where} is not as it was saved: {str(error).rstrip('.')}.") from error
