# SPDX-License-Identifier: Apache-2.0
"""Texts tokenised once, cut where they are too long, padded by batch. Never changes the tokenizer."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Encoding
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .batching import token_batches
from .sites import Site
from .texts import check_pairs as check_pairs
from .texts import check_texts as check_texts
from .texts import place
from .tokenizing import private_copy


@dataclass(frozen=True, slots=True)
class TokenisedText:
    """One text ready for the model: `features` are the model's own inputs, (T,) int64 each."""

    text: str
    text_pair: str | None
    encoding: Encoding
    features: Mapping[str, Tensor]
    truncated: bool
    place: str = "text"  # what to call it in a sentence
    windows: tuple[Window, ...] = ()  # those it is read in, where it is longer than the model takes

    @property
    def inputs(self) -> Sequence[TokenisedText]:
        """What goes through the model for it: its windows, or itself."""
        return self.windows or (self,)

    def __len__(self) -> int:
        return len(self.encoding)

    def content_positions(self, causal: bool) -> list[int]:
        """Positions of the tokens that are the text's own: not of the template, nor the one a decoder reads."""
        own = [i for i, sequence in enumerate(self.encoding.sequence_ids) if sequence is not None]
        return own[:-1] if causal and own and own[-1] == len(self) - 1 else own

    def cut_note(self) -> str:
        """One sentence on how much of the text the model saw."""
        parts = []
        for sequence, text in enumerate([self.text] if self.text_pair is None else [self.text, self.text_pair]):
            places = [
                offset
                for offset, owner in zip(self.encoding.offsets, self.encoding.sequence_ids, strict=True)
                if owner == sequence
            ]
            half = f" of the pair's {'second' if sequence else 'first'} half" if not places or sequence else ""
            kept = max(end for _, end in places) - min(start for start, _ in places) if places else 0
            parts.append(f"{kept:,} of {len(text):,} characters{half}" if places else f"nothing at all{half}")
        longest = max(len(each) for each in self.inputs)
        return f"Explained in part: the model takes {longest} tokens and saw {' and '.join(parts)}."

    def windows_note(self) -> str:
        """One sentence on how a text that is longer than the model takes was read."""
        longest = max(len(each) for each in self.windows)
        return (
            f"Read in {len(self.windows)} windows of at most {longest} tokens: prediction and scores are means over "
            "them, not the model's own on the whole text."
        )


@dataclass(frozen=True, slots=True)
class Window(TokenisedText):
    """A part of a longer text as an input of its own; `places` (T,) int64 are its tokens' positions in the whole."""

    places: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))


def tokenise(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    max_length: int | None,
    accepts: frozenset[str],
    *,
    name: str = "text",
    start: int | None = 0,
) -> list[TokenisedText]:
    """Tokenises texts, or pairs of texts, cutting each at `max_length` tokens; keeps the inputs the model accepts.

    `name` and `start` (number of the first text; `None`: there is only one) make what sentences call a text.

    Raises:
        ValueError: a text of which the tokenizer makes no token at all, or a `max_length` without room for any.
    """
    if max_length is not None and max_length < (least := least_length(tokenizer, pairs is not None)):
        halves = "two texts, one token each" if pairs is not None else "one token of a text"
        raise ValueError(f"max_length must be at least {least}, the template's tokens and {halves}, got {max_length}.")
    batch = private_copy(tokenizer)(
        list(texts), None if pairs is None else list(pairs), truncation=max_length is not None, max_length=max_length
    )
    kept = [key for key in batch if key in accepts and key != "attention_mask"]
    result = []
    for index, encoding in enumerate(batch.encodings):
        where = place(name, None if start is None else start + index)
        if all(sequence is None for sequence in encoding.sequence_ids):
            raise ValueError(f"{where} has no token the tokenizer knows: {texts[index][:40]!r}.")
        result.append(
            TokenisedText(
                text=texts[index],
                text_pair=None if pairs is None else pairs[index],
                encoding=encoding,
                features={key: torch.tensor(batch[key][index]) for key in kept},
                truncated=bool(encoding.overflowing),
                place=where,
            )
        )
    return result


