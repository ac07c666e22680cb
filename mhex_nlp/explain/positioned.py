# SPDX-License-Identifier: Apache-2.0
"""The result for a text with several places to explain: its entities, each with an Explanation of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

from ..render.display import figure_format, show_here, text_or_file
from .explanation import Explanation
from .json_form import check_schema, dumps, loads, pydantic_form

SCHEMA = "mhex-positioned/1.0"
_FAMILY = SCHEMA.partition("/")[0]
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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return pydantic_form(cls)

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
        strings = [document["id"], document["text"], *document["notes"]]
        strings += [] if document["text_pair"] is None else [document["text_pair"]]
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
        return text_or_file(draw("positioned_page", [self.to_dict()], unit=unit), path)

    def to_figure(self, path: str | PathLike[str], **options: Any) -> None:
        """Write the text once for each place, as SVG, PDF or PNG; options and errors as `Explanation.to_figure`."""
        draw_to_file("positioned_figure", self.to_dict(), path, **options)

    def to_markdown(self, path: str | PathLike[str] | None = None, unit: str = "words") -> str | None:
        """A table with a row a place, its own words' score apart: as a string, or written to `path`."""
        return text_or_file(draw("positioned_markdown", self.to_dict(), unit=unit), path)

    def to_latex(self, path: str | PathLike[str] | None = None, unit: str = "words") -> str | None:
        """A LaTeX snippet that needs xcolor alone: as a string, or written to `path` for `input`."""
        return text_or_file(draw("positioned_latex", self.to_dict(), unit=unit), path)

    def show(self, unit: str = "words") -> None:
        """Display in a notebook, or print to the terminal where there is no notebook."""
        form = self.to_dict()
        show_here(
            lambda: draw("positioned_fragment", form, unit=unit), lambda: draw("positioned_terminal", form, unit=unit)
        )

    def _repr_html_(self) -> str:
        return str(draw("positioned_fragment", self.to_dict()))

    def __repr__(self) -> str:
        places = [f"{one.place.text!r:.40} {one.target.label}" for one in self.explanations if one.place is not None]
        return f"<PositionedExplanation of {len(self)} places: {', '.join(places) or 'none'}>"


def draw(name: str, *arguments: Any, **options: Any) -> Any:
    """What `render_{name}` of `mhex_nlp.render` makes, which is imported when something is first drawn."""
    from .. import render

    return getattr(render, f"render_{name}")(*arguments, **options)


def draw_to_file(name: str, document: dict[str, Any], path: str | PathLike[str], **options: Any) -> None:
    """Writes a figure in the format that the end of `path` says; ValueError for another end."""
    kind = figure_format(path)
    Path(path).write_bytes(draw(name, document, kind, **options))


def render_any_page(documents: Iterable[dict[str, Any]], *, title: str, unit: str = "words") -> str:
    """A page of explanations in JSON form, of texts or of texts with places, but not of both."""
    documents = list(documents)
    places = bool(documents) and documents[0]["schema"] == SCHEMA
    return str(draw("positioned_page" if places else "page", documents, title=title, unit=unit))


def render_any_terminal(document: dict[str, Any], console: Any = None, *, unit: str = "words") -> None:
    """Prints an explanation, or that of several places."""
    draw("positioned_terminal" if document["schema"] == SCHEMA else "terminal", document, console, unit=unit)


def read_any(source: str | bytes) -> Explanation | PositionedExplanation:
    """The explanation, or that of several places, of a JSON string; errors as in `Explanation.from_json`."""
    document = loads(source)
    schema = document.get("schema") if isinstance(document, dict) else None
    family = PositionedExplanation if isinstance(schema, str) and schema.startswith(f"{_FAMILY}/") else Explanation
    return family.from_dict(document)
