# SPDX-License-Identifier: Apache-2.0
"""Explanations side by side: two classes, two models, MHEX and another method's scores, two versions of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, overload

from ..explain.explanation import Explanation
from ..render import render_comparison, render_comparison_fragment, render_comparison_terminal
from ..render.display import show_here, text_or_file
from .scored_text import ScoredText
from .word_agreement import ComparedWord, WordAgreement, agreements, assign_words, compare_words

MOST = 4


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Two to four explanations side by side; made by `compare_explanations`.

    `words` are those of the text they share, with a score an explanation, and `agreements` say how alike each two of
    them are. Both are empty where the texts differ: then nothing can be aligned.
    """

    explanations: tuple[Explanation | ScoredText, ...]
    names: tuple[str, ...]
    words: tuple[ComparedWord, ...]
    agreements: tuple[WordAgreement, ...]
    same_text: bool
    title: str
    language: str | None = None

    @overload
    def to_html(self, path: None = None, unit: str = "words") -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str], unit: str = "words") -> None: ...

    def to_html(self, path: str | PathLike[str] | None = None, unit: str = "words") -> str | None:
        """One self-contained page: as a string, or written to `path`. `unit` is "words" or "tokens", of the highlighted
        texts; the table is of words.
        """
        return text_or_file(render_comparison(self._columns(), self._table(), title=self.title, unit=unit), path)

    def show(self, unit: str = "words") -> None:
        """Display in a notebook, or print to the terminal where there is no notebook."""
        columns, table = self._columns(), self._table()
        show_here(
            lambda: render_comparison_fragment(columns, table, unit=unit),
            lambda: render_comparison_terminal(columns, table),
        )

    def _repr_html_(self) -> str:
        return render_comparison_fragment(self._columns(), self._table())

    def __repr__(self) -> str:
        agreements = ", ".join(
            f"{self.names[pair.first]!r} and {self.names[pair.second]!r} "
            + ("not ordered" if pair.rank_correlation is None else f"{pair.rank_correlation:+.2f}")
            for pair in self.agreements
        )
        return f"<Comparison of {', '.join(map(repr, self.names))}: {agreements or 'different texts'}>"

    def _columns(self) -> list[dict[str, Any]]:
        """What is drawn of each: the tokens with this comparison's words, so that the columns show the same ones."""
        drawn = []
        for name, explanation in zip(self.names, self.explanations, strict=True):
            form = explanation.to_dict()
            owners = assign_words(form, self.language)
            tokens = [{**token, "word": owner} for token, owner in zip(form["tokens"], owners, strict=True)]
            drawn.append({**form, "name": name, "tokens": tokens})
        return drawn

    def _table(self) -> dict[str, Any]:
        return {"same_text": self.same_text, "words": self.words, "agreements": self.agreements}


def compare_explanations(
    explanations: Sequence[Explanation | ScoredText],
    *,
    names: Sequence[str] | None = None,
    title: str = "Explanations compared",
    language: str | None = None,
) -> Comparison:
    """Puts explanations side by side, and where they are of one text, says word by word how far they agree.

    >>> compare_explanations([explainer(text), ScoredText(text, spans, "captum")]).to_html("compared.html")

    Words are aligned over the text and not over tokens, so that models with different tokenizers can be compared. Each
    explanation is normalised by its largest word score; rank correlation (Spearman) needs no such thing.

    Args:
        explanations: two to four, `Explanation` or `ScoredText`.
        names: what to call each; by default its method, model or class, whatever tells them apart.
        title: of the page.
        language: spaCy language whose tokenizer makes the words, as in `MhexExplainer`.

    Raises:
        TypeError, ValueError: something else than explanations, fewer than two or more than four of them, or names that
            are not one each.
    """
    if isinstance(explanations, Explanation | ScoredText | str) or not isinstance(explanations, Sequence):
        raise TypeError(f"explanations must be a list of Explanation or ScoredText, got {type(explanations).__name__}.")
    for index, explanation in enumerate(explanations):
        if not isinstance(explanation, Explanation | ScoredText):
            raise TypeError(
                f"explanations[{index}] must be an Explanation or a ScoredText, got {type(explanation).__name__}: "
                "ScoredText(text, spans, name) makes one of any list of (start, end, score)."
            )
    if not 2 <= len(explanations) <= MOST:
        raise ValueError(f"explanations must be 2 to {MOST}, got {len(explanations)}.")
    if not isinstance(title, str):
        raise TypeError(f"title must be a string, got {type(title).__name__}.")
    same = len({(one.text, one.text_pair) for one in explanations}) == 1
    words = compare_words([one.to_dict() for one in explanations], language) if same else ()
    return Comparison(
        explanations=tuple(explanations),
        names=_names(explanations) if names is None else _check_names(names, len(explanations)),
        words=words,
        agreements=agreements(words),
        same_text=same,
        title=title,
        language=language,
    )


def _check_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names must be a list of strings, got {type(names).__name__}.")
    if len(names) != count:
        raise ValueError(f"names must be one for each of the {count} explanations, got {len(names)}.")
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"names[{index}] must be a string, got {type(name).__name__}.")
        if not name.strip():
            raise ValueError(f"names[{index}] must not be blank.")
    return tuple(names)


def _names(explanations: Sequence[Explanation | ScoredText]) -> tuple[str, ...]:
    """A method's own name; of Explanations whatever differs among them: model, class, aggregation."""
    ours = [one for one in explanations if isinstance(one, Explanation)]
    several_models = len({one.model for one in ours}) > 1
    several_classes = len({(one.target, one.foil) for one in ours}) > 1
    several_aggregations = len({one.method.aggregation for one in ours}) > 1
    names = []
    for explanation in explanations:
        if isinstance(explanation, ScoredText):
            names.append(explanation.name or "scores")
            continue
        name = explanation.model.name if several_models else "MHEX"
        if several_classes:
            foil = "" if explanation.foil is None else f" rather than {explanation.foil.label}"
            name += f" for {explanation.target.label}{foil}"
        names.append(f"{name}, {explanation.method.aggregation}" if several_aggregations else name)
    return tuple(names)
