# SPDX-License-Identifier: Apache-2.0
"""A model of positions seen from one place, so that what explains or judges classifiers runs on it as it is.

Axes: B texts, T tokens, C labels, n content tokens beside the place.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mhex_nlp.evaluation.model_values import ModelValues, TextValues


class PlacedClassifier(nn.Module):
    """A tagger or reader whose (B, C) logits are those of one place of its text.

    Args:
        model: for token classification, or for question answering.
        positions: of a tagger, the first tokens of an entity's words; of a reader, the answer's first and last token.
        columns: of a tagger, for each position the label that stands at each of the C places (an entity's later words
            have I- where the first has B-).
        span_chance: of a reader, log p and log (1 - p) of the span's probability, in place of the explained logits.
    """

    def __init__(
        self, model: Any, positions: Sequence[int], columns: Sequence[Sequence[int]] = (), span_chance: bool = False
    ) -> None:
        super().__init__()
        self.inner = [model]  # a list, for the model is no part of this one
        self.positions, self.columns, self.span_chance = list(positions), columns, span_chance
        self.config = copy.copy(model.config)
        self.config.architectures = None
        self.config.problem_type = "single_label_classification"
        if not columns:
            self.config.id2label = {0: "span", 1: "rest"}
        self.base_model_prefix = model.base_model_prefix
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.inner[0].device

    @property
    def dtype(self) -> torch.dtype:
        return self.inner[0].dtype

    @property
    def base_model(self) -> Any:
        return self.inner[0].base_model

    def get_input_embeddings(self) -> Any:
        return self.inner[0].get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **options: Any,
    ) -> Any:
        output = self.inner[0](
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, **options
        )
        return SimpleNamespace(logits=self._read(output, attention_mask))

    def _read(self, output: Any, attention_mask: Tensor | None) -> Tensor:
        if self.columns:
            rows = [
                output.logits[:, position, list(columns)]
                for position, columns in zip(self.positions, self.columns, strict=True)
            ]
            return torch.stack(rows).mean(0)
        start, end = self.positions
        if attention_mask is None:
            attention_mask = torch.ones_like(output.start_logits)
        hidden = attention_mask == 0
        both = [logits.masked_fill(hidden, -1e4) for logits in (output.start_logits, output.end_logits)]
        if self.span_chance:
            chance = both[0].log_softmax(-1)[:, start] + both[1].log_softmax(-1)[:, end]
            return torch.stack([chance, torch.log1p(-chance.exp().clamp(max=1 - 1e-7))], -1)
        real = attention_mask.sum(1)
        centred = [
            logits[:, place] - logits.masked_fill(hidden, 0.0).sum(1) / real
            for logits, place in zip((output.start_logits, output.end_logits), (start, end), strict=True)
        ]
        score = centred[0] + centred[1]
        return torch.stack([score, -score], -1)  # its first logit less the mean of both is the score


def values_at(placed: PlacedClassifier, tokenizer: Any, place: Sequence[int], *texts: str) -> TextValues:
    """What the model says at the place, of the text with parts of its other tokens masked; the place's always stay."""
    values = ModelValues(placed, tokenizer, "mask")
    whole = values.of(*texts)
    fixed = whole.fixed.clone()
    fixed[list(place)] = True
    return TextValues(values, whole.item, whole.tokens, fixed, "tokens")
