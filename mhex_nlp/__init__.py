# SPDX-License-Identifier: Apache-2.0
"""Multi-head explainers (MHEX) for Hugging Face transformers: explanations at the price of a forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_names
from ._version import __version__ as __version__

# Names only, handed on lazily (PEP 562): `import mhex_nlp` imports neither torch nor transformers.
_HOMES = {
    "MhexConfig": "config",
    "Site": "sites",
    "register_site": "sites",
    "save_explainer": "beside",
    "deep_supervision_loss": "supervision",
    "AutoMhexModelForSequenceClassification": "auto",
    "get_mhex_model": "conversion",
    "Explanation": "explanation",
    "MhexExplainer": "explainer",
    "fit_equivalent_matrices": "fitting",
    "ScoredText": "scored_text",
    "compare_explanations": "comparison",
    "highlight_dataset": "highlights",
    "MhexCallback": "training",
    "mhex_param_groups": "training",
    "head_collaboration": "collaboration",
    "write_report": "report",
}
__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from .auto import AutoMhexModelForSequenceClassification as AutoMhexModelForSequenceClassification
    from .beside import save_explainer as save_explainer
    from .collaboration import head_collaboration as head_collaboration
    from .comparison import compare_explanations as compare_explanations
    from .config import MhexConfig as MhexConfig
    from .conversion import get_mhex_model as get_mhex_model
    from .explainer import MhexExplainer as MhexExplainer
    from .explanation import Explanation as Explanation
    from .fitting import fit_equivalent_matrices as fit_equivalent_matrices
    from .highlights import highlight_dataset as highlight_dataset
    from .report import write_report as write_report
    from .scored_text import ScoredText as ScoredText
    from .sites import Site as Site
    from .sites import register_site as register_site
    from .supervision import deep_supervision_loss as deep_supervision_loss
    from .training import MhexCallback as MhexCallback
    from .training import mhex_param_groups as mhex_param_groups

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
