# SPDX-License-Identifier: Apache-2.0
"""The rows of the fit's regression: what a model says of random subsets of a text, and the text's own features.

Axes: T tokens, N content tokens, S subsets, F features, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...explain.targets import ClassTable
from ...inputs.batching import token_batches
from ...inputs.encoding import TokenisedText, tokenise
from ...inputs.removal import Removal, choose_removal, remove
from ...models.batches import collate_features, end_count, forward_batches, longest_input, pad_id
from ...models.families import find_site
from ...models.heads.readout import Layout
from ...models.modeling import forward_arguments
from .skill import Rows


class RowSource:
    """Makes the regression's rows: one forward pass over a text, and one over each of its subsets."""

    def __init__(self, model: Any, tokenizer: Any, removal: str, masks: int, batch_tokens: int) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(f"tokenizer must be a fast tokenizer, got a slow {type(tokenizer).__name__}.")
        token_batches([], batch_tokens)
        self.model, self.tokenizer, self.masks, self.batch_tokens = model, tokenizer, masks, batch_tokens
        self.removal: Removal = choose_removal(removal, tokenizer.mask_token_id)
        self.contrast = "centred" if ClassTable(model.config).exclusive else "none"
        self.site = find_site(model.config.model_type)
        self.pad = pad_id(model.config, tokenizer, self.site)
        self.accepts = forward_arguments(model)
        if self.removal == "deletion":
            raise ValueError(
                "removal must be 'mask', 'attention' or 'auto' to fit, got 'deletion', which moves tokens."
            )
        if self.removal == "attention" and ("attention_mask" not in self.accepts or model.config.is_encoder_decoder):
            raise ValueError(
                "removal='attention' needs a model that takes an attention mask and has no decoder beside its encoder, "
                f"got {type(model).__name__}: use removal='mask'."
            )
        self.layout = Layout((), (), ())
        self._known: dict[bytes, Tensor] = {}  # contrasted logits of inputs that come again
        self._longest = longest_input(tokenizer, model.config, self.site)

    def find_layout(self, text: str, pair: str | None) -> Layout:
        """All that can be read of this model, seen in one forward pass."""
        (item,) = tokenise(self.tokenizer, [text], None if pair is None else [pair], self._longest, self.accepts)
        output = self._forward([dict(item.features)], states=True)
        widths = tuple(state.shape[-1] for state in output.states)
        writes = [write.shape[-1] for write in output.writes]  # of every layer, or of none
        return Layout(tuple(range(len(widths))), widths, (0, *writes, 0) if writes else (0,) * len(widths))

    def rows(
        self, texts: Sequence[str], pairs: Sequence[str] | None, names: Sequence[int], seed: int
    ) -> Iterator[Rows]:
        """The rows of each text; the subsets depend on the text's own number and the seed alone."""
        items = tokenise(self.tokenizer, texts, pairs, self._longest, self.accepts)
        subsets = [
            random_subsets(len(item.content_positions(self.site.causal)), self.masks, [seed, name])
            for item, name in zip(items, names, strict=True)
        ]
        variants: list[dict[str, Tensor]] = []
        for item, kept in zip(items, subsets, strict=True):
            content = item.content_positions(self.site.causal)
            removed = torch.zeros(len(kept), len(item), dtype=torch.bool)
            removed[:-1, content] = ~kept[:-1]
            removed[-1, content] = True  # in the place of the whole text, which is run for its states anyway
            special = torch.ones(len(item), dtype=torch.bool)
            special[content] = False
            variants += remove(
                dict(item.features), removed, self.removal, self.tokenizer.mask_token_id, special=special
            )
        ends = np.cumsum([len(kept) for kept in subsets]).tolist()
        parts, position = self._logits(variants, [end - 1 for end in ends]), 0
        for item, kept, (own, whole) in zip(items, subsets, self._states(items), strict=True):
            found, position = parts[position : position + len(kept)], position + len(kept)
            sums = kept.to(own.dtype) @ own[item.content_positions(self.site.causal)]
            values = torch.cat([found[:-1], whole[None]]) - found[-1]
            yield Rows(sums, values, kept.sum(1), int(whole.argmax()))

    def _forward(self, features: Sequence[dict[str, Tensor]], states: bool) -> Any:
        batch = collate_features(features, self.pad or 0, self.accepts)
        device = self.model.device
        return self.model(
            **{k: v.to(device) for k, v in batch.items()},
            output_states=states,
            output_head_logits=False,
            return_dict=True,
        )

    def _batches(self, rows: Sequence[Tensor]) -> Iterator[list[int]]:
        """Indices of the (T,) input ids that go through the model together."""
        config = self.model.config
        ends = [end_count(ids, config) for ids in rows]
        return forward_batches([len(ids) for ids in rows], self.batch_tokens, config, self.site, self.pad, ends)

    def _logits(self, variants: Sequence[dict[str, Tensor]], empty: Sequence[int]) -> Tensor:
        """(S, C) float32 on the CPU, contrasted; equal inputs run once, those without any content once and for all."""
        keys = [b"|".join(value.numpy().tobytes() for value in each.values()) for each in variants]
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        new = [index for key, index in first.items() if key not in self._known]
        found = dict(self._known)
        for batch in self._batches([variants[index]["input_ids"] for index in new]):
            output = self._forward([variants[new[place]] for place in batch], states=False)
            found.update((keys[new[place]], row) for place, row in zip(batch, self._contrasted(output), strict=True))
        # by mask token there are no more of them than lengths of texts; by attention mask each text would keep its ids
        if self.removal == "mask":
            self._known |= {keys[index]: found[keys[index]] for index in empty}
        return torch.stack([found[key] for key in keys])

    def _contrasted(self, output: Any) -> Tensor:
        logits = output.logits.float().cpu()
        if not torch.isfinite(logits).all():
            raise ValueError("the model's logits are not finite, so nothing can be fitted.")
        return logits - logits.mean(-1, keepdim=True) if self.contrast == "centred" else logits

    def _states(self, items: Sequence[TokenisedText]) -> list[tuple[Tensor, Tensor]]:
        """For each text (T, F) float32, its tokens' features, and (C,) float32, its contrasted logits."""
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for batch in self._batches([item.features["input_ids"] for item in items]):
            output = self._forward([dict(items[index].features) for index in batch], states=True)
            joined = self.layout.join(output.states, output.writes)  # (b, T, F)
            logits = self._contrasted(output)  # (b, C)
            for row, index in enumerate(batch):
                found[index] = joined[row, : len(items[index])], logits[row]
        return [found[index] for index in range(len(items))]


def random_subsets(content: int, masks: int, seed: Sequence[int]) -> Tensor:
    """(S, N) bool: random subsets with sizes drawn uniformly, each with its complement, and the whole set last."""
    whole = np.ones((1, content), dtype=bool)
    if content < 2:
        return torch.from_numpy(whole)
    kept, generator = np.zeros((masks // 2, content), dtype=bool), np.random.default_rng(seed)
    for row in kept:
        row[generator.permutation(content)[: generator.integers(1, content)]] = True
    return torch.from_numpy(np.concatenate([kept, ~kept, whole]))
