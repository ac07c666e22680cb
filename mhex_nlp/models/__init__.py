# SPDX-License-Identifier: Apache-2.0
"""Heads inside a transformers model: families, hooks, the forward pass, loading and saving.

The classes with heads are attributes of this package, made when they are asked for (PEP 562): pickles, and the one-line
module of a checkpoint, find `MhexBertForSequenceClassification` here.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("Mhex"):
        from .modeling import class_named

        if (cls := class_named(name)) is not None:
            return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
