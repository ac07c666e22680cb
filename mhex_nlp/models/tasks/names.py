# SPDX-License-Identifier: Apache-2.0
"""Which tasks there are, and which of them a model, a class or a checkpoint is for."""

from __future__ import annotations

from typing import Any, Literal

Task = Literal["sequence_classification", "token_classification", "question_answering", "image_classification"]
SUFFIXES: dict[str, Task] = {
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "ForQuestionAnswering": "question_answering",
    "ForImageClassification": "image_classification",
}
KINDS: dict[Task, str] = {
    "sequence_classification": "a text classifier (...ForSequenceClassification)",
    "token_classification": "a token classifier (...ForTokenClassification)",
    "question_answering": "a model for question answering (...ForQuestionAnswering)",
    "image_classification": "an image classifier (...ForImageClassification)",
}


def task_named(class_name: str) -> Task | None:
    """The task in the name of a model class; `None` where it is of no task that we have."""
    return next((task for suffix, task in SUFFIXES.items() if suffix in class_name), None)


def task_of(model: Any, default: Task | None = None) -> Task:
    """The task of a model or a model class by the names of its classes, plain or with heads, whatever is around it.

    Raises:
        TypeError: none of the tasks that we have, and no `default`.
    """
    classes = [model] if isinstance(model, type) else [type(module) for module in getattr(model, "modules", list)()]
    for cls in classes or [type(model)]:
        for base in cls.__mro__:
            if (task := task_named(base.__name__)) is not None:
                return task
    if default is not None:
        return default
    *kinds, last = KINDS.values()
    name = (model if isinstance(model, type) else type(model)).__name__
    raise TypeError(f"model must be {', '.join(kinds)} or {last}, got {name}.")


def auto_class(task: Task) -> str:
    """The name of our Auto class for a task, such as `AutoMhexModelForTokenClassification`."""
    return next(f"AutoMhexModel{suffix}" for suffix, other in SUFFIXES.items() if other == task)
