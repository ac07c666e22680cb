# SPDX-License-Identifier: Apache-2.0
"""What all explainers share: a model with its tokenizer, the checks of a call, texts on their way into it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch

from ..inputs.batching import token_batches, usual_batch_tokens
from ..inputs.encoding import check_max_length
from ..inputs.segmentation import check_language
from ..inputs.tokenizer import check_tokenizer, load_tokenizer
from ..inputs.windows import check_stride
from ..models.batches import InputBatcher
from ..models.checkpoint import shown_name
from ..models.devices import load_model
from ..models.image_states import architecture_of, image_classifier_in
from ..models.loading import check_trained
from ..models.tasks.names import KINDS, Task, task_of
from ..models.unwrap import inner_model
from ..models.weights_hash import model_hash
from .evidence import EvidenceReader
from .flips import check_flips
from .parts import ModelRef
from .request import (
    Budget,
    Request,
    check_call,
    check_changed_weights,
    choose_aggregation,
    choose_contrast,
)
from .targets import ClassName, ClassTable
from .text_explainer import TextExplainer

R = TypeVar("R")
EXPLAINERS: dict[Task, str] = {
    "sequence_classification": "MhexExplainer",
    "token_classification": "MhexEntityExplainer",
    "question_answering": "MhexAnswerExplainer",
}


class ExplainerBase(TextExplainer[R]):
    """An explainer whose result for one text is an R; options and errors as `MhexExplainer` tells them."""

    auto_class: ClassVar[Any]  # loads the models that it explains
    usual_budget: ClassVar[int] = 0  # of a call that names none

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        aggregation: str = "auto",
        contrast: str = "auto",
        non_negative: bool = False,
        batch_tokens: int | None = None,
        max_length: int | None = None,
        stride: int | None = None,
        language: str | None = None,
        changed_weights: Literal["refuse", "note"] = "refuse",
    ) -> None:
        if image_classifier_in(model) is not None:
            raise TypeError(
                f"model must read texts for {type(self).__name__}, got a {type(model).__name__}: "
                "MhexImageExplainer(model, image_processor) explains it."
            )
        self.model = inner_model(model)
        if (task := task_of(self.model)) != self.task:
            raise ValueError(
                f"model must be {KINDS[self.task]} for {type(self).__name__}, got a {type(self.model).__name__}: "
                f"{EXPLAINERS[task]}(model, tokenizer) explains it."
            )
        check_tokenizer(tokenizer, self.model)
        check_language(language)
        self.tokenizer, self.language = tokenizer, language
        self.non_negative, self.changed_weights = non_negative, check_changed_weights(changed_weights)
        self.batch_tokens = usual_batch_tokens(self.model.device) if batch_tokens is None else batch_tokens
        self._batcher = InputBatcher(self.model, tokenizer)
        self._evidence = EvidenceReader(self.model, tokenizer, self._batcher, self.batch_tokens)
        self._aggregation, self._contrast = aggregation, contrast
        _ = self.aggregation, self.contrast  # refuses a bad name, or class names, here rather than at the first text
        token_batches([], self.batch_tokens)
        self.max_length = check_max_length(max_length, tokenizer, self._batcher.longest)
        self.stride = check_stride(stride, tokenizer, self.max_length)

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Self:
        """Loads model and tokenizer from a folder or the hub; `options` are those of the class.

        Raises:
            ValueError: a dtype that the device cannot compute in, no such device, or no tokenizer files.
        """
        try:
            model = load_model(cls.auto_class, name, revision=revision, dtype=dtype, device=device)
        except ValueError as error:
            if "ForImageClassification" not in architecture_of(name, revision):
                raise
            raise ValueError(
                f"{name} must be a model that reads texts for {cls.__name__}, got an image classifier: "
                "MhexImageExplainer.from_pretrained explains it."
            ) from error
        return cls(model, load_tokenizer(name, revision), **options)

    @property
    def classes(self) -> ClassTable:
        """The model's classes as its config has them now: a first batch of labels may tell what task it is."""
        return ClassTable(self.model.config)

    @property
    def aggregation(self) -> str:
        """What explains now: "fitted", "mean", "last" or "ema"."""
        return choose_aggregation(self._aggregation, self.model, self._readout)

    @property
    def _readout(self) -> Any:
        """The fitted matrices that the model has now, with the record of their fit."""
        return None if self.model.fit_record is None else self.model.mhex_fit

    @property
    def contrast(self) -> str:
        """How scores are compared where no foil is given: "centred" or "none"."""
        return choose_contrast(self._contrast, self.classes, self.aggregation)

    @property
    def weights(self) -> str:
        """A hash of all that the model's answers and its heads rest on."""
        return model_hash(self.model)

    @property
    def dtype(self) -> str:
        """Of the model's weights, such as "float32"."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def _accepts(self) -> Collection[str]:
        return self._batcher.accepts

    def _check_ready(self, aggregation: str, passes: int) -> None:
        """ValueError for heads that were never trained."""
        check_trained(self.model, aggregation)

    def request(
        self,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: str = "target",
        layers: bool = False,
        budget: Budget | None = None,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
        flip: bool = False,
    ) -> Request:
        """The options of a call, checked; errors as there. A budget of `None` is the explainer's usual one."""
        if budget is None:
            budget = 0 if layers else self.usual_budget
        passes, tolerance, seed = check_call(classes, layers, budget, tolerance, max_budget, seed)
        table = self.classes
        if flip:
            check_flips(table)
        target_id, foil_id = table.resolve(target, foil)
        readout, config = self._readout, self.model.config  # once: another thread may fit anew
        aggregation = choose_aggregation(self._aggregation, self.model, readout)
        self._check_ready(aggregation, passes)
        revision = getattr(config, "_commit_hash", None)
        return Request(
            table=table,
            target=target_id,
            foil=foil_id,
            all_classes=classes == "all",
            layers=layers,
            budget=passes,
            tolerance=tolerance,
            seed=seed,
            contrast=choose_contrast(self._contrast, table, aggregation) if foil_id is None else "foil",
            aggregation=aggregation,
            causal=self.task == "sequence_classification" and self._batcher.site.causal,
            readout=readout if aggregation == "fitted" else None,
            changed_weights=self.changed_weights,
            beta=self.model.mhex_config.beta,
            non_negative=self.non_negative,
            language=self.language,
            flip=bool(flip),
            model=ModelRef(shown_name(config._name_or_path) or type(self.model).__name__, revision and str(revision)),
        )
