# SPDX-License-Identifier: Apache-2.0
"""The rows of the fit's regression: what a model says of random subsets of a text, and the text's own features.

Axes: T tokens, N content tokens, S subsets, F features, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...explain.skill import Rows
from ...inputs.encoding import TokenisedText
from ...inputs.removal import random_subsets
from ...models.heads.readout import FeatureLayout
from ...models.path_gradients import integrated_gradients
from ...models.perturbed import PerturbedModel, check_finite_logits
from ...models.tasks.sequence_classification import is_exclusive


class RowSource(Protocol):
    """What makes the rows of texts, or of images: `EquationSource`, or `image_rows.ImageRowSource`."""

    removal: str
    contrast: str
    layout: FeatureLayout

    def content_sizes(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> list[int]:
        """How many tokens, or cells, of each can be removed."""

    def rows(
        self,
        texts: Sequence[Any],
        pairs: Sequence[str] | None,
        numbers: Sequence[int],
        seed: int,
        masks: int | None = None,
    ) -> Iterator[Rows]:
        """The rows of each; the subsets depend on its own number, the seed and their count alone."""

    def contrast_of(self, target: int, labels: int) -> Tensor:
        """(C,) float64: the weights of the labels in what is explained of one."""

    def gradients(
        self, texts: Sequence[Any], pairs: Sequence[str] | None, contrast: Tensor, steps: int, seed: Sequence[int]
    ) -> NDArray[np.float64] | None:
        """(N,) integrated gradients of one; None where the model cannot give any."""


class EquationSource:
    """Makes the regression's rows: one forward pass over a text, and one over each of its subsets.

    Args:
        model: with heads.
        tokenizer, removal, batch_tokens: as for `PerturbedModel`; tokens are never deleted.
        masks: random subsets of each text.
    """

    def __init__(self, model: Any, tokenizer: Any, removal: str, masks: int, batch_tokens: int) -> None:
        self.perturbed = PerturbedModel(model, tokenizer, removal, batch_tokens)
        self.model, self.masks = model, masks
        self.removal: str = self.perturbed.removal
        self.contrast = "centred" if is_exclusive(model.config) else "none"
        if self.removal == "deletion":
            raise ValueError(
                "removal must be 'mask', 'attention' or 'auto' to fit, got 'deletion', which moves tokens."
            )
        self.layout = FeatureLayout((), (), ())

    def find_layout(self, text: str, pair: str | None) -> FeatureLayout:
        """All that can be read of this model, seen in one forward pass."""
        (item,) = self.perturbed.tokenise([text], None if pair is None else [pair])
        output = self._forward([item])
        widths = tuple(state.shape[-1] for state in output.states)
        flows = [flow.shape[-1] for flow in output.attention_flow]  # of every layer, or of none
        return FeatureLayout(tuple(range(len(widths))), widths, (0, *flows, 0) if flows else (0,) * len(widths))

    @property
    def rows_per_text(self) -> int:
        """How many equations a text has, at the most."""
        return self.masks // 2 + 1

    def described(self, judged: int) -> dict[str, Any]:
        """What the report says of where rows are taken; `judged` are the rows' texts, or places, that were judged."""
        return {}

    def content_sizes(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[int]:
        """How many tokens of each text can be removed."""
        return [len(item.content_positions(self.perturbed.causal)) for item in self.perturbed.tokenise(texts, pairs)]

    def rows(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        numbers: Sequence[int],
        seed: int,
        masks: int | None = None,
    ) -> Iterator[Rows]:
        """The rows of each text; the subsets depend on the text's own number, the seed and their count alone."""
        items = self.perturbed.tokenise(texts, pairs)
        content = [item.content_positions(self.perturbed.causal) for item in items]
        subsets = [
            random_subsets(len(positions), masks or self.masks, [seed, number])
            for positions, number in zip(content, numbers, strict=True)
        ]
        # nothing in the place of the whole text, which is run for its states anyway
        answered = [torch.cat([kept[:-1], torch.zeros_like(kept[-1:])]) for kept in subsets]
        answers = map(self.contrasted, self.perturbed.kept_logits(items, answered))
        read = self._sums(items, content, subsets)
        for kept, answer, (sums, whole) in zip(subsets, answers, read, strict=True):
            values = torch.cat([answer[:-1], whole[None]]) - answer[-1]
            yield Rows(sums, values, kept.sum(1), int(whole.argmax()))

    def contrast_of(self, target: int, labels: int) -> Tensor:
        """(C,) float64: the weights of the labels in what is explained of one."""
        weights = torch.zeros(labels, dtype=torch.float64)
        weights[target] = 1
        return self.contrasted(weights)

    def gradients(
        self, texts: Sequence[str], pairs: Sequence[str] | None, contrast: Tensor, steps: int, seed: Sequence[int]
    ) -> NDArray[np.float64] | None:
        """(N,) integrated gradients of one text; None where the model cannot give any. `seed` is that of its rows."""
        items = self.perturbed.tokenise(texts, pairs)
        scores = integrated_gradients(self.perturbed, items, contrast[None], steps)
        return None if scores is None else scores[0].numpy()

    def _forward(self, items: Sequence[TokenisedText]) -> Any:
        """One batch with the states of every depth."""
        batch = self.perturbed.batcher.collate([item.features for item in items])
        return self.model(**batch, output_states=True, output_head_logits=False, return_dict=True)

    def contrasted(self, logits: Tensor) -> Tensor:
        """Logits (..., C) as the fit explains them."""
        return contrasted(logits, self.contrast)

    def _sums(
        self, items: Sequence[TokenisedText], content: Sequence[list[int]], subsets: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """What one pass over each whole text says: (S, F) sums of features over its subsets, (C,) contrasted logits.

        Sums are made depth by depth: features of all tokens, put side by side, would take more memory than the pass
        itself.

        Args:
            items: the texts.
            content: N positions of each.
            subsets: (S, N) bool of each.
        """
        read: dict[int, tuple[Tensor, Tensor]] = {}
        ids = [item.features["input_ids"] for item in items]
        for batch in self.perturbed.batcher.indices(ids, self.perturbed.batch_tokens):
            output = self._forward([items[index] for index in batch])
            logits = self.contrasted(check_finite_logits(output.logits.float().cpu()))  # (b, C)
            for row, index in enumerate(batch):
                kept = subsets[index].to(output.logits.device, torch.float32)
                # of the tokens alone: what stands at padding may be NaN
                summed = (
                    [kept @ part[row, content[index]].to(kept) for part in parts]
                    for parts in (output.states, output.attention_flow)
                )
                sums = self.layout.join(*summed)
                sums[:, 0] = subsets[index].sum(1)
                read[index] = sums, logits[row]
        return [read[index] for index in range(len(items))]


def contrasted(logits: Tensor, contrast: str) -> Tensor:
    """Logits (..., C) less their mean where the contrast is "centred"."""
    return logits - logits.mean(-1, keepdim=True) if contrast == "centred" else logits
