# SPDX-License-Identifier: Apache-2.0
"""Explanations as highlighted text: a page, a notebook fragment, a terminal, a figure, LaTeX."""

from __future__ import annotations

from .corpus import render_summary
from .figure import render_figure
from .html import render_fragment, render_page
from .latex import render_latex
from .terminal import render_terminal

__all__ = ["render_figure", "render_fragment", "render_latex", "render_page", "render_summary", "render_terminal"]
