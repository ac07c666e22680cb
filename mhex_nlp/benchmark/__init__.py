# SPDX-License-Identifier: Apache-2.0
"""Explanations compared: MHEX and other methods on one model, one set of texts and one set of metrics.

Names only, handed on lazily (PEP 562): the command line reads its options without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AttributionMethod": "methods",
    "EvaluationReport": "report",
    "available_methods": "methods",
    "evaluate_explanations": "evaluation",
    "write_evaluation": "writing",
}
__all__ = [*sorted(_HOMES)]

if TYPE_CHECKING:
    from .evaluation import evaluate_explanations as evaluate_explanations
    from .methods import AttributionMethod as AttributionMethod
    from .methods import available_methods as available_methods
    from .report import EvaluationReport as EvaluationReport
    from .writing import write_evaluation as write_evaluation


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
