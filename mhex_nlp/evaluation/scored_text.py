# SPDX-License-Identifier: Apache-2.0
"""A text with anybody's scores: what captum, shap, LIME or a person gives, ready to stand beside an Explanation."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from .scored_peers import read_captum, read_lime, read_shap


class ScoredSpan(NamedTuple):
    """A score for the code points [start, end) of the text (`sequence` 0), or of its pair (1)."""

    start: int
    end: int
    score: float
    sequence: int = 0

    @property
    def special(self) -> bool:
        """A span of nothing: the place tokenizers give to the tokens that they add."""
        return self.start == self.end


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text and a list of (start, end, score), by any method. Equal and hashed by value.

    Offsets count Unicode code points, as `tokenizer(text, return_offsets_mapping=True)` gives them. A span of nothing,
    (0, 0), is a special token: its score counts in the sum and is shown as a share. The spans may come in any order;
    where they overlap they are drawn as one, with the sum of their scores.

    >>> spans = [(start, end, score) for (start, end), score in zip(offsets, scores, strict=True)]
    >>> ScoredText(text, spans, "captum LayerIntegratedGradients", label="positive", probability=0.98)

    Args:
        text: that was scored.
        spans: (start, end, score) for each token or word; of a pair (start, end, score, sequence), where sequence is 0
            for `text` and 1 for `text_pair`.
        name: of the method.
        label, probability: what the model predicts, where that is to be shown.
        target: the class that the scores are for; by default the predicted one.
        foil: the class that the target is compared with.
        text_pair: the second half of a pair.

    Raises:
        TypeError, ValueError: what is no text or no span, offsets outside the text, or a score that is not finite; the
            sentence names the index.
    """

    text: str
    spans: tuple[ScoredSpan, ...]
    name: str
    _: KW_ONLY
    label: str | None = None
    probability: float | None = None
    target: str | None = None
    foil: str | None = None
    text_pair: str | None = None

    def __post_init__(self) -> None:
        for field in ("text", "name"):
            if not isinstance(value := getattr(self, field), str):
                raise TypeError(f"{field} must be a string, got {type(value).__name__}.")
        for field in ("label", "target", "foil", "text_pair"):
            if not isinstance(value := getattr(self, field), str | None):
                raise TypeError(f"{field} must be a string or None, got {type(value).__name__}.")
        if self.probability is not None:
            object.__setattr__(self, "probability", _number(self.probability, "probability"))
            if not 0 <= self.probability <= 1:
                raise ValueError(f"probability must be in 0 to 1, got {self.probability:g}.")
        if isinstance(self.spans, str) or not isinstance(self.spans, Iterable):
            raise TypeError(f"spans must be a list of (start, end, score), got {type(self.spans).__name__}.")
        spans = tuple(self._span(f"spans[{index}]", span) for index, span in enumerate(self.spans))
        if not spans:
            raise ValueError("spans must hold at least one (start, end, score), got none.")
        if not math.isfinite(sum(abs(span.score) for span in spans)):
            raise ValueError("spans must have scores whose sum is finite: each is, but their sum is not.")
        object.__setattr__(self, "spans", spans)

    @classmethod
    def from_offsets(
        cls,
        text: str,
        offsets: Iterable[Any],
        scores: Iterable[Any],
        name: str,
        *,
        sequence_ids: Iterable[int | None] | None = None,
        **about: Any,
    ) -> ScoredText:
        """From a tokenizer's `offset_mapping` and one score a token.

        Args:
            text, name: as in the class.
            offsets: (T, 2), that of one text, without its padding.
            scores: (T,), arrays and tensors included.
            sequence_ids: (T,), the encoding's `sequence_ids()`: 0, 1, or None for special tokens. A pair needs them.
            about: the other arguments of the class.

        Raises:
            TypeError, ValueError: lengths that differ, or as in the class.
        """
        ranges, values = list(offsets), list(scores)
        sequences = [0] * len(ranges) if sequence_ids is None else list(sequence_ids)
        for argument, entries in (("scores", values), ("sequence_ids", sequences)):
            if len(entries) != len(ranges):
                raise ValueError(f"{argument} must be one for each of the {len(ranges)} offsets, got {len(entries)}.")
        if about.get("text_pair") is not None and sequence_ids is None:
            raise ValueError("sequence_ids must say which offsets are of text and which of text_pair, got None.")
        spans: list[Any] = []
        for index, (offset, score, sequence) in enumerate(zip(ranges, values, sequences, strict=True)):
            if _length(offset) != 2:
                raise ValueError(f"offsets[{index}] must be (start, end), got {_brief(offset)}.")
            spans.append((0, 0, score) if sequence is None else (*offset, score, sequence))
        return cls(text, tuple(spans), name, **about)

    @classmethod
    def from_shap(
        cls,
        explanation: Any,
        text: str | None = None,
        *,
        output: int | str | None = None,
        name: str = "shap",
        **about: Any,
    ) -> ScoredText:
        """From a `shap.Explanation` of one text, as `shap.Explainer(predict, shap.maskers.Text(tokenizer))([text])[0]`.

        Args:
            explanation: its `data` are pieces of the text.
            text: by default the pieces, joined.
            output: of several outputs the one to read, by number or name.
            name, about: the other arguments of the class; `target` is by default the output's name.

        Raises:
            TypeError, ValueError: as the class; many texts, no output chosen, pieces that are not the text's.
        """
        parts = read_shap(explanation, text, output)
        return cls(name=name, **{**parts, **about})

    @classmethod
    def from_captum(
        cls, text: str, attributions: Any, encoding: Any, *, name: str = "captum", **about: Any
    ) -> ScoredText:
        """From what a captum method returned for one text.

        Args:
            text: that was explained.
            attributions: of the tokens, (T,) or (1, T), or of their embeddings, (T, H) or (1, T, H), which are summed.
            encoding: what a fast tokenizer returned for the text, special tokens included.
            name, about: the other arguments of the class.

        Raises:
            TypeError, ValueError: as the class; another number of tokens, an encoding of several texts.
        """
        return cls.from_offsets(text, name=name, **read_captum(attributions, encoding), **about)

    @classmethod
    def from_lime(cls, explanation: Any, *, label: int | None = None, name: str = "LIME", **about: Any) -> ScoredText:
        """From the explanation of a `LimeTextExplainer`; a word that stands at several places has its weight shared.

        Args:
            explanation: of one text.
            label: of several explained classes the one to read, by id.
            name, about: the other arguments of the class; `target` is by default the class's name.

        Raises:
            TypeError, ValueError: as the class; a class that was not explained.
        """
        parts = read_lime(explanation, label)
        return cls(name=name, **{**parts, **about})

    @property
    def sum(self) -> float:
        """Of all scores, special tokens included."""
        return math.fsum(span.score for span in self.spans)

    def to_dict(self) -> dict[str, Any]:
        """The form that displays draw; its tokens have the keys of an explanation's, `word` still None."""
        return {
            "text": self.text,
            "text_pair": self.text_pair,
            "name": self.name,
            "label": self.label,
            "probability": self.probability,
            "target": self.label if self.target is None else self.target,
            "foil": self.foil,
            "sum": self.sum,
            "tokens": [
                {
                    "start": None if span.special else span.start,
                    "end": None if span.special else span.end,
                    "sequence": None if span.special else span.sequence,
                    "word": None,
                    "special": span.special,
                    "score": span.score,
                }
                for span in self.spans
            ],
        }

    def _span(self, name: str, value: Any) -> ScoredSpan:
        if _length(value) not in (3, 4):
            raise ValueError(
                f"{name} must be (start, end, score), or of a pair (start, end, score, sequence), got {_brief(value)}."
            )
        start, end, score, *rest = value
        try:
            start, end, sequence = operator.index(start), operator.index(end), operator.index(rest[0] if rest else 0)
        except TypeError:
            raise TypeError(f"{name} must have whole numbers for its place, got {_brief(value)}.") from None
        number = _number(score, f"the score of {name}")
        sources = (self.text,) if self.text_pair is None else (self.text, self.text_pair)
        if start == end and not rest:
            return ScoredSpan(0, 0, number)
        if not rest and len(sources) == 2:
            raise ValueError(f"{name} must be (start, end, score, sequence), since there is a text_pair.")
        if sequence not in range(len(sources)):
            known = "0, since there is no text_pair" if len(sources) == 1 else "0 for text or 1 for text_pair"
            raise ValueError(f"{name} must have sequence {known}, got {sequence}.")
        length = len(sources[sequence])
        if not 0 <= start <= end <= length:
            raise ValueError(
                f"{name} must have 0 <= start <= end <= {length}, the text's length, got {start} to {end}."
            )
        return ScoredSpan(start, end, number, sequence)


def _number(value: Any, name: str) -> float:
    try:
        if isinstance(value, str | bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a number, got {_brief(value)}.") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {number}.")
    return number


def _length(value: Any) -> int | None:
    """Of a tuple, list, array or tensor; None of what is none."""
    if isinstance(value, str) or not (isinstance(value, Sequence) or hasattr(value, "__array__")):
        return None
    try:
        return len(value)
    except TypeError:  # an array without axes
        return None


def _brief(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
