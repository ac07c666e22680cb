# SPDX-License-Identifier: Apache-2.0
"""The ways to look at one explanation: page, figure, LaTeX, notebook, terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, overload

from ..render.display import show_here, text_or_file


class Displays:
    """What `Explanation` inherits to be looked at. Everything is drawn from `to_dict`."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as a plain dict."""
        raise NotImplementedError

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
        part: str = "text",
        width: float = 5.5,
        font_size: float = 9.0,
        fonts: Sequence[str] = (),
        dpi: float = 300.0,
    ) -> None:
        """Write a figure for a paper: SVG, PDF or PNG, as the end of `path` says.

        `part` is "text", "layers" (sums for and against at each depth; needs layers=True in the explainer) or
        "both"; `width` in inches, `font_size` in points, `fonts` the installed families to prefer, `dpi` of a
        PNG. Special tokens and notes are not drawn. Warns where no font holds a character. Raises ValueError,
        before anything is written, for another end of `path` and as `mhex_nlp.render.render_figure` does.
        """
        from ..render import render_figure

        suffix = Path(path).suffix.lower()
        if suffix not in (".svg", ".pdf", ".png"):
            raise ValueError(f"path must end in .svg, .pdf or .png, got {os.fspath(path)!r}")
        figure = render_figure(
            self.to_dict(),
            suffix[1:],
            unit=unit,
            part=part,
            width=width,
            font_size=font_size,
            fonts=fonts,
            dpi=dpi,
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

    def show(self, unit: str = "words") -> None:
        """Display in a notebook, or print to the terminal where there is no notebook."""
        from ..render import render_fragment, render_terminal

        form = self.to_dict()
        show_here(lambda: render_fragment(form, unit=unit), lambda: render_terminal(form, unit=unit))

    def _repr_html_(self) -> str:
        from ..render import render_fragment

        return render_fragment(self.to_dict())
