# SPDX-License-Identifier: Apache-2.0
"""The model with heads inside whatever was put around it."""

from __future__ import annotations

from typing import Any

from torch import nn

from .adapters import check_no_prompt
from .modeling import MhexMixin


def inner_model(model: Any) -> Any:
    """The model with heads in `model` itself or inside PEFT, torch.compile or DataParallel.

    Adapters are modules of the model inside, so its own forward is right, and has the plain model's arguments.

    Raises:
        ValueError: there is none, or a wrapper feeds it tokens that are not of the text.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    inner = next((module for module in modules if isinstance(module, MhexMixin)), None)
    if inner is None:
        raise ValueError(
            f"model must have MHEX heads, got a {type(model).__name__} without any; "
            "get_mhex_model(model) gives it some."
        )
    check_no_prompt(model)
    return inner
