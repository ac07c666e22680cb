# SPDX-License-Identifier: Apache-2.0
"""The classes of a model by name and id, and what its logits say about them."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig

from .explanation import ClassRef, HeadsChoice, Prediction
from .supervision import ProblemType, problem_type

ClassName = str | int


class ClassTable:
    """Class names of one model in id order, with the checks of what a caller asks for.

    Raises:
        ValueError: two classes of one name, which nobody could ask for.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        self.task: ProblemType = problem_type(config)
        self.labels = tuple(str(config.id2label[index]) for index in range(config.num_labels))
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"the names in model.config.id2label must differ, got {list(self.labels)}.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def exclusive(self) -> bool:
        """Exactly one of several classes holds, so that evidence for all of them says nothing."""
        return self.task == "single_label_classification" and len(self) > 1

    def ref(self, index: int) -> ClassRef:
        """Name and id of class `index`."""
        return ClassRef(self.labels[index], index)

    def id_of(self, name: ClassName, argument: str) -> int:
        """The id of a class given by name or id; ValueError lists the known ones."""
        if isinstance(name, str) and name in self.labels:
            return self.labels.index(name)
        if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(self):
            return name
        known = ", ".join(f"{index} {label!r}" for index, label in enumerate(self.labels))
        raise ValueError(f"{argument} must be a class of the model, got {name!r}; the known ones are {known}.")

    def foil_id(self, foil: ClassName) -> int:
        """The id of a foil; ValueError for regression, which has no classes to compare."""
        if self.task == "regression":
            raise ValueError(f"foil must be left out for regression, which has no classes to compare, got {foil!r}.")
        return self.id_of(foil, "foil")

    def targets(self, logits: Tensor, target: int | None, foil: int | None) -> Tensor:
        """The class each text is explained for: (B, C) logits to (B,) int64.

        Raises:
            ValueError: none is given for several regression outputs, or the foil is the target of some text.
        """
        if target is None and self.task == "regression" and len(self) > 1:
            raise ValueError(
                f"target must be given for a model with several regression outputs: one of {list(self.labels)}."
            )
        targets = logits.argmax(-1) if target is None else torch.full((len(logits),), target)
        if foil is not None and bool((targets == foil).any()):
            raise ValueError(f"foil must be another class than the target, got {self.labels[foil]!r} for both.")
        return targets

    def prediction(self, logits: Tensor) -> Prediction:
        """What the (C,) logits of one text predict."""
        if self.task == "regression":
            values = tuple(logits.tolist())
            return Prediction(None, None, None, None, value=values[0] if len(values) == 1 else values)
        multi = self.task == "multi_label_classification"
        probabilities = (logits.sigmoid() if multi else logits.softmax(-1)).tolist()
        named = dict(zip(self.labels, probabilities, strict=True))
        held = tuple(label for label, probability in named.items() if probability >= 0.5)
        best = int(logits.argmax())
        return Prediction(self.labels[best], best, probabilities[best], named, held if multi else None)

    def heads_choice(self, head_logits: Tensor, logits: Tensor) -> HeadsChoice | None:
        """The class the aggregated heads choose, (C,) each; `None` where classes do not exclude each other."""
        if not self.exclusive:
            return None
        chosen = int(head_logits.argmax())
        return HeadsChoice(self.labels[chosen], chosen, chosen == int(logits.argmax()))
