# SPDX-License-Identifier: Apache-2.0
"""Explanations as highlighted text: a page, a notebook fragment, a terminal, a figure, LaTeX."""

from __future__ import annotations

from .compare import render_comparison, render_comparison_fragment, render_comparison_terminal
from .corpus_pages import render_report_index, render_report_page, render_summary
from .figure.draw import render_figure
from .highlight import check_unit
from .html import render_fragment, render_page
from .latex import render_latex
from .terminal import render_terminal

__all__ = [
    "check_unit",
    "render_comparison",
    "render_comparison_fragment",
    "render_comparison_terminal",
    "render_figure",
    "render_fragment",
    "render_latex",
    "render_page",
    "render_report_index",
    "render_report_page",
    "render_summary",
    "render_terminal",
]
