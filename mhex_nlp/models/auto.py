# SPDX-License-Identifier: Apache-2.0
"""The Auto classes: transformers' own for our tasks, with MHEX heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    PreTrainedModel,
)
from transformers.models.auto.auto_factory import _BaseAutoModelClass

from .families import find_site
from .loading import readable
from .modeling import mhex_class, with_settings


class _WithHeads(Mapping):
    """A view of a transformers auto mapping that answers with MHEX classes; an unknown family raises and says why."""

    def __init__(self, plain: Mapping) -> None:
        self.plain = plain

    def __getitem__(self, config_class: type) -> type[PreTrainedModel]:
        plain = self.plain[config_class]
        find_site(config_class.model_type)  # type: ignore[attr-defined]
        return mhex_class(plain)

    def __iter__(self) -> Iterator[type]:
        return iter(self.plain)

    def __len__(self) -> int:
        return len(self.plain)


class _AutoMhexModel(_BaseAutoModelClass):
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own, with `mhex=MhexConfig(...)`; errors as `MhexMixin.from_pretrained`."""
        with readable(pretrained_model_name_or_path):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **with_settings(kwargs))


class AutoMhexModelForSequenceClassification(_AutoMhexModel):
    """`AutoModelForSequenceClassification` with MHEX heads: fresh ones on a plain checkpoint, else its own.

    `from_pretrained(name, mhex=MhexConfig(...), **as_for_transformers)`.
    """

    _model_mapping = _WithHeads(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING)


class AutoMhexModelForTokenClassification(_AutoMhexModel):
    """`AutoModelForTokenClassification` with MHEX heads, which say something at every position; loaded in the same way.

    `forward(positions=..., output_attributions=True)` of a fitted model says what each token adds at these positions.
    """

    _model_mapping = _WithHeads(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING)


class AutoMhexModelForQuestionAnswering(_AutoMhexModel):
    """`AutoModelForQuestionAnswering` with MHEX heads: start and end of the answer; loaded in the same way."""

    _model_mapping = _WithHeads(MODEL_FOR_QUESTION_ANSWERING_MAPPING)
