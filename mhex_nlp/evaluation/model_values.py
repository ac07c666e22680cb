# SPDX-License-Identifier: Apache-2.0
"""What metrics ask a model: its answers to texts from which tokens or words were removed.

Axes: T tokens of a text, n units that may be removed (content tokens or words), S subsets, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..explain.targets import ClassTable
from ..inputs.alignment import align
from ..inputs.encoding import TokenisedText
from ..inputs.texts import SurrogateWarnings, check_pairs, check_texts
from ..models.eval_mode import eval_view
from ..models.perturbed import PerturbedModel
from .text_values import TextValues

_ROWS = 4096  # whose inputs are held at the same time


class ModelValues(PerturbedModel):
    """Runs any transformers sequence classifier, plain or with heads, on texts with units removed.

    >>> values = ModelValues(model, tokenizer)
    >>> text = values.of("The plot was thin but the acting was superb.")
    >>> sampled_shapley(text.value(), text.n)

    Args:
        model, tokenizer, removal, batch_tokens, max_length: as for `PerturbedModel`, and so are the errors.
        language: spaCy language whose tokenizer makes the words; by default as `segment_words`.
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
        super().__init__(model, tokenizer, removal, batch_tokens, max_length)
        self.language, self.classes = language, ClassTable(model.config)

    def of(self, text: str, text_pair: str | None = None, unit: Literal["tokens", "words"] = "tokens") -> TextValues:
        """The value function of one text, or pair of texts, over its content tokens or its words.

        Raises:
            TypeError, ValueError: no text, an unknown unit, or nothing in it that could be removed.
        """
        surrogates = SurrogateWarnings()
        texts = check_texts(text, surrogates=surrogates)
        pairs = check_pairs(texts, None if text_pair is None else [text_pair], surrogates=surrogates)
        surrogates.emit()
        (item,) = self.tokenise(texts, pairs)
        tokens = tuple(align(item.encoding, item.text, item.text_pair, language=self.language))
        fixed = torch.tensor([token.special for token in tokens])
        if self.causal:
            fixed[-1] = True
        return TextValues(self, item, tokens, fixed, unit)

    def fill(self, texts: Sequence[TextValues], keeps: Sequence[ArrayLike]) -> None:
        """Computes what each text does not know yet of its subsets, all texts together in length-sorted batches.

        `keeps` are for each text (S, n) bool, true where a unit is kept; errors as in `TextValues.logits`.
        """
        missing = [
            (text, key, removed) for text, keep in zip(texts, keeps, strict=True) for key, removed in text.missing(keep)
        ]
        for start in range(0, len(missing), _ROWS):
            chunk = missing[start : start + _ROWS]
            variants = [self.variants(text.item, removed, text.fixed)[0] for text, _, removed in chunk]
            for (text, key, _), logits in zip(chunk, self.logits(variants).double().numpy(), strict=True):
                text.learn(key, logits)

    def batches(
        self, items: Sequence[TokenisedText], batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Whole texts as the model takes them, for methods that look inside it: indices, and (B, T) on its device.

        A text may stand among the items several times; `batch_tokens` of the class is the default.
        """
        ids = [item.features["input_ids"] for item in items]
        for batch in self.batcher.indices(ids, batch_tokens or self.batch_tokens):
            yield batch, self.batcher.collate([items[index].features for index in batch])

    def soft_logits(self, item: TokenisedText, weights: Tensor) -> NDArray[np.float64]:
        """Logits with each token's embedding moved towards the mask token's: w * own + (1 - w) * mask.

        Of (S, T) weights in [0, 1], 1 for tokens that stay: (S, C) float64; errors as in
        `TextValues.soft_probabilities`. The decoder of an encoder-decoder would see the tokens.
        """
        if self.tokenizer.mask_token_id is None or self.model.config.is_encoder_decoder:
            raise ValueError("a soft mask needs a tokenizer with a mask token and a model without a decoder beside it.")
        view = eval_view(self.model)  # whose hook no other pass meets
        embed = view.get_input_embeddings()
        with torch.no_grad():
            blank = embed(torch.tensor([self.tokenizer.mask_token_id], device=self.model.device))  # (1, H)
        logits = np.empty((len(weights), len(self.classes)))
        ids = [item.features["input_ids"]] * len(weights)
        for batch in self.batcher.indices(ids, self.batch_tokens):
            share = weights[batch].to(blank)[..., None]  # (b, T, 1)
            hook = embed.register_forward_hook(lambda module, args, out, w=share: w * out + (1 - w) * blank)
            try:
                logits[batch] = self.run([item.features] * len(batch), view).double()
            finally:
                hook.remove()
        return logits
