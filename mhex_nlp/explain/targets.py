# SPDX-License-Identifier: Apache-2.0
"""The classes of a model by name and id, and what its logits say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from ..inputs.checks import integer_or_none
from ..models.problem_type import ProblemType, problem_type
from .explanation import ClassRef, HeadsChoice, Prediction
from .gold_labels import similar_classes

ClassName = str | SupportsIndex


class ClassTable:
    """Class names of one model in id order, with the checks of what a caller asks for.

    `config` is the model's, or what has its `id2label`, `problem_type` and `num_labels`; logits are arrays, or tensors
    on the CPU.

    Raises:
        ValueError: no names for the classes 0, 1, 2, ..., or two classes of one name, which nobody could ask for.
    """

    def __init__(self, config: Any) -> None:
        self.labels = _labels(config.id2label)
        self.task: ProblemType = problem_type(config)
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"the names in model.config.id2label must differ, got {list(self.labels)}.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def exclusive(self) -> bool:
        """Exactly one of several classes holds, so that evidence for all of them says nothing."""
        return self.task == "single_label_classification" and len(self) > 1

    @property
    def gold(self) -> tuple[str, ...]:
        """The classes that gold labels name; none in a regression."""
        return () if self.task == "regression" else self.labels

    def class_ref(self, index: int) -> ClassRef:
        """Name and id of class `index`."""
        return ClassRef(self.labels[index], index)

    def id_of(self, name: ClassName, argument: str) -> int:
        """The id of a class given by name or id; ValueError lists the known ones."""
        if isinstance(name, str) and name in self.labels:
            return self.labels.index(name)
        index = integer_or_none(name)
        if index is not None and 0 <= index < len(self):
            return index
        known = ", ".join(f"{index} {label!r}" for index, label in enumerate(self.labels))
        offers = " or ".join(map(repr, similar_classes(str(name), self.labels)))
        offer = f" did you mean {offers}?" if offers else ""
        raise ValueError(f"{argument} must be a class of the model, got {name!r};{offer} the known ones are {known}.")

    def foil_id(self, foil: ClassName) -> int:
        """The id of a foil; ValueError for regression, which has no classes to compare."""
        if self.task == "regression":
            raise ValueError(f"foil must be left out for regression, which has no classes to compare, got {foil!r}.")
        return self.id_of(foil, "foil")

    def resolve(self, target: ClassName | None, foil: ClassName | None) -> tuple[int | None, int | None]:
        """The ids of the target and the foil of a call.

        Raises:
            ValueError: an unknown class, a foil that is the target or that there is nothing to compare with, no target
                for several regression outputs.
        """
        target_id = None if target is None else self.id_of(target, "target")
        foil_id = None if foil is None else self.foil_id(foil)
        if target_id is None and self.task == "regression" and len(self) > 1:
            raise ValueError(
                f"target must be given for a model with several regression outputs: one of {list(self.labels)}."
            )
        if foil_id is not None and foil_id == target_id:
            raise ValueError(f"foil must be another class than the target, got {self.labels[foil_id]!r} for both.")
        return target_id, foil_id

    def targets(
        self, logits: ArrayLike, target: int | None, foil: int | None, names: Sequence[str]
    ) -> NDArray[np.int64]:
        """The class each text is explained for, target or prediction: (B, C) logits to (B,) int64.

        Raises:
            ValueError: the foil is what the model predicts; names the text.
        """
        predicted = np.asarray(logits).argmax(-1)
        targets = predicted if target is None else np.full_like(predicted, target)
        for name, chosen in zip(names, targets.tolist(), strict=True):
            if chosen == foil:
                raise ValueError(
                    f"foil must be another class than the target, got {self.labels[chosen]!r}, which is what the model "
                    f"predicts for {name}; give a target as well, or leave it out."
                )
        return targets

    def prediction(
        self, logits: ArrayLike, predicted: int | None = None, chances: Sequence[float] | None = None
    ) -> Prediction:
        """What the (C,) logits of one text predict: `predicted`, and with these `chances`, where they are known."""
        values = np.asarray(logits)
        batch = self.probabilities(values[None])
        if batch is None:
            outputs = tuple(values.tolist())
            return Prediction(None, None, None, None, value=outputs[0] if len(outputs) == 1 else outputs)
        probabilities = batch[0] if chances is None else list(chances)
        by_label = dict(zip(self.labels, probabilities, strict=True))
        labels = self.labels_above_half(probabilities) if self.task == "multi_label_classification" else None
        best = int(values.argmax()) if predicted is None else predicted
        return Prediction(self.labels[best], best, probabilities[best], by_label, labels)

    def probabilities(self, logits: ArrayLike) -> list[list[float]] | None:
        """Every class's probability, of (B, C) logits, as `prediction` gives them; `None` for regression."""
        if self.task == "regression":
            return None
        values = np.asarray(logits)
        multi = self.task == "multi_label_classification"
        probabilities: list[list[float]] = (expit(values) if multi else softmax(values, axis=-1)).tolist()
        return probabilities

    def predicted_ids(self, logits: ArrayLike) -> list[list[int]]:
        """The classes that (B, C) logits predict: of several labels all at 0.5 or above, else the most probable."""
        values = np.asarray(logits)
        above = (expit(values) >= 0.5) & (self.task == "multi_label_classification")
        best: list[int] = values.argmax(-1).tolist()
        return [row.nonzero()[0].tolist() or [most] for row, most in zip(above, best, strict=True)]

    def labels_above_half(self, probabilities: Sequence[float]) -> tuple[str, ...]:
        """The classes at 0.5 or above, of (C,) probabilities."""
        return tuple(label for label, chance in zip(self.labels, probabilities, strict=True) if chance >= 0.5)

    def heads_choice(self, head_logits: ArrayLike, logits: ArrayLike) -> HeadsChoice | None:
        """The class the aggregated heads choose, (C,) each; `None` where classes do not exclude each other."""
        if not self.exclusive:
            return None
        chosen = int(np.asarray(head_logits).argmax())
        return HeadsChoice(self.labels[chosen], chosen, chosen == int(np.asarray(logits).argmax()))


def _labels(names: Any) -> tuple[str, ...]:
    """`id2label` in order; digits will do for an id, as in JSON."""
    id2label = names if isinstance(names, Mapping) else {}
    by_id = {
        int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else key: str(name)
        for key, name in id2label.items()
    }
    if not by_id or by_id.keys() != set(range(len(id2label))):
        came = f"the ids {list(id2label)}" if id2label else repr(names)
        raise ValueError(f"model.config.id2label must name the classes 0, 1, 2 and so on without a gap, got {came}.")
    return tuple(by_id[index] for index in range(len(by_id)))
