# SPDX-License-Identifier: Apache-2.0
"""The result of a call with many texts: a list, which a notebook displays as cards."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal, overload

from ..render.display import show_here, text_or_file
from .explanation import Explanation
from .shap_form import explanations_to_shap
from .tables import Tables

SHOWN = 20  # cards that a notebook displays


class Explanations(Tables, list[Explanation]):
    """Explanations in the order of their texts, or of the classes of one text.

    Everything else is a list's; slices are of this class too. `scale` is the |score| of full colour in all texts, by
    default each text's own.
    """

    @overload  # type: ignore[override]
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...

    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        return Explanations(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def to_fragment(self, unit: str = "words", scale: float | None = None) -> str:
        """A `<div>` with a card each, for a web page of your own, as `Explanation.to_fragment`."""
        from ..render import render_fragment

        return render_fragment(*(one.to_dict() for one in self), unit=unit, scale=scale)

    @overload
    def to_html(self, path: None = None, unit: str = "words", scale: float | None = None) -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str], unit: str = "words", scale: float | None = None) -> None: ...

    def to_html(
        self, path: str | PathLike[str] | None = None, unit: str = "words", scale: float | None = None
    ) -> str | None:
        """One self-contained page with a card each: as a string, or written to `path`."""
        from ..render import render_page

        return text_or_file(render_page([one.to_dict() for one in self], unit=unit, scale=scale), path)

    def to_shap(self, by: Literal["text", "word"] = "text", unit: Literal["words", "tokens"] = "words") -> Any:
        """One `shap.Explanation` of all, for shap's plots (`mhex_nlp.explain.shap_form.explanations_to_shap`)."""
        return explanations_to_shap(self, by=by, unit=unit)

    def show(self, unit: str = "words") -> None:
        """Display the first in a notebook, or print all to the terminal where there is no notebook."""
        from ..render import render_terminal

        def print_all() -> None:
            for one in self:
                render_terminal(one.to_dict(), unit=unit)

        show_here(lambda: self._cards(unit), print_all)

    def _cards(self, unit: str = "words") -> str:
        from ..render import render_fragment

        shown = [one.to_dict() for one in self[:SHOWN]]
        return render_fragment(*shown, unit=unit, more=len(self) - len(shown))

    def _repr_html_(self) -> str | None:
        return self._cards() if self else None
