# SPDX-License-Identifier: Apache-2.0
"""Tokenised texts put together for one forward pass: what is padded with what, and what may share a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..inputs.batching import token_batches
from ..inputs.encoding import TokenisedText
from .families import Site


def collate(items: Sequence[TokenisedText], pad_token_id: int, accepts: frozenset[str]) -> dict[str, Tensor]:
    """One batch, padded on the right: each input (B, T) int64, with an attention mask where the model takes one."""
    return collate_features([item.features for item in items], pad_token_id, accepts)


def collate_features(
    rows: Sequence[Mapping[str, Tensor]], pad_token_id: int, accepts: frozenset[str]
) -> dict[str, Tensor]:
    """As `collate`, from the inputs of each text; an attention mask that is there is kept."""
    given = [
        {"attention_mask": torch.ones_like(row["input_ids"]), **row} if "attention_mask" in accepts else row
        for row in rows
    ]
    return {
        name: pad_sequence(
            [row[name] for row in given], batch_first=True, padding_value=pad_token_id if name == "input_ids" else 0
        )
        for name in given[0]
    }


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


def forward_batches(
    lengths: Sequence[int], batch_tokens: int, config: Any, site: Site, pad: int | None, ends: Sequence[int] = ()
) -> Iterator[list[int]]:
    """Indices of texts that go through the model together, by their tokens and, if given, their `end_count`s.

    One text a batch where there is nothing to pad with; equal lengths alone where padding changes the model.
    """
    equal = not site.pads or (any(ends) and pad == config.eos_token_id)  # padding would be one more end
    for batch in token_batches(lengths, batch_tokens, equal_lengths=equal, kinds=ends or None):
        yield from [batch] if pad is not None else ([index] for index in batch)


def longest_input(tokenizer: Any, config: Any, site: Site) -> int | None:
    """How many tokens the model takes by its positions and its tokenizer, whichever is less; `None` if unbounded."""
    limits = []
    if positions := getattr(config, "max_position_embeddings", None):
        reserved = (config.pad_token_id or 0) + 1 if site.positions_after_pad else 0
        limits.append(positions - reserved)
    if tokenizer.model_max_length and tokenizer.model_max_length < 10**9:  # transformers writes 1e30 for "not known"
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)
