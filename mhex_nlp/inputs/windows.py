# SPDX-License-Identifier: Apache-2.0
"""Texts longer than the model takes, read in windows that overlap.

With k windows, logits are the mean of the windows' logits, and a token's score is (1/k) sum over windows of its score
there, 0 where it is not in the window: so the scores add up to the mean of the windows' sums. Of a pair only the longer
half is windowed, the other stands in every window. Ours, beyond the paper.

Axes: T tokens of a window, L depths, C labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from .checks import as_integer
from .encoding import Array, TokenisedText, Window, features_of, positions_of, tensor, tokenise
from .tokenizer import private_copy


def check_stride(stride: Any, tokenizer: Any, max_length: int | None) -> int | None:
    """The tokens that two neighbouring windows share, checked; `None` for no windows."""
    if stride is None:
        return None
    shared = as_integer(stride, "stride", expected="an integer or None")
    if max_length is None:
        raise ValueError(f"stride needs max_length, since the model takes texts of any length, got stride={shared}.")
    room = max_length - int(tokenizer.num_special_tokens_to_add(pair=False))
    if not 0 <= shared < room:
        raise ValueError(
            f"stride must be at least 0 and less than {room}, the tokens of a text that fit in a window, got {shared}."
        )
    return shared


def tokenise_in_windows(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    max_length: int,
    stride: int,
    accepts: Collection[str],
    *,
    name: str = "text",
    start: int | None = 0,
    array: Array = tensor,
) -> list[TokenisedText]:
    """As `tokenise`, but a text of more than `max_length` tokens comes whole, with windows that share `stride` tokens.

    Of a pair whose shorter half leaves no room for windows of the other, the shorter is cut, to half of the room at
    most, and the text marked as truncated.
    """
    if pairs is not None:
        room = max_length - int(tokenizer.num_special_tokens_to_add(pair=True)) - 1
        if stride >= room:
            raise ValueError(
                f"stride must be less than {room} for pairs, the tokens of a half that fit in a window of {max_length} "
                f"beside one of the other, got {stride}."
            )
    whole = tokenise(tokenizer, texts, pairs, None, accepts, name=name, start=start, array=array)
    cutter = private_copy(tokenizer)
    cutter.truncation_side = "right"  # windows are all of the text, whichever end the tokenizer would cut
    cut = partial(_windowed, cutter, max_length=max_length, stride=stride, accepts=accepts, array=array)
    return [item if len(item) <= max_length else cut(item) for item in whole]


def _windowed(
    tokenizer: Any, item: TokenisedText, max_length: int, stride: int, accepts: Collection[str], array: Array
) -> TokenisedText:
    halves = list(item.sources)
    counts = [item.encoding.sequence_ids.count(half) for half in range(len(halves))]
    long = counts.index(max(counts))
    special = len(item) - sum(counts)
    if len(halves) == 2 and max_length - special - counts[1 - long] <= stride:
        limit = max(1, min((max_length - special) // 2, max_length - special - stride - 1))
        ends = positions_of(item.encoding, 1 - long)
        halves[1 - long] = halves[1 - long][: item.encoding.offsets[ends[limit - 1]][1]]
        (cut,) = tokenise(tokenizer, halves[:1], halves[1:], None, accepts, array=array)
        item = replace(item, encoding=cut.encoding, features=cut.features, truncated=True)
    batch = tokenizer(
        *([half] for half in halves),
        truncation="only_second" if long else "only_first",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
    )
    windows, first = [], 0
    for index, encoding in enumerate(batch.encodings):
        positions = _positions_in_whole(item.encoding, encoding, long, first)
        first += encoding.sequence_ids.count(long) - stride
        windows.append(
            Window(
                text=item.text,
                text_pair=item.text_pair,
                encoding=encoding,
                features=features_of(batch, index, accepts, array),
                truncated=False,
                name=item.name,
                positions=np.array(positions),
            )
        )
    return replace(item, windows=tuple(windows))


def _positions_in_whole(whole: Encoding, window: Encoding, long: int, first: int) -> list[int]:
    """Positions in the whole of a window's tokens, if the tokens of its `long` half begin with number `first` there."""
    positions = [0] * len(window)
    for sequence in (None, 0, 1):
        in_window = positions_of(window, sequence)
        start = first if sequence == long else 0
        in_whole = positions_of(whole, sequence)[start : start + len(in_window)]
        for index, position in zip(in_window, in_whole, strict=True):
            positions[index] = position
    whole_ids = whole.ids  # each access builds a new list
    if [whole_ids[position] for position in positions] != list(window.ids):
        raise ValueError("the tokenizer cut a text into windows whose tokens are not those of the whole text.")
    return positions


def merge(parts: Sequence[NDArray[np.float32]], windows: Sequence[Window], size: int) -> NDArray[np.float32]:
    """(size, L, C): scores of a whole text, from those (T, L, C) of its windows."""
    whole = np.zeros((size, *parts[0].shape[1:]), dtype=parts[0].dtype)
    for part, window in zip(parts, windows, strict=True):
        whole[window.positions] += part[: len(window)]  # no token is in a window twice
    whole /= len(windows)
    return whole
