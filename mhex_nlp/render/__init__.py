# SPDX-License-Identifier: Apache-2.0
"""Explanations as highlighted text: a page, a notebook fragment, a terminal."""

from __future__ import annotations

from .corpus import render_summary
from .html import render_fragment, render_page
from .terminal import render_terminal

__all__ = ["render_fragment", "render_page", "render_summary", "render_terminal"]
