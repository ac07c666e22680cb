# SPDX-License-Identifier: Apache-2.0
"""Whether the parts of an explanation fit together, wherever they come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..inputs.texts import SURROGATE_PAIR
from .parts import FlipSet, Place, Prediction, Token

_LARGEST = float(np.finfo(np.float32).max)  # of scores, which are handed out in 32 bits; no sum of them overflows 64


def check_parts(explanation: Any, sources: Sequence[str]) -> None:
    """ValueError where the parts of an `Explanation` of these sources contradict each other."""
    for name, count in (("windows", explanation.windows), ("passes", explanation.passes)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    tokens, base, misfit = explanation.tokens, explanation.base_value, explanation.misfit or 0.0
    _check_errors(tokens, explanation.covariance)
    for name, number in (("sum", explanation.sum), ("base_value", base), ("misfit", misfit)):
        if not abs(number) <= _LARGEST:
            raise ValueError(f"{name} must be finite, and at most {_LARGEST:.3g} in magnitude, got {number:.3g}")
    _check_base(explanation)
    known = explanation.prediction.probabilities or explanation.classes
    for name in ("prediction", "target", "foil"):
        label = getattr(getattr(explanation, name), "label", None)
        if known and label is not None and label not in known:
            raise ValueError(f"{name}.label must be one of the classes that are named, got {label!r:.60}")
    for name, source in zip(("text", "text_pair"), sources, strict=False):
        if SURROGATE_PAIR.search(source):
            raise ValueError(f"{name} holds a character split in two surrogates, which JSON would join again")
    depths = {None if token.layers is None else len(token.layers) for token in tokens}
    if len(depths) > 1:
        raise ValueError("tokens must all have layers of one length, or none of them any")
    numbers = explanation.depths
    if numbers is not None and tokens and len(numbers) not in depths:
        raise ValueError(f"depths must have one number for each of a token's layers, got {len(numbers)}")
    for index, token in enumerate(tokens):
        _check_token(f"tokens[{index}]", token, sources, explanation.classes)
    total = math.fsum(token.score for token in tokens)
    tolerance = 1e-4 * (1 + math.fsum(abs(token.score) for token in tokens))
    if not explanation.method.non_negative and abs(total - explanation.sum) > tolerance:
        raise ValueError(f"sum must be the sum of the token scores, {total:.6g}, got {explanation.sum:.6g}")
    if explanation.place is not None:
        _check_place(explanation.place, tokens, sources)
    for index, flip in enumerate(explanation.flips or ()):
        _check_flip(f"flips[{index}]", flip, explanation.prediction, sources)


def _check_base(explanation: Any) -> None:
    empty, misfit, base = explanation.empty_value, explanation.misfit, explanation.base_value
    if (empty is None) != (misfit is None):
        raise ValueError("empty_value and misfit must be given together or not at all")
    if empty is not None and not abs(empty + misfit - base) <= 1e-4 * (1 + abs(empty) + abs(misfit)):
        raise ValueError(f"empty_value and misfit must add up to base_value, {base:.6g}, got {empty + misfit:.6g}")
    if explanation.note_codes and len(explanation.note_codes) != len(explanation.notes):
        raise ValueError(f"note_codes must be one for each of {len(explanation.notes)} notes, or none at all")


def _check_errors(tokens: Sequence[Token], covariance: Sequence[Sequence[float]] | None) -> None:
    if any((token.error is None) != (covariance is None) for token in tokens):
        raise ValueError("tokens must all have an error where there is a covariance, and none otherwise")
    if covariance is None:
        return
    if [len(row) for row in covariance] != list(range(1, len(tokens) + 1)):
        raise ValueError(f"covariance must be {len(tokens)} rows of 1, 2, 3, ... numbers, one a token")
    for index, (token, row) in enumerate(zip(tokens, covariance, strict=True)):
        if not (all(map(math.isfinite, (token.error or 0.0, *row))) and (token.error or 0.0) >= 0):
            raise ValueError(f"tokens[{index}] has an error or a covariance that is not a finite number, 0 or more")


def _check_token(name: str, token: Token, sources: Sequence[str], classes: Sequence[str] | None) -> None:
    if not all(abs(score) <= _LARGEST for score in (token.score, *(token.scores or ()), *(token.layers or ()))):
        raise ValueError(f"{name} has a score that is not finite, or above {_LARGEST:.3g} in magnitude")
    if (token.scores is None) != (classes is None):
        raise ValueError(f"{name}.scores and classes must be given together or not at all")
    if token.scores is not None and classes is not None and len(token.scores) != len(classes):
        raise ValueError(f"{name} must have {len(classes)} scores, one a class, got {len(token.scores)}")
    if token.special:
        if token.text or (token.start, token.end, token.sequence, token.word) != (None,) * 4:
            raise ValueError(f"{name} is special and so must have no text, start, end, sequence or word")
        return
    start, end, sequence = token.start, token.end, token.sequence
    if start is None or end is None or sequence is None or token.word is None:
        raise ValueError(f"{name} is not special and so must have start, end, sequence and word")
    _check_slice(name, token.text, start, end, sequence, sources)
    if token.word < 0:
        raise ValueError(f"{name}.word must be 0 or more, got {token.word}")


def _check_place(place: Place, tokens: Sequence[Token], sources: Sequence[str]) -> None:
    _check_slice("place", place.text, place.start, place.end, place.sequence, sources)
    known = {index for index, token in enumerate(tokens) if token.sequence == place.sequence}
    if not place.tokens or list(place.tokens) != sorted(known & set(place.tokens)):
        raise ValueError(f"place.tokens must be ascending indices of tokens of its text, got {place.tokens!r:.60}")


def _check_flip(name: str, flip: FlipSet, prediction: Prediction, sources: Sequence[str]) -> None:
    for number, word in enumerate(flip.words):
        _check_slice(f"{name}.words[{number}]", word.text, word.start, word.end, word.sequence, sources)
    known = prediction.probabilities or {}
    for label in (flip.label, flip.label_after, flip.target):
        if label is not None and label not in known:
            raise ValueError(f"{name} must be of classes that are named, got {label!r:.60}")
    whole = flip.label if flip.kind == "removal" else flip.label_after
    if whole is not None and whole != prediction.label:
        raise ValueError(f"{name} must be of the predicted class, {prediction.label!r:.60}, got {whole!r:.60}")


def _check_slice(name: str, text: str, start: int, end: int, sequence: int, sources: Sequence[str]) -> None:
    if not 0 <= sequence < len(sources):
        raise ValueError(f"{name}.sequence must be 0, or 1 where there is a text_pair, got {sequence}")
    source = sources[sequence]
    if not 0 <= start <= end <= len(source):
        raise ValueError(f"{name} has offsets {start} to {end} outside its text of {len(source)} characters")
    if text != source[start:end]:
        raise ValueError(f"{name}.text must be the source's {source[start:end]!r:.60}, got {text!r:.60}")
