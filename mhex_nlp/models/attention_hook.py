# SPDX-License-Identifier: Apache-2.0
"""Lets a forward pass log what its layers' attention is given, so that the flow of attention can be followed.

transformers asks `AttentionInterface.get_interface` for the function of every layer: sdpa, flash, flex, a family's own
eager one. That lookup is what is wrapped, for all models of the process. Registering functions of ours under names of
our own instead would have to repeat each one's mask, and could not reach the eager ones, which no registry holds.
Outside a forward pass that logs its attention the answer is what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from torch import Tensor
from transformers import AttentionInterface

from .heads.attention_flow import AttentionInputs, AttentionLog
from .hooks import running_attention
from .padding import TokenMask


def watch_attention() -> None:
    """Wraps the lookup of attention functions, once for the process; `unwatch_attention` takes the wrapper off."""
    lookup = AttentionInterface.get_interface
    if hasattr(lookup, "_mhex_wrapped"):
        return

    @wraps(lookup)
    def get_interface(self: Any, *args: Any, **kwargs: Any) -> Any:
        attend, running = lookup(self, *args, **kwargs), running_attention()
        return attend if running is None else partial(_attend, *running, attend)

    get_interface._mhex_wrapped = lookup  # type: ignore[attr-defined]
    AttentionInterface.get_interface = get_interface


def unwatch_attention() -> None:
    """Puts transformers' own lookup back; the next forward pass that follows attention wraps it again.

    A wrapper that another library has put around ours since then stays, and ours with it.
    """
    wrapped = getattr(AttentionInterface.get_interface, "_mhex_wrapped", None)
    if wrapped is not None:
        AttentionInterface.get_interface = wrapped


def _attend(
    log: AttentionLog,
    mask: TokenMask,
    attend: Callable[..., Any],
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """The attention function `attend`, after its arguments were logged.

    Nothing is logged where they are not whole rows of tokens (unpadded flash attention, a cache of past keys).
    """
    if query.shape[2] == key.shape[2] == mask.tokens and "position_bias" not in kwargs:
        causal = kwargs.get("is_causal")
        causal = bool(getattr(module, "is_causal", False)) if causal is None else causal
        scaling = kwargs.get("scaling")
        log.add(
            AttentionInputs(
                query,
                key,
                value,
                log.bias(attention_mask, mask.real, query, causal, kwargs.get("sliding_window")),
                query.shape[-1] ** -0.5 if scaling is None else scaling,
                kwargs.get("softcap"),
            )
        )
    return attend(module, query, key, value, attention_mask, *args, **kwargs)
