# SPDX-License-Identifier: Apache-2.0
"""Texts tokenised once, cut where they are too long, padded by batch. Never changes the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from .checks import as_integer
from .texts import numbered
from .tokenizer import private_copy

Array = Callable[[Sequence[int]], Any]


def tensor(values: Sequence[int]) -> Any:
    """(T,) int64 of torch, which is imported here: texts for an exported graph are tokenised without it."""
    import torch

    return torch.tensor(values)


@dataclass(frozen=True, slots=True)
class TokenisedText:
    """One text ready for the model: `features` are the model's own inputs, (T,) int64 each, of torch or numpy."""

    text: str
    text_pair: str | None
    encoding: Encoding
    features: Mapping[str, Any]
    truncated: bool
    name: str = "text"  # what to call it in a sentence
    windows: tuple[Window, ...] = ()  # those it is read in, where it is longer than the model takes
    own: frozenset[int] = frozenset()  # the tokens of the place that is explained, where it is not all of the text

    @property
    def sources(self) -> tuple[str, ...]:
        """The text, or both halves of the pair."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)

    @property
    def inputs(self) -> Sequence[TokenisedText]:
        """What goes through the model for it: its windows, or itself."""
        return self.windows or (self,)

    @property
    def window_count(self) -> int:
        """How many windows the text is read in; 1 where it is not longer than the model takes."""
        return max(1, len(self.windows))

    def __len__(self) -> int:
        return len(self.encoding)

    def content_positions(self, causal: bool) -> list[int]:
        """Positions of the tokens that are the text's own: not of the template, nor the one a decoder reads."""
        positions = [i for i, sequence in enumerate(self.encoding.sequence_ids) if sequence is not None]
        return positions[:-1] if causal and positions and positions[-1] == len(self) - 1 else positions

    def own_positions(self) -> list[int]:
        """Positions of the place's tokens, where one is explained."""
        return sorted(self.own)

    def removable_positions(self, causal: bool) -> list[int]:
        """Positions of what is removed to see what the text does: its content tokens, but for a place explained."""
        place = set(self.own_positions())
        return [position for position in self.content_positions(causal) if position not in place]

    def word_starts(self) -> list[int]:
        """Positions of the first token of each word, where a token classifier says what the word is."""
        words, sequences = self.encoding.word_ids, self.encoding.sequence_ids  # each access builds a new list
        owners = list(zip(sequences, words, strict=True))
        return [i for i, owner in enumerate(owners) if owner[0] is not None and (i == 0 or owners[i - 1] != owner)]

    def cut_note(self) -> str:
        """One sentence on how much of the text the model saw."""
        parts = []
        offsets = self.encoding.offsets  # each access builds a new list
        for sequence, text in enumerate(self.sources):
            seen = [offsets[index] for index in positions_of(self.encoding, sequence)]
            half = f" of the pair's {'second' if sequence else 'first'} half" if not seen or sequence else ""
            kept = max(end for _, end in seen) - min(start for start, _ in seen) if seen else 0
            parts.append(f"{kept:,} of {len(text):,} characters{half}" if seen else f"nothing at all{half}")
        longest = max(len(part) for part in self.inputs)
        return f"Explained in part: the model takes {longest} tokens and saw {' and '.join(parts)}."

    def windows_note(self) -> str:
        """One sentence on how a text that is longer than the model takes was read."""
        longest = max(len(window) for window in self.windows)
        return (
            f"Read in {len(self.windows)} windows of at most {longest} tokens: prediction and scores are means over "
            "them, not the model's own on the whole text."
        )


@dataclass(frozen=True, slots=True)
class Window(TokenisedText):
    """A part of a longer text as an input of its own; `positions` (T,) int64 are its tokens' places in the whole."""

    positions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def own_positions(self) -> list[int]:
        """As of a text, counted in this window."""
        return [index for index, position in enumerate(self.positions.tolist()) if position in self.own]


def tokenise(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    max_length: int | None,
    accepts: Collection[str],
    *,
    name: str = "text",
    start: int | None = 0,
    array: Array = tensor,
) -> list[TokenisedText]:
    """Tokenises texts, or pairs of texts, cutting each at `max_length` tokens; keeps the inputs the model accepts.

    `name` and `start` (number of the first text; `None`: there is only one) make what sentences call a text; `array`
    makes a feature of its numbers.
    """
    if max_length is not None and max_length < (least := least_length(tokenizer, pairs is not None)):
        halves = "two texts, one token each" if pairs is not None else "one token of a text"
        raise ValueError(f"max_length must be at least {least}, the template's tokens and {halves}, got {max_length}.")
    batch = private_copy(tokenizer)(
        list(texts), None if pairs is None else list(pairs), truncation=max_length is not None, max_length=max_length
    )
    result = []
    for index, encoding in enumerate(batch.encodings):
        label = numbered(name, None if start is None else start + index)
        if all(sequence is None for sequence in encoding.sequence_ids):
            raise ValueError(f"{label} has no token the tokenizer knows: {texts[index][:40]!r}.")
        result.append(
            TokenisedText(
                text=texts[index],
                text_pair=None if pairs is None else pairs[index],
                encoding=encoding,
                features=features_of(batch, index, accepts, array),
                truncated=bool(encoding.overflowing),
                name=label,
            )
        )
    return result


def features_of(batch: Mapping[str, Any], index: int, accepts: Collection[str], array: Array) -> dict[str, Any]:
    """The inputs of the model, (T,) int64 each, for text `index` of what a tokenizer returned."""
    return {key: array(batch[key][index]) for key in batch if key in accepts and key != "attention_mask"}


def positions_of(encoding: Encoding, sequence: int | None) -> list[int]:
    """Positions of the tokens of one half of a text; of those of the template for `None`."""
    return [index for index, owner in enumerate(encoding.sequence_ids) if owner == sequence]


def least_length(tokenizer: Any, pair: bool) -> int:
    """Tokens that a text, or a pair, has at the least: those of the template and one of each text."""
    return int(tokenizer.num_special_tokens_to_add(pair=pair)) + (2 if pair else 1)


def check_max_length(max_length: Any, tokenizer: Any, longest: int | None) -> int | None:
    """The tokens a text is cut at: `max_length` once checked, or `longest`, which the model takes, where it is None."""
    if max_length is None:
        return longest
    length = as_integer(max_length, "max_length")
    least = least_length(tokenizer, pair=False)
    if length < least or (longest is not None and length > longest):
        most = "" if longest is None else f" and at most {longest}, which the model takes"
        raise ValueError(
            f"max_length must be at least {least}, the template's tokens and one of a text{most}, got {length}."
        )
    return length
