# SPDX-License-Identifier: Apache-2.0
"""The one place that runs a model on texts from which parts were removed, and remembers its answers.

Axes: T tokens of a text, S variants of texts, P places of a text, C labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ..inputs.batching import token_batches
from ..inputs.encoding import TokenisedText, tokenise
from ..inputs.removal import Removal, choose_removal, remove
from .batches import InputBatcher
from .eval_mode import run_in_eval_mode
from .loading import check_fresh, check_task
from .modeling import MhexMixin
from .padding import TokenMask
from .tasks import module_of
from .tasks.names import task_of


class PerturbedModel:
    """A model of one of our tasks, plain or with heads, asked about texts with tokens removed.

    Args:
        model: the model; its modes are not touched, its weights get no gradient.
        tokenizer: its fast tokenizer.
        removal: "mask", "deletion", "attention", or "auto" (`choose_removal`).
        batch_tokens: texts times longest text of one batch, padding included.
        max_length: tokens a text is cut at; by default what the model takes.

    `rows` counts the rows that went through the model: the price of what was asked.

    Raises:
        ValueError: a classifier that was never trained, a slow tokenizer, a removal that the tokenizer or the model
            cannot do, a bad budget or length.
    """

    def __init__(
        self, model: Any, tokenizer: Any, removal: str, batch_tokens: int, max_length: int | None = None
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(f"tokenizer must be a fast tokenizer, got a slow {type(tokenizer).__name__}.")
        token_batches([], batch_tokens)  # refuses a bad budget here rather than at the first text
        self.task = task_of(model, "sequence_classification")
        check_task(model.config, model.config._name_or_path or type(model).__name__, self.task)
        check_fresh(model)
        self.model, self.tokenizer, self.batch_tokens = model, tokenizer, batch_tokens
        self.removal: Removal = choose_removal(removal, tokenizer.mask_token_id)
        self.batcher = InputBatcher(model, tokenizer)
        self.rows = 0
        self._answers: dict[bytes, Tensor] = {}  # to inputs that come again
        if self.removal == "attention":
            self._check_attention()
        longest = self.batcher.longest
        if max_length is not None and (max_length < 1 or (longest is not None and max_length > longest)):
            raise ValueError(
                f"max_length must be between 1 and the {longest} tokens the model takes, got {max_length}."
            )
        self._max_length = longest if max_length is None else max_length

    @property
    def causal(self) -> bool:
        """A decoder, which reads the label off the last token: that one always stays."""
        return self.batcher.site.causal and self.task == "sequence_classification"

    def tokenise(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[TokenisedText]:
        """Checked texts as the model takes them, cut where they are too long."""
        return tokenise(self.tokenizer, texts, pairs, self._max_length, self.batcher.accepts)

    def variants(self, item: TokenisedText, removed: Tensor, special: Tensor) -> list[dict[str, Tensor]]:
        """The inputs of a text without the tokens of each subset: (S, T) bool removed, (T,) bool always there."""
        return remove(item.features, removed, self.removal, self.tokenizer.mask_token_id, special=special)

    def kept_logits(self, items: Sequence[TokenisedText], subsets: Sequence[Any]) -> list[Tensor]:
        """The logits of texts of which only some content tokens are kept, (S, C) float32 each.

        Args:
            items: the texts.
            subsets: (S, N) bool for each, true for content tokens that stay.

        Raises:
            ValueError: logits that are not finite.
        """
        subsets = [torch.as_tensor(kept) for kept in subsets]
        variants, empty = self._kept_variants(items, subsets)
        # by mask token there are no more empty texts than lengths; by attention mask each text would keep its ids
        logits = self.logits(variants, keep=empty if self.removal == "mask" else ())
        return list(logits.split([len(kept) for kept in subsets]))

    def kept_place_logits(
        self, items: Sequence[TokenisedText], subsets: Sequence[Tensor], places: Sequence[Sequence[int]]
    ) -> list[Tensor]:
        """What a model that says something at each position says at places of texts of which only parts are kept.

        One pass over a part serves all places of its text; a place may be among what is removed.

        Args:
            items: the texts.
            subsets: (S, N) bool for each, true for content tokens that stay.
            places: P positions for each, of any of its tokens.

        Returns:
            (S, P, C) float32 on the CPU for each text: label logits, or start and end logits less their mean over the
            text's tokens.

        Raises:
            ValueError: removal by deletion, which would move places, or logits that are not finite.
        """
        if self.removal == "deletion":
            raise ValueError("removal must be 'mask' or 'attention' where positions are asked about, got 'deletion'.")
        variants, _ = self._kept_variants(items, subsets)
        wanted = [list(chosen) for kept, chosen in zip(subsets, places, strict=True) for _ in range(len(kept))]
        answers = self._answer(variants, (), wanted)
        counts = [len(kept) for kept in subsets]
        parts = [answers[end - count : end] for count, end in zip(counts, accumulate(counts), strict=True)]
        return [torch.stack(part) for part in parts]

    def _kept_variants(
        self, items: Sequence[TokenisedText], subsets: Sequence[Tensor]
    ) -> tuple[list[dict[str, Tensor]], list[int]]:
        """The inputs of each part of each text, and the indices of those without any content token."""
        variants: list[dict[str, Tensor]] = []
        empty: list[int] = []
        for item, kept in zip(items, subsets, strict=True):
            positions = item.content_positions(self.causal)
            removed = torch.zeros(len(kept), len(item), dtype=torch.bool)
            removed[:, positions] = ~kept
            special = torch.ones(len(item), dtype=torch.bool)
            special[positions] = False
            empty += [len(variants) + row for row in (~kept.any(1)).nonzero().flatten().tolist()]
            variants += self.variants(item, removed, special)
        return variants, empty

    def logits(self, variants: Sequence[Mapping[str, Tensor]], keep: Collection[int] = ()) -> Tensor:
        """What the model says of inputs (T,) int64 each, in order: (S, C) float32 on the CPU. Equal inputs run once.

        Args:
            variants: the inputs.
            keep: indices of those whose answers are remembered for later calls.

        Raises:
            ValueError: logits that are not finite.
        """
        return torch.stack(self._answer(variants, keep))

    def _answer(
        self, variants: Sequence[Mapping[str, Tensor]], keep: Collection[int], places: Sequence[Any] | None = None
    ) -> list[Tensor]:
        """The answers to inputs, (C,) each, or (P, C) at the places of each."""
        keys = [b"|".join(value.numpy().tobytes() for value in variant.values()) for variant in variants]
        if places is not None:
            keys = [key + repr(chosen).encode() for key, chosen in zip(keys, places, strict=True)]
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        new = [index for key, index in first.items() if key not in self._answers]
        answers = dict(self._answers)
        for batch in self.batcher.indices([variants[index]["input_ids"] for index in new], self.batch_tokens):
            chosen = [new[index] for index in batch]
            at = None if places is None else [places[index] for index in chosen]
            rows = self.run([variants[index] for index in chosen], places=at)
            answers.update((keys[index], row) for index, row in zip(chosen, rows, strict=True))
        self._answers.update((keys[index], answers[keys[index]]) for index in keep)
        return [answers[key] for key in keys]

    def run(
        self, batch: Sequence[Mapping[str, Tensor]], model: Any = None, places: Sequence[Sequence[int]] | None = None
    ) -> Any:
        """The logits of one batch of inputs, (B, C) float32 on the CPU; nothing is remembered.

        `model` runs in the place of the class's own: a view of it (`eval_view`) that was changed. With `places`, P
        positions for each input, a list of (P, C), as `kept_place_logits` says.

        Raises:
            ValueError: logits that are not finite.
        """
        options = {"output_head_logits": False} if isinstance(self.model, MhexMixin) else {}
        inputs = {**self.batcher.collate(batch), **options, "return_dict": True}
        with torch.inference_mode():
            output = run_in_eval_mode(self.model if model is None else model, inputs)
            if places is None:
                logits = [output.logits.float().cpu()]
            else:
                logits = self._at(output, inputs, places, [len(row["input_ids"]) for row in batch])
        self.rows += len(batch)
        for part in logits:
            check_finite_logits(part)
        return logits if places is not None else logits[0]

    def _at(self, output: Any, inputs: Any, places: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[Tensor]:
        # all of a text's tokens, those that the attention mask hides as well: the logits of each part are less the same
        mask = TokenMask.of_lengths(lengths, inputs["input_ids"])
        logits = module_of(self.model).position_logits(output, mask, centred=True).float()
        return [row[list(chosen)].cpu() for row, chosen in zip(logits, places, strict=True)]

    def _check_attention(self) -> None:
        if "attention_mask" not in self.batcher.accepts:
            raise ValueError(
                f"removal='attention' needs a model that takes an attention mask, which {type(self.model).__name__} "
                "does not: use removal='deletion' or removal='mask'."
            )
        if self.model.config.is_encoder_decoder:
            raise ValueError(
                "removal='attention' does not hide tokens from the decoder of an encoder-decoder model: use "
                "removal='deletion' or removal='mask'."
            )


def check_finite_logits(logits: Tensor) -> Tensor:
    """`logits`; ValueError where one is not finite."""
    if not torch.isfinite(logits).all():
        raise ValueError("the model's logits are not finite, so nothing can be said of its answers.")
    return logits
