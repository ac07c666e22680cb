# SPDX-License-Identifier: Apache-2.0
"""The result object: a prompt's units, a continuation's spans, and what each unit adds to each span.

Axes: N units, C spans.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...render.display import show_here, text_or_file
from ..json_form import dumps, from_plain, loads, to_plain
from ..parts import ModelRef
from ..positioned import draw, draw_to_file
from .parts import ContinuationSpan, Unit

SCHEMA = "mhex-context/1.0"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ContextExplanation:
    """What each unit of a prompt adds to the log-probability of each span of a continuation, in nats.

    Where there were ablations, the scores of a span add up to its `log_probability` less its `empty_log_probability`.
    Offsets count Unicode code points. Raises ValueError where the parts contradict each other.
    """

    id: str
    library: str
    model: ModelRef
    prompt: str  # as the model reads it, the template included
    continuation: str
    generated: bool  # by the model itself; else given
    units: tuple[Unit, ...]
    spans: tuple[ContinuationSpan, ...]
    budget: int  # ablations that were allowed
    passes: int  # rows that went through the model to explain, the whole prompt among them
    prior: Literal["attention", "none"]
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        places: tuple[tuple[str, str, Sequence[Unit | ContinuationSpan]], ...] = (
            ("units", self.prompt, self.units),
            ("spans", self.continuation, self.spans),
        )
        for name, source, parts in places:
            for index, part in enumerate(parts):
                if not 0 <= part.start < part.end <= len(source) or source[part.start : part.end] != part.text:
                    raise ValueError(f"{name}[{index}] must be the text at its place, [{part.start}, {part.end}).")
        for index, span in enumerate(self.spans):
            if len(span.scores) != len(self.units) or len(span.errors or span.scores) != len(self.units):
                raise ValueError(f"spans[{index}] must have a score, and an error or none, for each unit.")
            known = (span.log_probability, span.empty_log_probability or 0.0, *span.scores, *(span.errors or ()))
            if not all(map(math.isfinite, known)) or min(span.errors or (0.0,)) < 0:
                raise ValueError(f"spans[{index}] must have finite numbers, and errors of 0 or more.")

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N, C): what each unit adds to each span, nats."""
        return np.array([span.scores for span in self.spans]).T.reshape(len(self.units), len(self.spans))

    @property
    def errors(self) -> NDArray[np.float64] | None:
        """(N, C): standard deviations of the scores; `None` where the model was not asked."""
        rows = [span.errors for span in self.spans]
        return None if None in rows else np.array(rows).T.reshape(len(self.units), len(self.spans))

    def top(self, count: int = 5, span: int = 0) -> list[tuple[Unit, float]]:
        """The `count` units that add most to a span, by its number, and their scores."""
        scores = self.spans[span].scores
        order = sorted(range(len(self.units)), key=lambda unit: -scores[unit])
        return [(self.units[unit], scores[unit]) for unit in order[:count]]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: plain values, `None` where something is not known."""
        plain = to_plain(self, ContextExplanation, "context explanation")
        return {"schema": SCHEMA, **plain}

    def to_json(self, *, indent: int | None = None) -> str:
        """Strict JSON."""
        return dumps(self.to_dict(), indent)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> ContextExplanation:
        """The explanation again. ValueError names the key that is missing, unknown or of the wrong type."""
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            raise ValueError(f'not a context explanation: "schema" must be "{SCHEMA}", got {schema!r:.60}.')
        plain = {key: value for key, value in document.items() if key != "schema"}
        return from_plain(cls, plain, "context explanation")

    @classmethod
    def from_json(cls, source: str | bytes) -> ContextExplanation:
        """The explanation again; ValueError for what is no JSON of one."""
        return cls.from_dict(loads(source))

    def to_html(self, path: str | PathLike[str] | None = None) -> str | None:
        """One page that needs nothing else: as a string, or written to `path`."""
        return text_or_file(draw("context_page", self.to_dict()), path)

    def to_markdown(self) -> str:
        """The units and their scores as Markdown."""
        return str(draw("context_markdown", self.to_dict()))

    def to_figure(self, path: str | PathLike[str], **options: Any) -> None:
        """Write a heat map, units by spans, as SVG, PDF or PNG; options and errors as `Explanation.to_figure`."""
        draw_to_file("context_figure", self.to_dict(), path, **options)

    def show(self) -> None:
        """Displays the explanation in a notebook, else on the terminal."""
        form = self.to_dict()
        show_here(lambda: draw("context_fragment", form), lambda: draw("context_terminal", form))

    def _repr_html_(self) -> str:
        return str(draw("context_fragment", self.to_dict()))

    def __repr__(self) -> str:
        spans = "one span" if len(self.spans) == 1 else f"{len(self.spans)} spans"
        return f"<ContextExplanation of {spans} by {len(self.units)} units, budget {self.budget}>"
