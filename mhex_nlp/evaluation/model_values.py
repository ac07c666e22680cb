# SPDX-License-Identifier: Apache-2.0
"""The one place where metrics run a model: what it says of a text from which tokens or words were removed.

Axes: T tokens of a text, n units that may be removed (content tokens or words), S subsets, C labels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..explain.targets import ClassTable
from ..inputs.alignment import align
from ..inputs.batching import token_batches
from ..inputs.encoding import TokenisedText, tokenise
from ..inputs.removal import choose_removal, remove
from ..inputs.texts import Replaced, check_pairs, check_texts
from ..models.batches import collate_features, forward_batches, longest_input, pad_id
from ..models.eval_mode import evaluating
from ..models.families import SITES, Site
from ..models.modeling import forward_arguments
from .text_values import TextValues

# A family that is not in the table: nothing is taken for granted.
_UNKNOWN = Site("unknown", "unknown", "unknown", causal=True, pads=False, positions_after_pad=True)


class ModelValues:
    """Runs any transformers sequence classifier, plain or with heads, on texts with units removed.

    >>> values = ModelValues(model, tokenizer)
    >>> text = values.of("The plot was thin but the acting was superb.")
    >>> sampled_shapley(text.value(), text.n)

    Args:
        model: the classifier; its mode is put back after each call, its weights get no gradient.
        tokenizer: its fast tokenizer.
        removal: "mask", "deletion", "attention", or "auto" (`choose_removal`).
        batch_tokens: texts times longest text of one batch, padding included.
        max_length: tokens a text is cut at; by default what the model takes.
        language: spaCy language whose tokenizer makes the words; by default as `segment_words`.

    `rows` counts the rows that went through the model: the price of what was asked.

    Raises:
        ValueError: a slow tokenizer, a removal that the tokenizer or the model cannot do, a bad budget or length.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        removal: str = "mask",
        batch_tokens: int = 4096,
        *,
        max_length: int | None = None,
        language: str | None = None,
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(f"tokenizer must be a fast tokenizer, got a slow {type(tokenizer).__name__}.")
        token_batches([], batch_tokens)  # refuses a bad budget here rather than at the first text
        self.model, self.tokenizer, self.batch_tokens, self.language = model, tokenizer, batch_tokens, language
        self.removal = choose_removal(removal, tokenizer.mask_token_id)
        self.classes = ClassTable(model.config)
        self.rows = 0
        self._site = SITES.get(model.config.model_type, _UNKNOWN)
        self._accepts = forward_arguments(model)
        self._pad = pad_id(model.config, tokenizer, self._site)
        if self.removal == "attention":
            self._check_attention()
        longest = longest_input(tokenizer, model.config, self._site)
        if max_length is not None and (max_length < 1 or (longest is not None and max_length > longest)):
            raise ValueError(
                f"max_length must be between 1 and the {longest} tokens the model takes, got {max_length}."
            )
        self._max_length = longest if max_length is None else max_length

    def of(self, text: str, text_pair: str | None = None, unit: Literal["tokens", "words"] = "tokens") -> TextValues:
        """The value function of one text, or pair of texts, over its content tokens or its words.

        Raises:
            TypeError, ValueError: no text, an unknown unit, or nothing in it that could be removed.
        """
        replaced = Replaced()
        texts = check_texts(text, replaced=replaced)
        pairs = check_pairs(texts, None if text_pair is None else [text_pair], replaced=replaced)
        replaced.tell()
        (item,) = tokenise(self.tokenizer, texts, pairs, self._max_length, self._accepts)
        tokens = tuple(align(item.encoding, item.text, item.text_pair, language=self.language))
        fixed = torch.tensor([token.special for token in tokens])
        if self._site.causal:
            fixed[-1] = True  # a decoder reads the label off the last token
        return TextValues(self, item, tokens, fixed, unit)

    def fill(self, texts: Sequence[TextValues], keeps: Sequence[ArrayLike]) -> None:
        """Computes what each text does not know yet of its subsets, all texts together in length-sorted batches.

        Args:
            texts: made by `of`.
            keeps: for each text (S, n) bool, true where a unit is kept.

        Raises:
            ValueError: shapes that do not fit, or logits that are not finite.
        """
        asked: list[tuple[TextValues, bytes, Tensor]] = []
        for text, keep in zip(texts, keeps, strict=True):
            asked += [(text, key, removed) for key, removed in text.missing(keep)]
        lengths = [
            len(text.item) - (int(removed.sum()) if self.removal == "deletion" else 0) for text, _, removed in asked
        ]
        for batch in self._batches(lengths):
            rows: list[dict[str, Tensor]] = []
            for text, group in itertools.groupby((asked[index] for index in batch), key=lambda row: row[0]):
                subsets = torch.stack([removed for _, _, removed in group])
                rows += remove(
                    text.item.features, subsets, self.removal, self.tokenizer.mask_token_id, special=text.fixed
                )
            for index, logits in zip(batch, self._run(rows), strict=True):
                text, key, _ = asked[index]
                text.learn(key, logits)

    def batches(
        self, items: Sequence[TokenisedText], batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Whole texts as the model takes them, for whoever looks inside it: indices, and inputs (B, T) on its device.

        Texts of like length go together and are padded on the right; equal lengths alone where padding changes the
        model, and one text at a time where there is nothing to pad with.

        Args:
            items: the texts; one may stand there several times.
            batch_tokens: texts times longest text of one batch; a longer text goes alone. By default as for the class.
        """
        for batch in self._batches([len(item) for item in items], batch_tokens):
            inputs = collate_features([items[index].features for index in batch], self._pad or 0, self._accepts)
            yield batch, {name: value.to(self.model.device) for name, value in inputs.items()}

    def soft_logits(self, item: TokenisedText, weights: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Logits with each token's embedding moved towards the mask token's: w * own + (1 - w) * mask.

        Args:
            item: the text.
            weights: (S, T) in [0, 1], 1 for tokens that stay.

        Returns:
            (S, C) float64.

        Raises:
            ValueError: a tokenizer without a mask token, or an encoder-decoder, whose decoder would see the tokens.
        """
        if self.tokenizer.mask_token_id is None or self.model.config.is_encoder_decoder:
            raise ValueError("a soft mask needs a tokenizer with a mask token and a model without a decoder beside it.")
        embed = self.model.get_input_embeddings()
        with torch.no_grad():
            blank = embed(torch.tensor([self.tokenizer.mask_token_id], device=self.model.device))  # (1, H)
        found = np.empty((len(weights), len(self.classes)))
        for batch in self._batches([len(item)] * len(weights)):
            share = weights[batch].to(blank)[..., None]  # (b, T, 1)
            hook = embed.register_forward_hook(lambda module, args, out, w=share: w * out + (1 - w) * blank)
            try:
                found[batch] = self._run([dict(item.features) for _ in batch])
            finally:
                hook.remove()
        return found

    def _batches(self, lengths: Sequence[int], batch_tokens: int | None = None) -> Iterator[list[int]]:
        return forward_batches(lengths, batch_tokens or self.batch_tokens, self.model.config, self._site, self._pad)

    def _run(self, rows: Sequence[dict[str, Tensor]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(b, C) float64 logits of one batch."""
        inputs = collate_features(rows, self._pad or 0, self._accepts)
        with evaluating(self.model), torch.inference_mode():
            output = self.model(**{name: value.to(self.model.device) for name, value in inputs.items()})
        logits = output.logits.double().cpu()
        self.rows += len(rows)
        if not torch.isfinite(logits).all():
            raise ValueError("the model's logits are not finite, so nothing can be measured.")
        found: np.ndarray[Any, np.dtype[np.float64]] = logits.numpy()
        return found

    def _check_attention(self) -> None:
        if "attention_mask" not in self._accepts:
            raise ValueError(
                f"removal='attention' needs a model that takes an attention mask, which {type(self.model).__name__} "
                "does not: use removal='deletion'."
            )
        if self.model.config.is_encoder_decoder:
            raise ValueError(
                "removal='attention' does not hide tokens from the decoder of an encoder-decoder model: use "
                "removal='deletion'."
            )
