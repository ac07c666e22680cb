# SPDX-License-Identifier: Apache-2.0
"""Explanations of image classifiers compared: MHEX and others on one model and one set of images (experimental)."""

from .methods import ImageMethod, image_methods
from .run import evaluate_image_explanations
from .study import ImageEvaluationReport
from .tables import write_image_evaluation

__all__ = [
    "ImageEvaluationReport",
    "ImageMethod",
    "evaluate_image_explanations",
    "image_methods",
    "write_image_evaluation",
]
