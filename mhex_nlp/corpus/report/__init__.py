# SPDX-License-Identifier: Apache-2.0
"""Static pages of many explanations: an index with counts, words and filters, and the texts themselves."""

from .images import write_image_report
from .pages import write_report

__all__ = ["write_image_report", "write_report"]
