# SPDX-License-Identifier: Apache-2.0
"""One label, or several, for a whole image: labels and deep supervision are those of text classifiers."""

from __future__ import annotations

from .sequence_classification import is_exclusive as is_exclusive
from .sequence_classification import label_count as label_count
from .sequence_classification import labels_in as labels_in
from .sequence_classification import supervision as supervision
from .sequence_classification import take_labels as take_labels
from .sequence_classification import task_loss as task_loss
