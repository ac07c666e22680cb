# SPDX-License-Identifier: Apache-2.0
"""The result for a text with several places to explain: its entities, each with an Explanation of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, overload

from ..render.display import show_here, text_or_file
from .explanation import Explanation
from .json_form import check_schema, dumps, loads

SCHEMA = "mhex-positioned/1.0"
TASKS = ("token_classification", "question_answering")
_KEYS = ("schema", "id", "text", "text_pair", "task", "explanations", "notes")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PositionedExplanation:
    """One text, and an `Explanation` for each of its places, in reading order.

    It has a length, is iterated over and indexed as a tuple of the explanations. Equal and hashed by value. Raises
    ValueError where an explanation has no place, or is of another text.
    """

    id: str
    text: str
    text_pair: str | None = None
    task: Literal["token_classification", "question_answering"] = "token_classification"
    explanations: tuple[Explanation, ...]
    notes: tuple[str, ...] = ()  # of the text as a whole; those of a place are in its explanation

    def __post_init__(self) -> None:
        for name in ("explanations", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r:.60}")
        for index, one in enumerate(self.explanations):
            if one.place is None or (one.text, one.text_pair) != (self.text, self.text_pair):
                raise ValueError(f"explanations[{index}] must be of a place in this text, got one of {one.text!r:.60}")

    def __len__(self) -> int:
        return len(self.explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Explanation, ...]: ...

    def __getitem__(self, index: int | slice) -> Explanation | tuple[Explanation, ...]:
        return self.explanations[index]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as a plain dict of new values; its explanations are in theirs."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "text": self.text,
            "text_pair": self.text_pair,
            "task": self.task,
            "explanations": [explanation.to_dict() for explanation in self.explanations],
            "notes": list(self.notes),
        }

    def to_json(self, indent: int | None = None) -> str:
        """The JSON form as a string, on one line without `indent`."""
        return dumps(self.to_dict(), indent)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> PositionedExplanation:
        """That of a JSON form. ValueError names what is missing, unknown, wrong or newer than we read."""
        document = dict(check_schema(document, SCHEMA))
        if odd := set(document).symmetric_difference(_KEYS):
            name = sorted(odd)[0]
            raise ValueError(
                f"explanation {'has an unknown key' if name in document else 'lacks the key'} {name!r:.60}"
            )
        for name in ("explanations", "notes"):
            if not isinstance(document[name], list):
                raise ValueError(f"explanation.{name} must be an array, got {document[name]!r:.60}")
        strings = [document["id"], document["text"], document["text_pair"] or "", *document["notes"]]
        if odd_values := [value for value in strings if not isinstance(value, str)]:
            raise ValueError(f"explanation must have strings for id, text and notes, got {odd_values[0]!r:.60}")
        explanations = tuple(map(Explanation.from_dict, document["explanations"]))
        del document["schema"]
        return cls(**{**document, "explanations": explanations})

    @classmethod
    def from_json(cls, source: str | bytes) -> PositionedExplanation:
        """That of a JSON string; errors as in `from_dict`, and ValueError for what is not JSON."""
        return cls.from_dict(loads(source))

    @overload
    def to_html(self, path: None = None, unit: str = "words") -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str], unit: str = "words") -> None: ...

    def to_html(self, path: str | PathLike[str] | None = None, unit: str = "words") -> str | None:
        """One self-contained page, where a place is picked to see its words: as a string, or written to `path`."""
        return text_or_file(self._render("page", [self.to_dict()], unit=unit), path)

    def to_markdown(self, words: int = 3) -> str:
        """A table with a row a place: its text and label, its own score, the rest's, and the strongest other words."""
        rows = ["| place | label | probability | own words | rest of the text | strongest other words |"]
        rows.append("|---|---|---|---|---|---|")
        for one in self.explanations:
            assert one.place is not None
            others = [word for word in one.words() if not set(word.tokens) & set(one.place.tokens)]
            strongest = sorted(others, key=lambda word: -abs(word.score))[:words]
            named = ", ".join(f"{_cell(word.text)} {word.score:+.2f}" for word in strongest)
            chance = "" if one.probability is None else f"{one.probability:.1%}"
            scores = f"{one.place_score:+.2f} | {one.rest_score:+.2f}"
            rows.append(f"| {_cell(one.place.text)} | {_cell(one.target.label)} | {chance} | {scores} | {named} |")
        return "\n".join([*rows, *(f"\n{note}" for note in self.notes)]) + "\n"

    def show(self, unit: str = "words") -> None:
        """Display in a notebook, or print to the terminal where there is no notebook."""
        form = self.to_dict()
        show_here(lambda: self._render("fragment", form, unit=unit), lambda: self._render("terminal", form, unit=unit))

    def _repr_html_(self) -> str:
        return str(self._render("fragment", self.to_dict()))

    def _render(self, kind: str, *arguments: Any, **options: Any) -> Any:
        from .. import render

        return getattr(render, f"render_positioned_{kind}")(*arguments, **options)

    def __repr__(self) -> str:
        places = [f"{one.place.text!r:.40} {one.target.label}" for one in self.explanations if one.place is not None]
        return f"<PositionedExplanation of {len(self)} places: {', '.join(places) or 'none'}>"


def _cell(text: str) -> str:
    """A piece of text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
