# SPDX-License-Identifier: Apache-2.0
"""The parts of an explanation, as plain values that cannot be changed; field order is the order in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `text` is the source at [start, end) in code points; special tokens have none."""

    text: str
    piece: str  # what the tokenizer calls it
    start: int | None
    end: int | None
    sequence: int | None  # 0: text, 1: text_pair
    word: int | None  # counted over text, then text_pair
    special: bool  # added by the tokenizer's template
    score: float  # signed, for the target
    scores: tuple[float, ...] | None = None  # one per class, in id order
    layers: tuple[float, ...] | None = None  # one per depth, for the target
    error: float | None = None  # standard deviation of the score, where it was refined


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model predicts. Regression has `value` alone; multi-label also `labels`, all at 0.5 and up."""

    label: str | None
    id: int | None
    probability: float | None
    probabilities: dict[str, float] | None = field(hash=False)  # a dict has no hash; equality looks at it
    labels: tuple[str, ...] | None = None
    value: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        named = (self.label, self.id, self.probability, self.probabilities, self.labels)
        if self.value is not None and any(part is not None for part in named):
            raise ValueError("prediction with a value is a regression and so must have no label, id or probabilities")
        for probability in (self.probability, *(self.probabilities or {}).values()):
            if probability is not None and not 0 <= probability <= 1:
                raise ValueError(f"prediction has a probability outside 0 to 1: {probability}")


@dataclass(frozen=True, slots=True)
class ClassRef:
    """A class of the model (or a regression output), by name and id."""

    label: str
    id: int


@dataclass(frozen=True, slots=True)
class Method:
    """How the scores came about: whose logit they explain, and how far a fit can be trusted.

    `skill` is the fit's paired skill, `attainable` what any additive scores could have of it, `absolute_skill` and `r2`
    are of single answers (`FitReport`); explanations of earlier versions have the absolute one alone. `usual_misfit` is
    what |misfit| did not exceed for nine in ten of the fit's held-out texts.
    """

    name: str
    explains: Literal["heads", "model"]
    aggregation: Literal["mean", "last", "ema", "fitted"]
    contrast: Literal["centred", "foil", "none"]
    non_negative: bool
    removal: Literal["mask", "attention"] | None
    fitted: bool
    skill: float | None
    r2: float | None
    absolute_skill: float | None = None
    attainable: float | None = None
    usual_misfit: float | None = None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model that was explained."""

    name: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class HeadsChoice:
    """The class the aggregated heads choose, and whether the model chose it as well."""

    label: str
    id: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A word, sentence or phrase: `text` is its source slice, `score` the sum over `tokens` (indices of tokens)."""

    text: str
    start: int
    end: int
    sequence: int
    score: float
    tokens: tuple[int, ...]
    error: float | None = None  # standard deviation of the score, where the tokens' were refined


@dataclass(frozen=True, slots=True)
class Place:
    """What of a text an explanation is of: an entity, a word, or the answer to a question.

    `text` is the source slice [start, end) in code points of text (`sequence` 0) or pair (1), `label` the entity's type
    ("PER"), "O", or "answer", `tokens` the indices of all tokens of the place.
    """

    text: str
    start: int
    end: int
    sequence: int
    label: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FlipWord:
    """A word of a flip set: `text` is the source slice [start, end) in code points of text (0) or pair (1)."""

    text: str
    start: int
    end: int
    sequence: int


@dataclass(frozen=True, slots=True)
class FlipSet:
    """A small set of whole words that turns the prediction, as the model itself answered (`MhexExplainer.flip`).

    "removal": without its words the text is predicted as another class. "insertion": its words alone, all others
    removed, are predicted as the whole text is, where the text without any word is not. `label` and `probability` are
    those before: of the whole text, or of the text without its words; `label_after` and `probability_after` those of
    the set. Where `flipped` is False none was found in so many `passes`, which does not say that there is none.
    """

    kind: Literal["removal", "insertion"]
    flipped: bool
    words: tuple[FlipWord, ...]  # in reading order
    label: str
    probability: float
    passes: int  # texts with words removed that the model was asked about
    removal: Literal["mask", "attention"]
    label_after: str | None = None
    probability_after: float | None = None
    target: str | None = None  # the label that was asked for

    def __post_init__(self) -> None:
        if (self.label_after is None) != (self.probability_after is None):
            raise ValueError("label_after and probability_after must be given together or not at all")
        for probability in (self.probability, self.probability_after or 0.0):
            if not 0 <= probability <= 1:
                raise ValueError(f"a flip set has a probability outside 0 to 1: {probability}")
        if self.passes < 0:
            raise ValueError(f"passes of a flip set must be 0 or more, got {self.passes}")
        turned = self.label_after not in (None, self.label)
        if self.flipped != turned or self.flipped != bool(self.words):
            raise ValueError("a flip set must have words and another label after them where it flipped, else neither")
        if self.label_after == self.label and self.kind == "removal":
            raise ValueError("a flip set of removals must have another label_after than its label, or none")
        if self.target is not None and (self.kind == "insertion" or self.flipped and self.label_after != self.target):
            raise ValueError(f"target of a flip set must be the label that its removals lead to, got {self.target!r}")

    @property
    def needless(self) -> bool:
        """Whether the text without any word is predicted as the whole text is, so that no word is needed for it."""
        return self.kind == "insertion" and self.label_after == self.label
