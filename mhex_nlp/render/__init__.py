# SPDX-License-Identifier: Apache-2.0
"""Explanations as highlighted text or pictures: a page, a notebook fragment, a terminal, a figure, LaTeX."""

from __future__ import annotations

from .compare import render_comparison, render_comparison_fragment, render_comparison_terminal
from .context import render_context_fragment, render_context_page
from .corpus_pages import render_report_index, render_report_page, render_summary
from .entity_report import render_entity_report
from .figure.draw import render_figure
from .figure.picture import image_figure
from .figure.places import render_context_figure, render_positioned_figure
from .highlight import check_unit
from .html import render_fragment, render_page
from .image_overlay import overlay_png
from .image_page import image_fragment, image_page
from .image_report import image_report, image_report_page
from .image_terminal import image_terminal
from .latex import render_latex
from .plain_places import (
    render_context_markdown,
    render_context_terminal,
    render_positioned_latex,
    render_positioned_markdown,
    render_positioned_terminal,
)
from .positioned import render_positioned_fragment, render_positioned_page
from .terminal import render_terminal

__all__ = [
    "check_unit",
    "image_figure",
    "image_fragment",
    "image_page",
    "image_report",
    "image_report_page",
    "image_terminal",
    "overlay_png",
    "render_comparison",
    "render_comparison_fragment",
    "render_comparison_terminal",
    "render_context_figure",
    "render_context_fragment",
    "render_context_markdown",
    "render_context_page",
    "render_context_terminal",
    "render_entity_report",
    "render_figure",
    "render_fragment",
    "render_latex",
    "render_page",
    "render_positioned_figure",
    "render_positioned_fragment",
    "render_positioned_latex",
    "render_positioned_markdown",
    "render_positioned_page",
    "render_positioned_terminal",
    "render_report_index",
    "render_report_page",
    "render_summary",
    "render_terminal",
]
