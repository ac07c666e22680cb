# SPDX-License-Identifier: Apache-2.0
"""What one output of a model is: its labels, their checks, its problem type, and where its logits are read.

A task is a module of functions of the same names; `module_of` finds that of a model.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from . import image_classification, question_answering, sequence_classification, token_classification
from .names import Task, task_of

_MODULES: dict[Task, ModuleType] = {
    "sequence_classification": sequence_classification,
    "token_classification": token_classification,
    "question_answering": question_answering,
    "image_classification": image_classification,
}


def module_of(model: Any) -> ModuleType:
    """The functions of the task of a model or a model class; TypeError where it is of none that we have."""
    return _MODULES[task_of(model)]
