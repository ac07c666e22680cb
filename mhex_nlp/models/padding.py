# SPDX-License-Identifier: Apache-2.0
"""Where padding is decided: which tokens of a forward pass are real, what texts are padded with, and which may be.

Heads, attention flow and fitted scores are handed a mask and obey it.

Axes: B texts, T tokens, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .families import Site


@dataclass(frozen=True)
class TokenMask:
    """The real tokens of one forward pass.

    Args:
        real: (B, T) bool, False on padding; `None` where every token is real.
        tokens: T of the inputs, where it is known.
    """

    real: Tensor | None = None
    tokens: int | None = None

    @classmethod
    def of_lengths(cls, lengths: Sequence[int], input_ids: Tensor) -> TokenMask:
        """Of texts of so many tokens that are padded on the right, whatever an attention mask hides of them."""
        tokens = input_ids.shape[1]
        ends = torch.tensor(lengths, device=input_ids.device)[:, None]
        return cls(torch.arange(tokens, device=input_ids.device) < ends, tokens)

    def of_layer(self, state: Tensor) -> Tensor | None:
        """The mask for a layer's (B, T, H): longformer and big_bird pad T to a multiple of their window."""
        length = state.shape[1]
        if self.real is not None:
            real = self.real
        elif self.tokens is None or self.tokens == length:
            return None
        else:
            real = torch.ones(state.shape[0], self.tokens, dtype=torch.bool, device=state.device)
        return nn.functional.pad(real, (0, length - real.shape[1])) if real.shape[1] < length else real

    def cut(self, states: Tensor) -> Tensor:
        """(B, T', ...) without what the model padded T with inside: (B, T, ...)."""
        return states if self.tokens in (None, states.shape[1]) else states[:, : self.tokens]


def token_mask(arguments: Mapping[str, Any], config: Any, site: Site, takes_mask: bool) -> TokenMask:
    """The real tokens of a forward pass with these arguments, by its attention mask, or else by the pad id.

    Args:
        arguments: the forward pass's own, by name.
        config: the model's.
        site: of the model's family.
        takes_mask: whether the model's forward takes an attention mask.

    Raises:
        ValueError: an attention mask that is not (B, T).
    """
    mask, ids, tokens = arguments.get("attention_mask"), arguments.get("input_ids"), token_count(arguments)
    if mask is None:
        pad = config.pad_token_id
        if ids is None or pad is None:
            return TokenMask(None, tokens)
        if not takes_mask:  # fnet sees padding as text; the heads should not
            return TokenMask(_unless_all(ids != pad), tokens)
        if site.causal:  # decoders find their last token by the pad id, and never see what follows it
            return TokenMask(_unless_all((ids != pad).flip(1).cumsum(1).flip(1) > 0), tokens)
        return TokenMask(None, tokens)
    if not isinstance(mask, Tensor) or mask.dim() != 2:
        came = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"attention_mask must be (batch, tokens) for a model with MHEX heads, got {came}.")
    real = (mask if tokens is None else mask[:, -tokens:]) != 0  # with a cache the mask covers the past as well
    return TokenMask(_unless_all(real), tokens)


def _unless_all(real: Tensor) -> Tensor | None:
    """(B, T) bool, `None` where every token is seen to be real."""
    # what is seen in the values of a traced pass must not decide what later passes do
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return None if real.device.type == "cpu" and not traced and bool(real.all()) else real


def inputs_of(arguments: Mapping[str, Any]) -> Tensor | None:
    """What a forward pass reads its tokens from: (B, T) ids or (B, T, H) embeddings; `None` where neither is given."""
    return next((arguments[k] for k in ("input_ids", "inputs_embeds") if arguments.get(k) is not None), None)


def token_count(arguments: Mapping[str, Any]) -> int | None:
    """T of a forward pass with these arguments, where it is known."""
    inputs = inputs_of(arguments)
    return None if inputs is None else inputs.shape[1]


def pad_id(config: Any, tokenizer: Any, site: Site) -> int | None:
    """The id to pad with; `None`: one text a batch, since a decoder finds its last token by its own pad id alone."""
    pad = config.pad_token_id
    if pad is None and not site.causal:
        pad = tokenizer.pad_token_id
    return None if pad is None else int(pad)


def end_count(ids: Tensor, config: Any) -> int:
    """How many end tokens (T,) ids hold, 0 for other models than encoder-decoders.

    transformers takes the label off the last end token and wants equally many of them in every text of a batch, so one
    that somebody typed into a text must not meet a text without it.
    """
    end = getattr(config, "eos_token_id", None) if config.is_encoder_decoder else None
    return 0 if end is None else int((ids == end).sum())


def equal_lengths_only(config: Any, site: Site, pad: int | None, ends: Sequence[int]) -> bool:
    """Whether only texts of one length may share a batch: padding changes the model, or would be one more end token."""
    return not site.pads or (any(ends) and pad == config.eos_token_id)
