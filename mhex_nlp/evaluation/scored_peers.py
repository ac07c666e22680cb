# SPDX-License-Identifier: Apache-2.0
"""What shap, captum and LIME return, read as spans of a text with scores. None of these libraries is imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Parts = dict[str, Any]  # arguments of ScoredText


def read_shap(explanation: Any, text: str | None, output: int | str | None) -> Parts:
    """Text, spans and target of one text's `shap.Explanation`, whose pieces in `data` are places of the text.

    Raises:
        TypeError: no such object.
        ValueError: many texts, several outputs and none chosen, or pieces that are not the text's.
    """
    if not all(hasattr(explanation, name) for name in ("values", "data", "output_names")):
        raise TypeError(f"explanation must be a shap.Explanation, got {type(explanation).__name__}.")
    values, pieces = np.asarray(explanation.values), explanation.data
    if values.dtype == object or isinstance(pieces, str) or not all(isinstance(piece, str) for piece in pieces):
        raise ValueError("explanation must be of one text, with its pieces as data, got many: pass explanation[index].")
    target, names = None, explanation.output_names
    if values.ndim == 2:
        labels = [] if names is None or isinstance(names, str) else [str(name) for name in names]
        if isinstance(output, str) and output in labels:
            output = labels.index(output)
        if output is None or isinstance(output, str) or not 0 <= output < values.shape[1]:
            known = f", of {labels}" if labels else ""
            raise ValueError(f"output must name one of {values.shape[1]} outputs{known}, got {output!r}.")
        values, target = values[:, output], labels[output] if labels else None
    elif isinstance(names, str):
        target = names
    if values.ndim != 1 or len(values) != len(pieces):
        raise ValueError(f"explanation must have a value for each of {len(pieces)} pieces, got {values.shape}.")
    text = "".join(pieces) if text is None else text
    return {"text": text, "spans": _places(text, list(pieces), values), "target": target}


def _places(text: str, pieces: list[str], values: Any) -> list[tuple[int, int, float]]:
    """The pieces in the order of the text, each without the white space around it."""
    spans, at = [], 0
    whole = "".join(pieces) == text
    for index, (piece, value) in enumerate(zip(pieces, values, strict=True)):
        word = piece.strip()
        start = at + len(piece) - len(piece.lstrip()) if whole else text.find(word, at)
        if not word:
            spans.append((0, 0, float(value)))
            at += len(piece) if whole else 0
            continue
        if start < 0:
            raise ValueError(f"data[{index}] must stand in the text behind the pieces before it, got {piece!r:.60}.")
        spans.append((start, start + len(word), float(value)))
        at = at + len(piece) if whole else start + len(word)
    return spans


def read_captum(attributions: Any, encoding: Any) -> Parts:
    """Offsets, scores and sequences: attributions (T,), (1, T), (T, H) or (1, T, H), summed over H units.

    Raises:
        TypeError: an encoding of no fast tokenizer.
        ValueError: several texts, or another number of tokens.
    """
    encodings = getattr(encoding, "encodings", None)
    if not encodings:
        raise TypeError(f"encoding must be what a fast tokenizer returned for the text, got {type(encoding).__name__}.")
    if len(encodings) != 1:
        raise ValueError(f"encoding must be of one text, got {len(encodings)}.")
    offsets, sequences = encodings[0].offsets, encodings[0].sequence_ids
    values = np.asarray(attributions.detach().cpu().float() if hasattr(attributions, "detach") else attributions)
    count, shape = len(offsets), values.shape
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim == 2:
        values = values[0] if values.shape == (1, count) and count != 1 else values.sum(-1)
    if values.shape != (count,):
        raise ValueError(f"attributions must be of the {count} tokens of one text, got shape {shape}.")
    return {"offsets": offsets, "scores": values.tolist(), "sequence_ids": sequences}


def read_lime(explanation: Any, label: int | None) -> Parts:
    """Text, spans and target of an explanation by `LimeTextExplainer`.

    LIME has one weight for all places of a word (unless `bow=False`), since it removes them together: each place gets
    its share.

    Raises:
        TypeError: no such explanation.
        ValueError: several classes and none chosen, or one that was not explained.
    """
    indexed = getattr(getattr(explanation, "domain_mapper", None), "indexed_string", None)
    if indexed is None:
        raise TypeError(f"explanation must be of a LimeTextExplainer, got {type(explanation).__name__}.")
    weights = explanation.as_map()
    if label is None and len(weights) == 1:
        label = next(iter(weights))
    if label is None or label not in weights:
        raise ValueError(f"label must be one of {sorted(weights)}, which were explained, got {label!r}.")
    spans: list[tuple[int, int, float]] = []
    for word_id, weight in weights[label]:
        length, starts = len(indexed.word(word_id)), _starts(indexed.string_position(word_id))
        spans += [(start, start + length, float(weight) / len(starts)) for start in starts]
    names = getattr(explanation, "class_names", None)
    target = str(names[label]) if names is not None and len(names) > label else None
    return {"text": indexed.raw_string(), "spans": sorted(spans), "target": target}


def _starts(positions: Any) -> list[int]:
    return [int(position) for position in (positions if isinstance(positions, Iterable) else [positions])]
