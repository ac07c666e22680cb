# SPDX-License-Identifier: Apache-2.0
"""Lets the record of a forward pass see what its layers' attention is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from .heads.attention_flow import Attended, Weighed, seen_by
from .hooks import Frame, watched_frame


def watch_attention() -> None:
    """Lets the frame of a running forward pass see the queries, keys and values of its layers' attention.

    transformers asks `AttentionInterface.get_interface` for the function of every layer: sdpa, flash, flex, a family's
    own eager one. That lookup is what is wrapped, once and for all models. Registering functions of ours under names of
    our own instead would have to repeat each one's mask, and could not reach the eager ones, which no registry holds.
    Outside a forward pass that asks for writes the answer is what it was.
    """
    if getattr(AttentionInterface.get_interface, "_mhex_watched", False):
        return
    lookup = AttentionInterface.get_interface

    @wraps(lookup)
    def get_interface(self: Any, *args: Any, **kwargs: Any) -> Any:
        attend, frame = lookup(self, *args, **kwargs), watched_frame()
        return attend if frame is None else partial(_attend, frame, attend)

    get_interface._mhex_watched = True  # type: ignore[attr-defined]
    AttentionInterface.get_interface = get_interface


def _attend(
    frame: Frame,
    attend: Callable[..., Any],
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """The attention function `attend`, after its arguments were noted.

    Nothing is noted where they are not whole rows of tokens (unpadded flash attention, a cache of past keys).
    """
    if frame.attended is not None and query.shape[2] == key.shape[2] == frame.tokens and "position_bias" not in kwargs:
        causal = kwargs.get("is_causal")
        causal = bool(getattr(module, "is_causal", False)) if causal is None else causal
        scaling = kwargs.get("scaling")
        noted = Attended(
            query,
            key,
            value,
            _seen(frame, attention_mask, query, causal, kwargs.get("sliding_window")),
            query.shape[-1] ** -0.5 if scaling is None else scaling,
            kwargs.get("softcap"),
        )
        _note(frame, frame.attended, noted)
    return attend(module, query, key, value, attention_mask, *args, **kwargs)


def _note(frame: Frame, layers: list[Any], noted: Attended) -> None:
    """Adds a layer; the one before it, which is not the last then, is weighed where that takes less memory.

    On a CPU what all layers were given would push the model's weights out of the caches.
    """
    query = noted.query
    small = query.shape[2] <= 2 * query.shape[3] and query.dtype == torch.float32 and query.device.type == "cpu"
    if layers and small and frame.write_matrix is not None and not torch.compiler.is_compiling():
        layers[-1] = Weighed.of(layers[-1], frame.write_matrix(len(layers) - 1))
    layers.append(noted)


def _seen(frame: Frame, attention_mask: Any, query: Tensor, causal: bool, window: int | None) -> Tensor:
    """`seen_by`, once for all layers that are given the same mask, with one row where all rows are alike."""
    kind = (id(attention_mask), causal, window)
    if kind not in frame.seen:
        seen = seen_by(attention_mask, frame.mask, query, causal, window)
        # Elsewhere than on a CPU the answer would have to be waited for, and a full mask costs little.
        looks = seen.device.type == "cpu" and not torch.compiler.is_compiling()
        if looks and bool((seen == seen[:, :, :1]).all()):
            seen = seen[:, :, :1]
        frame.seen[kind] = (attention_mask, seen)  # the mask is kept, or its id could be given to another
    return frame.seen[kind][1]
