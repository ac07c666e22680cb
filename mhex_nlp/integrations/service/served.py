# SPDX-License-Identifier: Apache-2.0
"""The model behind a service: an explainer of torch or of ONNX Runtime, asked for predictions or explanations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...explain.explanation import Explanation
from ...explain.json_form import to_plain
from ...explain.parts import ModelRef, Prediction
from .requests import Options

_FIRST_TEXT = "a text to begin with"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one text: its prediction, whether the end of the text was cut off, and its explanations.

    `explanations` is None where none was asked for, and a list where every predicted label is explained.
    """

    prediction: Prediction
    truncated: bool
    explanations: Explanation | list[Explanation] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The prediction in its JSON form, and `truncated` where it is so."""
        plain: dict[str, Any] = to_plain(self.prediction, Prediction, "prediction")
        return {**plain, "truncated": True} if self.truncated else plain

    def explained(self) -> list[Explanation]:
        """The explanations in a list."""
        if self.explanations is None:
            return []
        return self.explanations if isinstance(self.explanations, list) else [self.explanations]


class ServedModel:
    """An explainer as a service asks it: texts in, an `Answer` each.

    The first text is explained at once, so that a model that cannot be explained is refused here, and no user waits
    for what only a first pass does.

    Args:
        explainer: of texts: a `MhexExplainer`, or what is called like one.

    Raises:
        ValueError: an explainer of entities or answers, heads that were never trained, a fit of other weights.
    """

    def __init__(self, explainer: Any) -> None:
        if getattr(explainer, "task", "sequence_classification") != "sequence_classification":
            raise ValueError(f"a service is for classifiers of texts, got a {type(explainer).__name__}.")
        self.explainer = explainer
        self.model: ModelRef = explainer([_FIRST_TEXT], target=0)[0].model

    def answers(
        self, texts: Sequence[str], pairs: Sequence[str] | None, ids: Sequence[str], options: Options
    ) -> list[Answer]:
        """What the model says of texts that were checked.

        Raises:
            TypeError, ValueError: as the call of the explainer.
        """
        if not options.explain and hasattr(self.explainer, "predict"):
            items = self.explainer.tokenise(texts, pairs, start=None if len(texts) == 1 else 0)
            predictions = self.explainer.predict(items)
            return [Answer(one, item.truncated) for one, item in zip(predictions, items, strict=True)]
        wanted = {"target": options.target, "foil": options.foil}
        if options.budget:
            wanted["budget"] = options.budget
        if options.max_budget is not None:
            wanted["max_budget"] = options.max_budget
        if len(texts) == 1:  # so that sentences say "text", and not "text[0]"
            half = None if pairs is None else pairs[0]
            return list(_answers([self.explainer(texts[0], half, ids=list(ids), **wanted)], options.explain))
        explanations = self.explainer(list(texts), None if pairs is None else list(pairs), ids=list(ids), **wanted)
        return list(_answers(explanations, options.explain))

    def document(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """What a request is answered with, as JSON."""
        document: dict[str, Any] = {
            "model": {"name": self.model.name, "revision": self.model.revision},
            "predictions": [answer.to_dict() for answer in answers],
        }
        explained = [answer.explanations for answer in answers if answer.explanations is not None]
        if explained:
            document["explanations"] = [
                [one.to_dict() for one in of_text] if isinstance(of_text, list) else of_text.to_dict()
                for of_text in explained
            ]
        return document


def _answers(explanations: Sequence[Any], keep: bool) -> Iterator[Answer]:
    for of_text in explanations:
        first = of_text[0] if isinstance(of_text, list) else of_text
        yield Answer(first.prediction, first.truncated, of_text if keep else None)


def is_graph(folder: str) -> bool:
    """Whether a folder holds an ONNX graph, which is served without torch."""
    return (Path(folder) / "model.onnx").is_file()


def load_served(folder: str, **options: Any) -> Any:
    """The explainer of a folder: of ONNX Runtime where there is a `model.onnx`, else of torch.

    `options` are those of `MhexExplainer.from_pretrained`; those that are None are left out.

    Raises:
        ImportError, OSError, ValueError: no such model, or one that classifies no texts; an option with an ONNX model.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if is_graph(folder):
        if given:
            raise ValueError(f"{next(iter(given))} is for models of torch, got it with the ONNX model in {folder}.")
        from ..onnx import OnnxExplainer

        return OnnxExplainer.from_pretrained(folder)
    from ...explain.explainer import MhexExplainer
    from ...explain.explainers import is_image_checkpoint, task_of_checkpoint
    from ...models.tasks.names import KINDS

    task = task_of_checkpoint(folder)
    if task != "sequence_classification" or is_image_checkpoint(folder):
        kind = "a classifier of images" if task == "sequence_classification" else KINDS[task]
        raise ValueError(f"model must be a classifier of texts, got {kind} in {folder}.")
    return MhexExplainer.from_pretrained(folder, **given)
