# SPDX-License-Identifier: Apache-2.0
"""Static pages of many explanations: an index with counts, words and filters, and the texts themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

_HOMES = {"write_report": "pages"}
__all__ = [*sorted(_HOMES)]

if TYPE_CHECKING:
    from .pages import write_report as write_report

__getattr__ = lazy_names(__name__, _HOMES)
