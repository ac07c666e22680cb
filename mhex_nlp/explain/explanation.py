# SPDX-License-Identifier: Apache-2.0
"""The result object: one text, its prediction and a signed score for every token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ..inputs.segmentation import segment_sentences, word_spans
from ..inputs.syntax import parsed_sentences
from ..render.display import figure_format, show_here, text_or_file
from ..render.errors import span_error, with_error
from ..render.numbers import signed
from .json_form import SCHEMA, check_schema, dumps, from_plain, loads, pydantic_form, to_plain
from .parts import ClassRef, FlipSet, FlipWord, HeadsChoice, Method, ModelRef, Place, Prediction, Span, Token
from .phrases import scored_runs, sum_by_phrase
from .shap_form import to_shap
from .sums import check_count, check_no_language, highest, segment_owners, sum_by_owner, sum_by_segment
from .tables import Tables
from .validity import check_parts

if TYPE_CHECKING:
    from spacy.language import Language

__all__ = [
    "ClassRef",
    "Explanation",
    "FlipSet",
    "FlipWord",
    "HeadsChoice",
    "Method",
    "ModelRef",
    "Place",
    "Prediction",
    "Span",
    "Token",
]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Explanation(Tables):
    """Signed scores of one text's T tokens for one class, `target`.

    Token scores add up to `sum`, and `base_value + sum` is the (contrasted) logit explained. Offsets count
    Unicode code points. Equal and hashed by value. Raises ValueError where the parts contradict each other.
    """

    id: str
    text: str
    text_pair: str | None
    prediction: Prediction
    target: ClassRef
    foil: ClassRef | None
    method: Method
    model: ModelRef
    library: str
    heads: HeadsChoice | None
    tokens: tuple[Token, ...]
    classes: tuple[str, ...] | None = None
    sum: float
    base_value: float
    truncated: bool
    windows: int
    notes: tuple[str, ...]
    passes: int = 1  # of the model over each window of the text, or over the text
    covariance: tuple[tuple[float, ...], ...] | None = None  # of refined token scores: row i has i + 1 entries
    settled: bool | None = None  # whether budget="auto" settled the ranking of the leading words; None: not asked
    misfit: float | None = None  # logits that the scores miss of the whole text less the empty one, where it is known
    place: Place | None = None  # what of the text the scores explain; None: all of it
    flips: tuple[FlipSet, ...] | None = None  # words that turn the prediction, where it was asked for them
    empty_value: float | None = None  # what the model says of no words, where misfit is known: their sum is base_value
    note_codes: tuple[str, ...] = ()  # the kinds of the notes, in their order
    depths: tuple[int, ...] | None = None  # the numbers of the depths of layers; 0 enters the first layer

    def __post_init__(self) -> None:
        for name in ("tokens", "notes", "classes", "flips", "note_codes", "depths"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if self.empty_value is None and self.misfit is not None:  # as in files of earlier versions
            object.__setattr__(self, "empty_value", self.base_value - self.misfit)
        check_parts(self, self._sources)

    @property
    def _sources(self) -> tuple[str, ...]:
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)

    @property
    def label(self) -> str | None:
        """The predicted label; None for regression."""
        return self.prediction.label

    @property
    def probability(self) -> float | None:
        """The probability of the predicted label; None for regression."""
        return self.prediction.probability

    @property
    def scores(self) -> NDArray[np.float32]:
        """(T,) float32, signed, for the target; special tokens included."""
        return np.asarray([token.score for token in self.tokens], dtype=np.float32)

    @property
    def layer_scores(self) -> NDArray[np.float32]:
        """(T, L) float32, one column a depth. Raises ValueError unless explained with layers=True."""
        if not self.tokens or self.tokens[0].layers is None:
            raise ValueError("this explanation has no scores per layer: pass layers=True to the explainer")
        return np.asarray([token.layers for token in self.tokens], dtype=np.float32)

    @property
    def class_scores(self) -> NDArray[np.float32]:
        """(T, C) float32, one column a class in id order. Raises ValueError unless explained with classes="all"."""
        if self.classes is None:
            raise ValueError('this explanation has its target\'s scores only: pass classes="all" to the explainer')
        rows = [token.scores or () for token in self.tokens]
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), len(self.classes))

    def _with_errors(self, spans: Sequence[Span]) -> tuple[Span, ...]:
        """Sums of scores with the standard deviation of each, which takes in how the tokens' errors go together."""
        if self.covariance is None:
            return tuple(spans)
        return tuple(replace(span, error=span_error(self.covariance, span.tokens)) for span in spans)

    @property
    def misfit_is_large(self) -> bool:
        """Whether the scores miss more of this text than of nine in ten texts on which their fit was judged."""
        usual = self.method.usual_misfit
        return usual is not None and self.misfit is not None and abs(self.misfit) > usual

    @property
    def special_mass(self) -> float:
        """The share of special tokens in the absolute scores, 0 to 1: displays hide those tokens and show this."""
        mass = math.fsum(abs(token.score) for token in self.tokens)
        special = math.fsum(abs(token.score) for token in self.tokens if token.special)
        return special / mass if mass else 0.0

    @property
    def place_score(self) -> float:
        """The sum of the scores of the place's own tokens. Raises ValueError for an explanation of a whole text."""
        return math.fsum(self.tokens[index].score for index in self._own_tokens())

    @property
    def rest_score(self) -> float:
        """The sum of the scores of the text's other tokens. Raises ValueError as `place_score`."""
        own = set(self._own_tokens())
        rest = (token for index, token in enumerate(self.tokens) if index not in own and not token.special)
        return math.fsum(token.score for token in rest)

    def _own_tokens(self) -> tuple[int, ...]:
        if self.place is None:
            raise ValueError("this explanation is of the whole text, not of a place in it")
        return self.place.tokens

    def words(self, language: str | None = None) -> tuple[Span, ...]:
        """The words that have tokens, in order; with the special tokens they add up to all tokens' scores.

        By default the words the text was explained with; with `language` those of spaCy's tokenizer for it.
        """
        if language is None:
            owners = [token.word for token in self.tokens]
        else:
            owners = segment_owners(self.tokens, self._sources, lambda text: word_spans(text, language))
        return self._with_errors(sum_by_owner(self.tokens, self._sources, owners))

    def sentences(self, language: str | None = None, nlp: Language | None = None) -> tuple[Span, ...]:
        """The sentences that have tokens, in order; with the special tokens they add up as words do.

        Args:
            language: a spaCy code for the rules of punctuation; by default those of many languages.
            nlp: a spaCy pipeline whose sentence boundaries are taken instead.

        Raises:
            TypeError: `nlp` is no pipeline.
            ValueError: an unknown language, an `nlp` that sets no sentence boundaries, or both arguments.
        """
        if nlp is None:
            spans = sum_by_segment(self.tokens, self._sources, lambda text: segment_sentences(text, language))
            return self._with_errors(spans)
        check_no_language(language, nlp)
        return self._with_errors(sum_by_segment(self.tokens, self._sources, lambda text: parsed_sentences(nlp, text)))

    def phrases(
        self, k: int | None = None, *, language: str | None = None, nlp: Language | None = None
    ) -> tuple[Span, ...]:
        """Runs of words that belong together: by their scores, or with `nlp` by grammar.

        Without `nlp`: the contiguous runs of words with the highest sums, best first, ties in reading order. They are
        all maximal scoring subsequences (Ruzzo & Tompa 1999): the first is the run of the greatest sum there is, and no
        two overlap or touch. None crosses from the text into its pair, special tokens are in none, and there is none
        where no word has a positive score.

        With `nlp`, a trained spaCy pipeline: its noun chunks and the runs of words between them within a sentence, in
        reading order. A word belongs to the phrase that holds its first character, so that each word is in exactly one
        and phrases, with the special tokens, add up as words do.

        Args:
            k: return only the k highest sums, best first.
            language: the words, as in `words`; for runs without `nlp`.
            nlp: a pipeline with a parser, for a language whose noun chunks spaCy knows.

        Raises:
            TypeError: `nlp` is no pipeline.
            ValueError: `k` below 0, an `nlp` without a parser or noun chunks, or `language` and `nlp` together.
        """
        check_count(k)
        if nlp is None:
            runs = scored_runs(self.words(language), self.tokens, self._sources)
            return highest(self._with_errors(runs), k)
        check_no_language(language, nlp)
        phrases = self._with_errors(sum_by_phrase(self.tokens, self._sources, nlp))
        return phrases if k is None else highest(phrases, k)

    def top(self, k: int = 5, by: Literal["score", "abs"] = "score") -> tuple[Span, ...]:
        """The k words with the largest scores, or with by="abs" the largest magnitudes; ties in reading order."""
        if by not in ("score", "abs"):
            raise ValueError(f"by must be 'score' or 'abs', got {by!r}")
        check_count(k)
        return highest(self.words(), k, magnitudes=by == "abs")

    def in_words(self) -> str:
        """What it says in a sentence or two, with its flip sets, as displays have it; "" for a place in a text."""
        from ..render.highlight import highlight
        from ..render.plain_words import as_text, plain_words

        form = self.to_dict()
        return as_text(plain_words(form, highlight(form)))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as a plain dict of new values. TypeError where a part breaks its declared type."""
        return {"schema": SCHEMA, **to_plain(self, Explanation, "explanation")}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return pydantic_form(cls)

    def to_json(self, indent: int | None = None) -> str:
        """The JSON form as a string, on one line without `indent`; valid by explanation_schema.json."""
        return dumps(self.to_dict(), indent)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Explanation:
        """The explanation of a JSON form. ValueError names what is missing, unknown, wrong or newer than we read."""
        document = dict(check_schema(document))
        del document["schema"]
        return from_plain(cls, document)

    @classmethod
    def from_json(cls, source: str | bytes) -> Explanation:
        """The explanation of a JSON string; errors as in `from_dict`, and ValueError for what is not JSON."""
        return cls.from_dict(loads(source))

    @overload
    def to_html(self, path: None = None, unit: str = "words") -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str], unit: str = "words") -> None: ...

    def to_html(self, path: str | PathLike[str] | None = None, unit: str = "words") -> str | None:
        """One self-contained page: as a string, or written to `path`. `unit` is "words" or "tokens"."""
        from ..render import render_page

        return text_or_file(render_page([self.to_dict()], title="Highlighted text", unit=unit), path)

    def to_figure(
        self,
        path: str | PathLike[str],
        *,
        unit: str = "words",
        part: str = "auto",
        width: float = 5.5,
        font_size: float = 9.0,
        fonts: Sequence[str] = (),
        dpi: float = 300.0,
    ) -> None:
        """Write a figure for a paper: SVG, PDF or PNG, as the end of `path` says.

        `part` is "text", "words" (bars of the strongest words, with their errors after a budget), "layers" (sums for
        and against at each depth; needs layers=True in the explainer), "both" (text and layers) or "auto": the text,
        after a budget with the words; `width` in inches, `font_size` in points, `fonts` the installed families to
        prefer, `dpi` of a PNG. Special tokens and notes are not drawn. Warns where no font holds a character. Raises
        ValueError, before anything is written, for another end of `path` and as `mhex_nlp.render.render_figure` does.
        """
        from ..render import render_figure

        kind = figure_format(path)
        figure = render_figure(
            self.to_dict(), kind, unit=unit, part=part, width=width, font_size=font_size, fonts=fonts, dpi=dpi
        )
        Path(path).write_bytes(figure)

    @overload
    def to_latex(self, path: None = None, unit: str = "words") -> str: ...
    @overload
    def to_latex(self, path: str | PathLike[str], unit: str = "words") -> None: ...

    def to_latex(self, path: str | PathLike[str] | None = None, unit: str = "words") -> str | None:
        """A LaTeX snippet that needs xcolor alone: as a string, or written to `path` for `input`."""
        from ..render import render_latex

        return text_or_file(render_latex(self.to_dict(), unit=unit), path)

    def to_fragment(self, unit: str = "words", scale: float | None = None) -> str:
        """A `<div class="mhex">` with its own style and no script, which no style sheet around it changes.

        It is what a notebook shows, and may stand in a web page of your own that allows inline styles. `scale` is the
        |score| of full colour, by default the text's own (`render/ink.py`).
        """
        from ..render import render_fragment

        return render_fragment(self.to_dict(), unit=unit, scale=scale)

    def to_shap(self, unit: Literal["words", "tokens"] = "words") -> Any:
        """A `shap.Explanation` with these scores, for shap's plots (`mhex_nlp.explain.shap_form`)."""
        return to_shap(self, unit)

    def show(self, unit: str = "words") -> None:
        """Display in a notebook, or print to the terminal where there is no notebook."""
        from ..render import render_terminal

        show_here(lambda: self.to_fragment(unit), lambda: render_terminal(self.to_dict(), unit=unit))

    def _repr_html_(self) -> str:
        return self.to_fragment()

    def __repr__(self) -> str:
        value = self.prediction.value
        outcome = repr(self.label) if value is None else f"value={value}"
        chance = "" if self.probability is None else f" {self.probability:.3f}"
        top = [
            (word.text, signed(word.score) if word.error is None else with_error(word.score, word.error))
            for word in self.top(3)
        ]
        words = ", ".join(f"{text!r} {score}" for text, score in top)
        return f"<Explanation {outcome}{chance}, for {self.target.label!r}: {words or 'no words'}>"
