# SPDX-License-Identifier: Apache-2.0
"""Multi-head explainers (MHEX) for Hugging Face transformers: explanations at the price of a forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_names
from ._version import __version__ as __version__

# Names only, handed on lazily (PEP 562): `import mhex_nlp` imports neither torch nor transformers.
_HOMES = {
    "MhexConfig": "models.config",
    "Site": "models.families",
    "register_site": "models.families",
    "save_explainer": "models.sidecar",
    "deep_supervision_loss": "models.tasks.sequence_classification",
    "AutoMhexModelForImageClassification": "models.auto",
    "AutoMhexModelForQuestionAnswering": "models.auto",
    "AutoMhexModelForSequenceClassification": "models.auto",
    "AutoMhexModelForTokenClassification": "models.auto",
    "get_mhex_model": "models.conversion",
    "ContextExplainer": "explain.context.explainer",
    "ContextExplanation": "explain.context.explanation",
    "Explanation": "explain.explanation",
    "MhexExplainer": "explain.explainer",
    "MhexEntityExplainer": "explain.entities",
    "MhexImageExplainer": "explain.images.explainer",
    "ImageExplanation": "explain.images.explanation",
    "MhexAnswerExplainer": "explain.answers",
    "PositionedExplanation": "explain.positioned",
    "explainer_for": "explain.explainers",
    "explanations_to_shap": "explain.shap_form",
    "fit_equivalent_matrices": "training.fitting.fit",
    "ScoredText": "evaluation.scored_text",
    "compare_explanations": "evaluation.comparison",
    "highlight_dataset": "corpus",
    "MhexCallback": "training",
    "mhex_param_groups": "training",
    "head_collaboration": "evaluation.head_collaboration",
    "TrainingTexts": "corpus.report.training_texts",
    "write_report": "corpus.report",
}
__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from .corpus import highlight_dataset as highlight_dataset
    from .corpus.report import write_report as write_report
    from .corpus.report.training_texts import TrainingTexts as TrainingTexts
    from .evaluation.comparison import compare_explanations as compare_explanations
    from .evaluation.head_collaboration import head_collaboration as head_collaboration
    from .evaluation.scored_text import ScoredText as ScoredText
    from .explain.answers import MhexAnswerExplainer as MhexAnswerExplainer
    from .explain.context.explainer import ContextExplainer as ContextExplainer
    from .explain.context.explanation import ContextExplanation as ContextExplanation
    from .explain.entities import MhexEntityExplainer as MhexEntityExplainer
    from .explain.explainer import MhexExplainer as MhexExplainer
    from .explain.explainers import explainer_for as explainer_for
    from .explain.explanation import Explanation as Explanation
    from .explain.images.explainer import MhexImageExplainer as MhexImageExplainer
    from .explain.images.explanation import ImageExplanation as ImageExplanation
    from .explain.positioned import PositionedExplanation as PositionedExplanation
    from .explain.shap_form import explanations_to_shap as explanations_to_shap
    from .models.auto import AutoMhexModelForImageClassification as AutoMhexModelForImageClassification
    from .models.auto import AutoMhexModelForQuestionAnswering as AutoMhexModelForQuestionAnswering
    from .models.auto import AutoMhexModelForSequenceClassification as AutoMhexModelForSequenceClassification
    from .models.auto import AutoMhexModelForTokenClassification as AutoMhexModelForTokenClassification
    from .models.config import MhexConfig as MhexConfig
    from .models.conversion import get_mhex_model as get_mhex_model
    from .models.families import Site as Site
    from .models.families import register_site as register_site
    from .models.sidecar import save_explainer as save_explainer
    from .models.tasks.sequence_classification import deep_supervision_loss as deep_supervision_loss
    from .training import MhexCallback as MhexCallback
    from .training import mhex_param_groups as mhex_param_groups
    from .training.fitting.fit import fit_equivalent_matrices as fit_equivalent_matrices

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
