# SPDX-License-Identifier: Apache-2.0
"""Texts as users give them: checked at the door, tokenised once, padded by batch. Never changes the tokenizer."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Encoding
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .sites import Site

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TokenisedText:
    """One text ready for the model: `features` are the model's own inputs, (T,) int64 each."""

    text: str
    text_pair: str | None
    encoding: Encoding
    features: Mapping[str, Tensor]
    truncated: bool

    def __len__(self) -> int:
        return len(self.encoding)

    def cut_note(self) -> str:
        """One sentence on how much of the text the model saw."""
        parts = []
        for sequence, text in enumerate([self.text] if self.text_pair is None else [self.text, self.text_pair]):
            places = [
                offset
                for offset, owner in zip(self.encoding.offsets, self.encoding.sequence_ids, strict=True)
                if owner == sequence
            ]
            kept = max(end for _, end in places) - min(start for start, _ in places) if places else 0
            parts.append(f"{kept:,} of {len(text):,} characters" + (" of the pair's second half" if sequence else ""))
        return f"Explained in part: the model takes {len(self)} tokens and saw {' and '.join(parts)}."


def check_texts(texts: Any, name: str = "text") -> list[str]:
    """The texts as a list of non-empty strings; lone surrogates become U+FFFD, one for one, with a warning.

    Raises:
        TypeError: `None`, a number, or anything but strings; names the position.
        ValueError: an empty or blank text, or no text at all.
    """
    if isinstance(texts, str):
        return [_check_text(texts, name)]
    if isinstance(texts, bytes | Mapping) or not hasattr(texts, "__iter__"):
        raise TypeError(f"{name} must be a string or a list of strings, got {type(texts).__name__}.")
    return [_check_text(text, f"{name}[{index}]") for index, text in enumerate(texts)]


def _check_text(text: Any, name: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, got {'None' if text is None else f'{text!r:.80}'}.")
    if not text.strip():
        raise ValueError(f"{name} must hold at least one character that is not whitespace, got {text[:20]!r}.")
    if _SURROGATE.search(text):
        warnings.warn(f"{name} holds lone surrogates, which were replaced by U+FFFD.", stacklevel=5)
        text = _SURROGATE.sub("\ufffd", text)
    return text


def check_pairs(texts: Sequence[str], pairs: Any) -> list[str] | None:
    """The second halves, one for each text, or `None` where there are none.

    Raises:
        ValueError: as many halves as texts are needed; one half missing (names its position).
        TypeError: not strings.
    """
    if pairs is None:
        return None
    given = [pairs] if isinstance(pairs, str) else list(pairs) if hasattr(pairs, "__iter__") else pairs
    if isinstance(given, list):
        if len(given) != len(texts):
            raise ValueError(f"text_pair must have one entry for each of the {len(texts)} texts, got {len(given)}.")
        for index, half in enumerate(given):
            if half is None:
                raise ValueError(f"text_pair[{index}] is missing: got None beside the text {texts[index][:40]!r}.")
    return check_texts(given, "text_pair")


def tokenise(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None, accepts: frozenset[str]
) -> list[TokenisedText]:
    """Tokenises texts, or pairs of texts, cutting each at `max_length` tokens; keeps the inputs the model accepts.

    Raises:
        ValueError: a text of which the tokenizer makes no token at all.
    """
    batch = tokenizer(
        list(texts), None if pairs is None else list(pairs), truncation=max_length is not None, max_length=max_length
    )
    names = [name for name in batch if name in accepts and name != "attention_mask"]
    result = []
    for index, encoding in enumerate(batch.encodings):
        if all(sequence is None for sequence in encoding.sequence_ids):
            raise ValueError(f"text[{index}] has no token the tokenizer knows: {texts[index][:40]!r}.")
        result.append(
            TokenisedText(
                text=texts[index],
                text_pair=None if pairs is None else pairs[index],
                encoding=encoding,
                features={name: torch.tensor(batch[name][index]) for name in names},
                truncated=bool(encoding.overflowing),
            )
        )
    return result


def collate(items: Sequence[TokenisedText], pad_token_id: int, accepts: frozenset[str]) -> dict[str, Tensor]:
    """One batch, padded on the right: each input (B, T) int64, with an attention mask where the model takes one."""
    features = {
        name: pad_sequence(
            [item.features[name] for item in items],
            batch_first=True,
            padding_value=pad_token_id if name == "input_ids" else 0,
        )
        for name in items[0].features
    }
    if "attention_mask" in accepts:
        features["attention_mask"] = pad_sequence([torch.ones(len(i), dtype=torch.long) for i in items], True)
    return features


def longest_input(tokenizer: Any, config: Any, site: Site) -> int | None:
    """How many tokens the model takes by its positions and its tokenizer, whichever is less; `None` if unbounded."""
    limits = []
    if positions := getattr(config, "max_position_embeddings", None):
        reserved = (config.pad_token_id or 0) + 1 if site.positions_after_pad else 0
        limits.append(positions - reserved)
    if tokenizer.model_max_length and tokenizer.model_max_length < 10**9:  # transformers writes 1e30 for "not known"
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)
