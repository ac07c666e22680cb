# SPDX-License-Identifier: Apache-2.0
"""Which explainer a model needs, by its task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
)

from ..models.adapted_loading import adapted_task
from ..models.image_states import image_classifier_in
from ..models.loading import readable
from ..models.tasks.names import KINDS, Task, task_named, task_of
from .answers import MhexAnswerExplainer
from .base import ExplainerBase
from .entities import MhexEntityExplainer
from .explainer import MhexExplainer
from .images.explainer import MhexImageExplainer

CLASSES: dict[Task, type[ExplainerBase[Any]]] = {
    "sequence_classification": MhexExplainer,
    "token_classification": MhexEntityExplainer,
    "question_answering": MhexAnswerExplainer,
}


def explainer_for(model: Any, tokenizer: Any, **options: Any) -> Any:
    """The explainer of a model with heads, by what it was trained for: of texts, of entities or of answers.

    Of an image classifier the second argument is its image processor.

    >>> explainer_for(model, tokenizer, stride=64)

    Raises:
        TypeError, ValueError: a model of none of these tasks; as the explainer's class.
    """
    if image_classifier_in(model) is not None:
        return MhexImageExplainer(model, tokenizer, **options)
    return CLASSES[task_of(model)](model, tokenizer, **options)


def task_of_checkpoint(name: str, revision: str | None = None) -> Task:
    """What the model of a folder, or of the hub, is for, by its config; texts where that names no task of ours.

    Of an adapter with heads beside it, by what `save_explainer` wrote there.
    """
    if (task := adapted_task(name, revision)) is not None:
        return task
    with readable(name):
        named = getattr(AutoConfig.from_pretrained(name, revision=revision), "architectures", None) or [""]
    return task_named(str(named[0])) or "sequence_classification"


def is_image_checkpoint(name: str, revision: str | None = None) -> bool:
    """Whether the model of a folder, or of the hub, classifies images, or is the base of one that does."""
    if (task := adapted_task(name, revision)) is not None:
        return task == "image_classification"
    with readable(name):
        config = AutoConfig.from_pretrained(name, revision=revision)
    named = str((getattr(config, "architectures", None) or [""])[0])
    if "ForImageClassification" in named or "For" in named:
        return "ForImageClassification" in named
    return (
        type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
        and type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    )


def class_for_checkpoint(name: str, revision: str | None = None) -> type[ExplainerBase[Any]]:
    """The explainer's class for a saved model that reads texts, by its task.

    Raises:
        ValueError: an image classifier, or no model there.
    """
    with _there(name):
        task = task_of_checkpoint(name, revision)
    if task not in CLASSES:
        raise ValueError(f"model must be one that reads texts, got {name}, which is {KINDS[task]}.")
    return CLASSES[task]


def load_explainer(name: str, *, revision: str | None = None, **options: Any) -> Any:
    """The explainer of a saved model, by its task; options and errors as `MhexExplainer.from_pretrained`.

    Raises:
        ValueError: an image classifier, or no model there.
    """
    cls = class_for_checkpoint(name, revision)
    with _there(name):
        return cls.from_pretrained(name, revision=revision, **options)


@contextmanager
def _there(name: str) -> Iterator[None]:
    """A model that is not there is a ValueError of one sentence."""
    try:
        yield
    except OSError as error:
        # transformers would take the path of a missing folder for a name on the hub
        missing = Path(name).is_absolute() and not Path(name).exists()
        reason = "there is no such folder." if missing else str(error).strip().splitlines()[0]
        raise ValueError(
            f"model must be a folder or hub name of a classifier with MHEX heads, got {name!r}: {reason}"
        ) from error
