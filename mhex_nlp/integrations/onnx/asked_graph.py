# SPDX-License-Identifier: Apache-2.0
"""An exported graph asked about texts with tokens removed, as `PerturbedModel` asks a model of torch. Without torch.

Axes: T tokens of a text, N of them its content, S variants, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...inputs.encoding import TokenisedText
from ...inputs.removal_kinds import choose_removal

Features = Mapping[str, NDArray[np.int64]]
Run = Callable[[Sequence[Features]], NDArray[np.float32]]


class AskedGraph:
    """Says what a graph predicts of texts of which only some tokens are kept; equal inputs run once.

    Args:
        run: what the graph predicts of inputs (T,) int64 each, in order: (S, C) float32.
        removal: "mask", "attention" or "auto".
        mask_token_id: of the tokenizer, `None` where it has none.
        causal: a decoder, whose last token always stays.
    """

    def __init__(self, run: Run, removal: str, mask_token_id: int | None, causal: bool) -> None:
        self._run, self._mask_token_id, self._causal = run, mask_token_id, causal
        self.removal: str = choose_removal(removal, mask_token_id)
        self._empty: dict[bytes, NDArray[np.float32]] = {}  # to texts without any token, of which there are few

    def kept_logits(self, items: Sequence[TokenisedText], subsets: Sequence[Any]) -> list[NDArray[np.float32]]:
        """The logits of texts of which only some content tokens are kept, (S, C) float32 each.

        Args:
            items: the texts.
            subsets: (S, N) bool for each, true for content tokens that stay.

        Raises:
            ValueError: logits that are not finite.
        """
        variants: dict[bytes, Features] = {}
        keys: list[list[bytes]] = []
        empty = set[bytes]()
        for item, kept in zip(items, subsets, strict=True):
            positions = item.content_positions(self._causal)
            keys.append([])
            for row in np.asarray(kept, dtype=bool):
                removed = [position for position, stays in zip(positions, row, strict=True) if not stays]
                features = self._without(item.features, removed)
                key = b"|".join(values.tobytes() for values in features.values())
                variants[key] = features
                keys[-1].append(key)
                if not row.any() and self.removal == "mask":
                    empty.add(key)
        new = [key for key in variants if key not in self._empty]
        answers = dict(zip(new, self._run([variants[key] for key in new]), strict=True)) if new else {}
        if not all(np.isfinite(row).all() for row in answers.values()):
            raise ValueError("the model's logits are not finite, so nothing can be said of its answers.")
        self._empty |= {key: answers[key] for key in empty & answers.keys()}
        answers |= self._empty
        return [np.stack([answers[key] for key in of_item]) for of_item in keys]

    def _without(self, features: Features, removed: Sequence[int]) -> Features:
        name, value = ("input_ids", self._mask_token_id or 0) if self.removal == "mask" else ("attention_mask", 0)
        usual = np.ones_like(features["input_ids"]) if name == "attention_mask" else features[name]
        changed = usual.copy()
        changed[list(removed)] = value
        return {**features, name: changed}