def collate(items: Sequence[TokenisedText], pad_token_id: int, accepts: frozenset[str]) -> dict[str, Tensor]:
    """One batch, padded on the right: each input (B, T) int64, with an attention mask where the model takes one."""
    return collate_features([item.features for item in items], pad_token_id, accepts)


def collate_features(
    rows: Sequence[Mapping[str, Tensor]], pad_token_id: int, accepts: frozenset[str]
) -> dict[str, Tensor]:
    """As `collate`, from the inputs of each text; an attention mask that is there is kept."""
    given = [
        {"attention_mask": torch.ones_like(row["input_ids"]), **row} if "attention_mask" in accepts else row
        for row in rows
    ]
    return {
        name: pad_sequence(
            [row[name] for row in given], batch_first=True, padding_value=pad_token_id if name == "input_ids" else 0
        )
        for name in given[0]
    }


def pad_id(config: Any, tokenizer: Any, site: Site) -> int | None:
    """The id to pad with; `None`: one text a batch, since a decoder finds its last token by its own pad id alone."""
    pad = config.pad_token_id
    if pad is None and not site.causal:
        pad = tokenizer.pad_token_id
    return None if pad is None else int(pad)


def end_count(ids: Tensor, config: Any) -> int:
    """How many end tokens (T,) ids hold, 0 for other models than encoder-decoders.

    transformers takes the label off the last end token and wants equally many of them in every text of a batch, so one
    that somebody typed into a text must not meet a text without it.
    """
    end = getattr(config, "eos_token_id", None) if config.is_encoder_decoder else None
    return 0 if end is None else int((ids == end).sum())


def forward_batches(
    lengths: Sequence[int], batch_tokens: int, config: Any, site: Site, pad: int | None, ends: Sequence[int] = ()
) -> Iterator[list[int]]:
    """Indices of texts that go through the model together, by their tokens and, if given, their `end_count`s.

    One text a batch where there is nothing to pad with; equal lengths alone where padding changes the model.
    """
    equal = not site.pads or (any(ends) and pad == config.eos_token_id)  # padding would be one more end
    for batch in token_batches(lengths, batch_tokens, equal_lengths=equal, kinds=ends or None):
        yield from [batch] if pad is not None else ([index] for index in batch)


def longest_input(tokenizer: Any, config: Any, site: Site) -> int | None:
    """How many tokens the model takes by its positions and its tokenizer, whichever is less; `None` if unbounded."""
    limits = []
    if positions := getattr(config, "max_position_embeddings", None):
        reserved = (config.pad_token_id or 0) + 1 if site.positions_after_pad else 0
        limits.append(positions - reserved)
    if tokenizer.model_max_length and tokenizer.model_max_length < 10**9:  # transformers writes 1e30 for "not known"
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)


def least_length(tokenizer: Any, pair: bool) -> int:
    """Tokens that a text, or a pair, has at the least: those of the template and one of each text."""
    return int(tokenizer.num_special_tokens_to_add(pair=pair)) + (2 if pair else 1)


def check_max_length(max_length: Any, tokenizer: Any, longest: int | None) -> int | None:
    """The tokens a text is cut at: `max_length`, or `longest` where that is None.

    Raises:
        TypeError: not an integer.
        ValueError: no room for a single token of a text, or more than the model takes.
    """
    if max_length is None:
        return longest
    try:
        length = None if isinstance(max_length, bool) else operator.index(max_length)
    except TypeError:
        length = None
    if length is None:
        raise TypeError(f"max_length must be an integer, got {max_length!r}.")
    least = least_length(tokenizer, pair=False)
    if length < least or (longest is not None and length > longest):
        most = "" if longest is None else f" and at most {longest}, which the model takes"
        raise ValueError(
            f"max_length must be at least {least}, the template's tokens and one of a text{most}, got {length}."
        )
    return length
