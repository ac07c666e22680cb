# SPDX-License-Identifier: Apache-2.0
"""What a model says of texts with everything removed, at a handful of lengths: `explain.misfit` looks it up.

Axes: N content tokens, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...explain.misfit import is_empty_of_all
from ...inputs.encoding import TokenisedText
from .equations import EquationSource

_SAMPLED = 1000  # texts whose lengths are looked at
_JOINED = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # texts put together for lengths beyond theirs
_BEYOND, _STEP = 4, 1.1  # times the longest text; from one length to the next
_AVERAGED = 4  # texts of one length: the halves of pairs meet at other places
_NUMBERS = 2048  # in the record, at the most


def measure_empty_texts(
    source: EquationSource, texts: Sequence[str], pairs: Sequence[str] | None
) -> dict[str, list[Any]] | None:
    """`{"lengths": [N, ...], "values": [[v(empty) for each of C labels], ...]}`, contrasted as the fit is.

    `None` where the length alone does not say it, since a decoder reads its label from a token of the text.
    """
    causal, labels = source.perturbed.causal, source.model.config.num_labels
    halves = texts[:_SAMPLED], None if pairs is None else pairs[:_SAMPLED]
    whole = source.perturbed.tokenise(*halves)
    longest = max(len(item.content_positions(causal)) for item in whole)
    by_length: dict[int, list[TokenisedText]] = {}
    joined, joined_pairs = ([" ".join(half[:count]) for count in _JOINED] if half else None for half in halves)
    for item in [*whole, *source.perturbed.tokenise(joined or [], joined_pairs)]:
        length = len(item.content_positions(causal))
        if not is_empty_of_all(item, causal):
            return None
        if 0 < length <= _BEYOND * longest:
            by_length.setdefault(length, []).append(item)
    lengths = _spread(sorted(by_length), max(_NUMBERS // labels, 4))
    items = [item for length in lengths for item in by_length[length][:_AVERAGED]]
    nothing = [torch.zeros(1, len(item.content_positions(causal)), dtype=torch.bool) for item in items]
    answers = dict[int, list[Tensor]]()
    for kept, logits in zip(nothing, source.perturbed.kept_logits(items, nothing), strict=True):
        answers.setdefault(kept.shape[1], []).append(source.contrasted(logits[0]).double())
    means = [torch.stack(answers[length]).mean(0).tolist() for length in lengths]
    return {"lengths": lengths, "values": [[float(f"{value:.5g}") for value in row] for row in means]}


def _spread(lengths: Sequence[int], most: int) -> list[int]:
    """Some of the ascending lengths, the first and the last among them, no more than `most`, 4 at the least."""
    step = _STEP
    while True:
        chosen = [lengths[0]]
        for length in lengths[1:]:
            if length >= step * chosen[-1] or length == lengths[-1]:
                chosen.append(length)
        if len(chosen) <= most:
            return chosen
        step *= _STEP
