# SPDX-License-Identifier: Apache-2.0
"""`pipeline("text-explanation", model=...)` of transformers, which the import of this module registers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from os import PathLike, fspath
from typing import Any

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from torch.utils.data import DataLoader
from transformers import Pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from ..corpus.columns import ColumnOptions
from ..explain.explainers import class_for_checkpoint, explainer_for
from ..explain.explanation import Explanation
from ..explain.parts import Token
from ..explain.positioned import PositionedExplanation
from ..inputs.texts import check_texts

TASK = "text-explanation"
_EXPLAINER = (
    *("aggregation", "contrast", "non_negative", "batch_tokens", "max_length", "stride", "language"),
    *("changed_weights", "longest_answer"),
)
_CALL = (
    *("target", "foil", "classes", "layers", "budget", "tolerance", "max_budget", "seed", "flip"),
    *("at", "parts"),
)
_RESULT = ("unit", "top_k", "return_explanation")
_HALVES = (("text", "text_pair"), ("question", "context"))  # keys of an input that is a dict


class TextExplanationPipeline(Pipeline):
    """A prediction with the words that made it: of a text, of its entities, or of the answer to a question.

    >>> import mhex_nlp.integrations.pipeline
    >>> explain = transformers.pipeline("text-explanation", model="my-model", top_k=3)
    >>> explain("The staff were kind.")
    {'label': 'positive', 'score': 0.99, 'target': 'positive', 'words': [{'word': 'kind', 'start': 15, ...}], ...}

    Inputs are those of transformers' own pipelines: a text, a list, a generator or a `KeyDataset` of texts, of which
    `batch_size` at a time go through the model; pairs are dicts {"text", "text_pair"}, questions {"question",
    "context"}. Datasets and generators are explained as they are read.

    Args:
        aggregation, contrast, stride, max_length, language, ...: options of the model's explainer (`MhexExplainer`),
            which is the attribute `explainer`.
        target, foil, classes, budget, seed, ...: options of its call, here or in each call of the pipeline.
        unit: "words", or "tokens".
        top_k: only that many of them, those with the largest magnitudes, in reading order.
        return_explanation: give the explainer's own objects (`Explanation`), which have HTML, JSON and more; needed for
            `layers` and `flip`.

    Raises:
        TypeError, ValueError: as the explainer; an option that nobody knows.
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = {name: kwargs.pop(name) for name in _EXPLAINER if name in kwargs}
        super().__init__(*args, **kwargs)
        self.explainer = explainer_for(self.model, self.tokenizer, **settings)
        self._check(self._forward_params, self._postprocess_params)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown := sorted(options.keys() - {*_CALL, *_RESULT}):
            known = ", ".join((*_EXPLAINER, *_CALL, *_RESULT))
            raise TypeError(f"options of the pipeline must be some of {known}, got {unknown[0]!r}.")
        result = {name: options[name] for name in _RESULT if name in options}
        ColumnOptions(result.get("unit", "words"), result.get("top_k"))  # refuses a bad one
        return {}, {name: options[name] for name in _CALL if name in options}, result

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """The explanation of a text, a list of those of a list, or an iterator over those of a dataset or generator.

        Raises:
            TypeError, ValueError: what is no text; as the explainer's call.
        """
        if isinstance(inputs, Dataset | DatasetDict | IterableDataset | IterableDatasetDict):
            raise TypeError(
                f"inputs must be texts, got a {type(inputs).__name__} of rows: KeyDataset(dataset, 'text') or "
                "(row['text'] for row in dataset) are the texts of one."
            )
        if isinstance(inputs, Sequence) and not isinstance(inputs, str):  # also a tuple, or a column of a dataset
            if not len(inputs):
                return []
            inputs = list(inputs)
        elif isinstance(inputs, Iterator):
            inputs = (one for one in inputs)
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any) -> tuple[str, str | None]:
        """The two halves of an input, checked."""
        if not isinstance(inputs, Mapping):
            return self._half(inputs, "text"), None
        for first, second in _HALVES:
            if first in inputs and set(inputs) <= {first, second}:
                half = inputs.get(second)
                return self._half(inputs[first], first), None if half is None else self._half(half, second)
        raise TypeError(f"inputs must be a text, or a dict with text and text_pair, got one with {sorted(inputs)}.")

    @staticmethod
    def _half(text: Any, name: str) -> str:
        if not isinstance(text, str):  # a list would be many
            raise TypeError(f"{name} must be a string, got {'None' if text is None else f'{text!r:.80}'}.")
        return check_texts(text, name)[0]

    def _check(self, options: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Refuses options of a call before a text is read."""
        for name in ("layers", "flip"):
            if options.get(name) and not result.get("return_explanation"):
                raise ValueError(f"{name}=True needs return_explanation=True, for only the objects hold what it adds.")
        self._explain([], **options)

    def _explain(self, rows: Sequence[tuple[str, str | None]], start: int = 0, **options: Any) -> Sequence[Any]:
        texts, halves = [row[0] for row in rows], [row[1] for row in rows]
        paired = self.explainer.task == "question_answering" or any(half is not None for half in halves)
        given = (texts, halves) if paired else (texts,)
        explanations: Sequence[Any] = self.explainer(
            *given, ids=[str(number) for number in range(start, start + len(rows))], **options
        )
        return explanations

    def _forward(self, model_inputs: dict[str, Any], **options: Any) -> Sequence[Any]:
        return self._explain(model_inputs["rows"], model_inputs["start"], **options)

    def postprocess(
        self, model_outputs: Any, unit: str = "words", top_k: int | None = None, return_explanation: bool = False
    ) -> Any:
        """What stands for an explanation: plain values, or the object itself."""
        if return_explanation:
            return model_outputs
        if isinstance(model_outputs, Explanation):
            return as_plain(model_outputs, unit, top_k)
        plain = [as_plain(one, unit, top_k) for one in model_outputs]
        return {"entities": plain} if isinstance(model_outputs, PositionedExplanation) else plain

    def run_single(self, inputs: Any, preprocess_params: Any, forward_params: Any, postprocess_params: Any) -> Any:
        (only,) = self.get_iterator([inputs], 0, 1, preprocess_params, forward_params, postprocess_params)
        return only

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterable[Any]:
        """The results one by one; the explainer pads its batches itself."""
        self._check(forward_params, postprocess_params)
        sized = isinstance(inputs, Sized)
        rows = (PipelineDataset if sized else PipelineIterator)(inputs, self.preprocess, preprocess_params)
        workers = num_workers if sized else min(num_workers, 1)  # two would read each row of a stream twice
        batches = DataLoader(rows, num_workers=workers, batch_size=batch_size, collate_fn=list)
        return _Results(self, batches, len(inputs) if sized else None, forward_params, postprocess_params)

    def save_pretrained(self, save_directory: str | PathLike[str], **kwargs: Any) -> None:
        """Model and tokenizer; no code goes with them, for `import mhex_nlp.integrations.pipeline` has it."""
        self.model.save_pretrained(fspath(save_directory), **kwargs)
        self.tokenizer.save_pretrained(fspath(save_directory))


class _Results:
    """The results of a stream of batches, made as they are asked for; has a length where the inputs have one."""

    def __init__(
        self,
        pipeline: TextExplanationPipeline,
        batches: Iterable[list[tuple[str, str | None]]],
        count: int | None,
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> None:
        self._pipeline, self._batches, self._count = pipeline, batches, count
        self._forward, self._postprocess = forward_params, postprocess_params

    def __len__(self) -> int:
        if self._count is None:
            raise TypeError("a stream of results has no length")
        return self._count

    def __iter__(self) -> Iterator[Any]:
        start = 0
        for rows in self._batches:
            for explanation in self._pipeline.forward({"rows": rows, "start": start}, **self._forward):
                yield self._pipeline.postprocess(explanation, **self._postprocess)
            start += len(rows)


def as_plain(explanation: Explanation, unit: str, top_k: int | None) -> dict[str, Any]:
    """One explanation as plain values that JSON takes."""
    prediction, place = explanation.prediction, explanation.place
    plain: dict[str, Any] = {"label": prediction.label, "score": prediction.probability}
    if prediction.value is not None:
        plain = {"value": prediction.value}
    if place is not None:
        plain |= {"word": place.text, "start": place.start, "end": place.end}
    plain["target"] = explanation.target.label
    if explanation.foil is not None:
        plain["foil"] = explanation.foil.label
    spans: Sequence[Any] = explanation.words()
    if unit == "tokens":
        spans = [token for token in explanation.tokens if not token.special]
    if top_k is not None and len(spans) > top_k:
        strongest = sorted(range(len(spans)), key=lambda index: -abs(spans[index].score))[:top_k]
        spans = [spans[index] for index in sorted(strongest)]
    plain[unit] = [_span(span, unit.removesuffix("s"), explanation) for span in spans]
    return plain | {"base_value": explanation.base_value, "sum": explanation.sum, "notes": list(explanation.notes)}


def _span(span: Any, name: str, explanation: Explanation) -> dict[str, Any]:
    """A word or a token."""
    plain = {name: span.text, "start": span.start, "end": span.end, "score": span.score}
    if explanation.text_pair is not None:
        plain["sequence"] = span.sequence
    if span.error is not None:
        plain["error"] = span.error
    if explanation.classes is not None:
        parts = [span] if isinstance(span, Token) else [explanation.tokens[index] for index in span.tokens]
        sums = map(math.fsum, zip(*(part.scores or () for part in parts), strict=True))
        plain["scores"] = dict(zip(explanation.classes, sums, strict=True))
    return plain


class AutoMhexModel:
    """Loads a saved model for whichever task it is."""

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> Any:
        """As that of our Auto class for the task; ValueError for an image classifier."""
        return class_for_checkpoint(name, options.get("revision")).auto_class.from_pretrained(name, **options)


PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=TextExplanationPipeline, pt_model=AutoMhexModel, type="text")
