# SPDX-License-Identifier: Apache-2.0
"""How one model is given texts: the inputs it takes, how many tokens, and which texts go through it together.

Axes: B texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..inputs.batching import token_batches
from .families import SITES, Site
from .modeling import forward_arguments
from .padding import end_count, equal_lengths_only, pad_id

# A family that is not in the table: nothing is taken for granted.
_UNKNOWN = Site("unknown", "unknown", "unknown", causal=True, pads=False, positions_after_pad=True)


class InputBatcher:
    """Puts tokenised texts together for one model.

    Args:
        model: a transformers classifier, plain or with heads.
        tokenizer: its tokenizer.

    Attributes: `site` of the model's family; `accepts`, names of the inputs that its forward takes; `longest`, the most
    tokens it takes, `None` if unbounded.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.site = SITES.get(model.config.model_type, _UNKNOWN)
        self.accepts = forward_arguments(model)
        self.longest = longest_input(tokenizer, model.config, self.site)

    @property
    def pad(self) -> int | None:
        """The id to pad with, of the config as it is now; `None`: one text a batch."""
        return pad_id(self.model.config, self.tokenizer, self.site)

    def indices(self, input_ids: Sequence[Tensor], batch_tokens: int) -> Iterator[list[int]]:
        """Which of the (T,) input ids go through the model together, longest first.

        Those of like length, as many as `batch_tokens` allows, padding included; equal lengths alone where padding
        changes the model, one at a time where there is nothing to pad with.
        """
        config, pad = self.model.config, self.pad
        ends = [end_count(ids, config) for ids in input_ids]
        equal = equal_lengths_only(config, self.site, pad, ends)
        lengths = [len(ids) for ids in input_ids]
        for batch in token_batches(lengths, batch_tokens, equal_lengths=equal, kinds=ends or None):
            yield from [batch] if pad is not None else ([index] for index in batch)

    def collate(self, rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """One batch on the model's device, padded on the right: inputs (T,) int64 of each text to (B, T).

        An attention mask that is there is kept, and made where the model takes one.
        """
        if "attention_mask" in self.accepts:
            rows = [{"attention_mask": torch.ones_like(row["input_ids"]), **row} for row in rows]
        if len(rows) == 1:  # one text: nothing to pad
            return {name: value[None].to(self.model.device) for name, value in rows[0].items()}
        fill = {"input_ids": self.pad or 0}
        return {
            name: pad_sequence([row[name] for row in rows], batch_first=True, padding_value=fill.get(name, 0)).to(
                self.model.device
            )
            for name in rows[0]
        }


def longest_input(tokenizer: Any, config: Any, site: Site) -> int | None:
    """How many tokens the model takes by its positions and its tokenizer, whichever is less; `None` if unbounded."""
    limits = []
    if positions := getattr(config, "max_position_embeddings", None):
        reserved = (config.pad_token_id or 0) + 1 if site.positions_after_pad else 0
        limits.append(positions - reserved)
    if tokenizer.model_max_length and tokenizer.model_max_length < 10**9:  # transformers writes 1e30 for "not known"
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)
