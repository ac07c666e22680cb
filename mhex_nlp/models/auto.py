# SPDX-License-Identifier: Apache-2.0
"""The Auto classes: transformers' own for our tasks, with MHEX heads."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    PreTrainedModel,
)
from transformers.models.auto.auto_factory import _BaseAutoModelClass

from .adapted_loading import adapter_folder, load_adapted
from .loading import readable
from .modeling import mhex_class, site_of, with_settings
from .tasks.names import task_named, task_of


class _Named:
    """A class under another name, by which transformers finds it in a checkpoint's `architectures`."""

    def __init__(self, name: str, cls: type[PreTrainedModel]) -> None:
        self.__name__, self._cls = name, cls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cls, name)


class _WithHeads(Mapping):
    """A view of a transformers auto mapping that answers with MHEX classes; an unknown family raises and says why."""

    def __init__(self, plain: Mapping) -> None:
        self.plain = plain

    def __getitem__(self, config_class: type) -> Any:
        plain = self.plain[config_class]
        if isinstance(plain, tuple):  # the one that `architectures` names, which may be the plain one's name
            ours = [mhex_class(cls) for cls in plain]
            return (*ours, *(_Named(cls.__name__, named) for cls, named in zip(plain, ours, strict=True)))
        site_of(config_class.model_type, task_of(plain))  # type: ignore[attr-defined]
        return mhex_class(plain)

    def __iter__(self) -> Iterator[type]:
        return iter(self.plain)

    def __len__(self) -> int:
        return len(self.plain)


class _AutoMhexModel(_BaseAutoModelClass):
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own, with `mhex=MhexConfig(...)`; errors as `MhexMixin.from_pretrained`.

        A folder with an adapter, in which `save_explainer` put its heads, gives a `PeftModel` around the base that the
        adapter names, with these heads; errors as `mhex_nlp.models.adapted_loading.load_adapted`.
        """
        if (folder := adapter_folder(pretrained_model_name_or_path, kwargs)) is not None:
            return load_adapted(folder, task_named(cls.__name__) or "sequence_classification", with_settings(kwargs))
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


class AutoMhexModelForImageClassification(_AutoMhexModel):
    """`AutoModelForImageClassification` with MHEX heads, loaded in the same way. Experimental.

    Gates are off unless `mhex=MhexConfig(gate=True)` asks for them, so that predictions stay what they were to the
    bit. Families without a row in `image_families` get no heads; equivalent matrices can be fitted to them all the
    same.
    """

    _model_mapping = _WithHeads(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING)

    @classmethod
    def from_config(cls, config: Any, **kwargs: Any) -> Any:
        """As transformers' own, which stumbles over a config without `architectures` where it has several classes."""
        if config.architectures is None:
            config = copy.deepcopy(config)
            config.architectures = []
        return super().from_config(config, **kwargs)
