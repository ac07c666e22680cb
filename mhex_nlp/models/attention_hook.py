# SPDX-License-Identifier: Apache-2.0
"""Lets a forward pass log what its layers' attention is given, so that the flow of attention can be followed.

transformers asks `AttentionInterface.get_interface` for the function of every layer: sdpa, flash, flex, a family's own
eager one. That lookup is what is wrapped, for all models of the process. Registering functions of ours under names of
our own instead would have to repeat each one's mask, and could not reach the eager ones, which no registry holds.
Outside a forward pass that logs its attention the answer is what it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from typing import Any

from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .heads.attention_flow import AttentionInputs, AttentionLog
from .heads.plain_flow import WeightsLog
from .hooks import running_attention
from .padding import TokenMask

_lock = threading.RLock()  # held while the lookup is looked at and wrapped
_ours: dict[Callable[..., Any], Callable[..., Any]] = {}  # lookups of ours, which others may put back: what each wraps
_reaches_ours: dict[str, Callable[..., Any]] = {}  # by implementation, the lookup that was last seen to call ours


class _Probe:
    """Given to the lookup as the default, it is noted by a wrapper of ours, however many of others are around that."""

    noted = False


def watch_attention(implementation: str | None) -> None:
    """Sees to it that the lookup of this attention implementation comes by a wrapper of ours, for the whole process.

    It is put in once. Where others have wrapped the lookup since then, whether ours is still inside cannot be seen from
    outside: the lookup is called, and wrapped again only if it did not come by. `unwatch_attention` takes it off.
    """
    name = implementation or "eager"
    if AttentionInterface.get_interface is _reaches_ours.get(name):
        return
    with _lock:
        lookup, probe = AttentionInterface.get_interface, _Probe()
        with suppress(Exception):  # of another's wrapper: what it does in a forward pass is its own affair
            ALL_ATTENTION_FUNCTIONS.get_interface(name, probe)
        if not probe.noted:
            lookup = _wrapped(lookup)
            AttentionInterface.get_interface = lookup
        _reaches_ours[name] = lookup


def unwatch_attention() -> None:
    """Puts transformers' own lookup back; the next forward pass that follows attention wraps it again.

    A wrapper that another library has put around ours since then stays, and ours with it.
    """
    with _lock:
        while (lookup := AttentionInterface.get_interface) in _ours:
            AttentionInterface.get_interface = _ours[lookup]


def _wrapped(lookup: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(lookup)
    def get_interface(self: Any, *args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            if isinstance(argument, _Probe):
                argument.noted = True
        attend = lookup(self, *args, **kwargs)
        return attend if running_attention() is None else partial(_follow, attend)

    _ours[get_interface] = lookup
    return get_interface


def _follow(attend: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One layer's attention: what is called inside, wrapped twice or handed on to another function, is the same one."""
    running = running_attention()
    if running is None or running[0].in_layer:
        return attend(*args, **kwargs)
    running[0].in_layer = True
    try:
        return _attend(*running, attend, *args, **kwargs)
    finally:
        running[0].in_layer = False


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
    """The attention function `attend`, after its arguments were logged, or for a `WeightsLog` before its weights are.

    Nothing is logged where they are not whole rows of tokens (unpadded flash attention, a cache of past keys).
    """
    whole = query.shape[2] == key.shape[2] == mask.tokens and "position_bias" not in kwargs
    if isinstance(log, WeightsLog):
        output = attend(module, query, key, value, attention_mask, *args, **kwargs)
        if whole and output[1] is not None:
            log.take(output[1], value)
        return output
    if whole:
        causal, fused = kwargs.get("is_causal"), attend is sdpa_attention_forward
        causal = bool(getattr(module, "is_causal", fused)) if causal is None else causal  # sdpa: true unless denied
        scaling = kwargs.get("scaling")
        window = kwargs.get("sliding_window")
        visible = log.visible(attention_mask, mask.real, query.device, causal, window)
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        inputs = AttentionInputs(query, key, value, visible, scaling, kwargs.get("softcap"), window)
        fused = fused and not args and not kwargs.get("dropout")
        if fused and _says_all(inputs, attention_mask) and log.keeps(inputs):
            return log.attend(inputs), None
        log.add(inputs)
    return attend(module, query, key, value, attention_mask, *args, **kwargs)


def _says_all(inputs: AttentionInputs, attention_mask: Any) -> bool:
    """Whether the log hides exactly what torch's attention does with this mask.

    That hides neither padding nor what lies outside a window on its own, as the log does where there is no mask.
    """
    if attention_mask is not None:
        return isinstance(attention_mask, Tensor) and attention_mask.dim() == 4
    visible = inputs.visible
    return visible.real is None and (visible.window is None or visible.window >= inputs.query.shape[2])
