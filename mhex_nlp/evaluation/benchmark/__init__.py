# SPDX-License-Identifier: Apache-2.0
"""Explanations compared: MHEX and other methods on one model, one set of texts and one set of metrics.

Names only, handed on lazily (PEP 562): the command line reads its options without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

_HOMES = {
    "AttributionMethod": "methods",
    "EvaluationReport": "results",
    "available_methods": "methods",
    "evaluate_explanations": "run",
    "write_evaluation": "tables",
}
__all__ = [*sorted(_HOMES)]

if TYPE_CHECKING:
    from .methods import AttributionMethod as AttributionMethod
    from .methods import available_methods as available_methods
    from .results import EvaluationReport as EvaluationReport
    from .run import evaluate_explanations as evaluate_explanations
    from .tables import write_evaluation as write_evaluation

__getattr__ = lazy_names(__name__, _HOMES)
