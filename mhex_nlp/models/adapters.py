# SPDX-License-Identifier: Apache-2.0
"""Adapters of PEFT around or inside a model: what they wrap, which of them run, and whose weights are whose.

PEFT itself is imported where it loads an adapter, and nowhere else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

_REPLACED = "original_module"  # what PEFT keeps of a module that it trains whole, and does not run
_WRAPPERS = ("base_layer", _REPLACED)  # names that PEFT puts into the path of a weight that was there before
_COPIES = "modules_to_save"


class SplitWeights(NamedTuple):
    """A model's weights by name: those that were there before the adapters, and those of the adapters that run."""

    base: dict[str, Tensor]
    adapter: dict[str, Tensor]


def inside_adapters(model: Any) -> Any:
    """The transformers model that a `PeftModel` wraps; any other model as it is.

    Raises:
        ValueError: one that learned a prompt, whose model inside is fed tokens that are not of the text.
    """
    if not is_peft_model(model):
        return model
    check_no_prompt(model)
    return model.get_base_model()


def check_no_prompt(model: Any) -> None:
    """ValueError for a `PeftModel` that puts a learned prompt in front of each text."""
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise ValueError(
            f"model must see a text's own tokens alone, got a {type(model).__name__} that learned a prompt in front."
        )


def is_peft_model(model: Any) -> bool:
    """Whether it is a `PeftModel`; a transformers model with adapters inside (`model.add_adapter`) is none."""
    return isinstance(model, nn.Module) and hasattr(type(model), "get_base_model") and hasattr(model, "peft_config")


def adapters_in_use(model: Any) -> tuple[str, ...] | None:
    """Names of the adapters that a forward pass runs, none where they are switched off; `None`: a model without any."""
    if not getattr(model, "peft_config", None):
        return None
    layer = next((module for module in model.modules() if hasattr(module, "adapter_layer_names")), None)
    if layer is None:  # unloaded since
        return None
    return () if layer.disable_adapters else tuple(layer.active_adapters)


def split_weights(model: Any) -> SplitWeights:
    """The weights that a forward pass reads, by the names that they have in the plain model and in the adapter.

    Where one adapter runs, its own name is left out of its weights' names: it is loaded under any.
    """
    weights, active = model.state_dict(), adapters_in_use(model)
    if active is None:
        return SplitWeights(weights, {})
    inside = {name for module in model.modules() for name in getattr(module, "adapter_layer_names", ())}
    base: dict[str, Tensor] = {}
    adapter: dict[str, Tensor] = {}
    replaced = {key.partition(f".{_COPIES}.")[0] for key in weights if f".{_COPIES}." in key} if active else set()
    for key, value in weights.items():
        path = key.split(".")
        start = next((index for index, part in enumerate(path) if part in inside), None)
        if start is None:
            if key.partition(f".{_REPLACED}.")[0] not in replaced or f".{_REPLACED}." not in key:
                base[".".join(part for part in path if part not in _WRAPPERS)] = value
        elif path[start + 1] in active:
            name = [] if len(active) == 1 else [path[start + 1]]
            adapter[".".join([*path[: start + 1], *name, *path[start + 2 :]])] = value
    return SplitWeights(base, adapter)
