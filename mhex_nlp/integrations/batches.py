# SPDX-License-Identifier: Apache-2.0
"""Arrow tables of texts explained by the workers of an engine, each with its model: what Ray and Spark share."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import pyarrow as pa

if TYPE_CHECKING:
    from ..corpus.columns import ColumnOptions
    from ..corpus.dataset import ExplainTexts
    from ..explain.request import Budget
    from ..explain.targets import ClassName
    from ..models.tasks.names import Task

ROWS = 1000  # that are sorted by length together, then cut into batches
GRAPH = "model.onnx"  # which a folder of `export_onnx` holds
_TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)


class BatchOptions(TypedDict, total=False):
    """Keyword options of `ExplainBatches` and `explain_batches`, which mean what they do elsewhere.

    Those of `highlight_dataset`, whose `errors` here is "record" by default: a row that cannot be explained has null in
    its columns and the reason in `mhex_error`, and "raise" fails its batch. And those of the explainer and its
    `from_pretrained`, such as `device`, `stride` and `batch_tokens`.
    """

    pair_column: str | None  # a pair's second half, or the contexts of questions
    target: ClassName | None
    foil: ClassName | None
    classes: Literal["target", "all"]
    budget: Budget | None
    tolerance: float | None
    max_budget: int | None
    seed: int
    flip: bool
    unit: Literal["words", "tokens"]
    top_k: int | None
    errors: Literal["raise", "record"]
    max_characters: int
    revision: str | None
    device: str | None
    dtype: str | None
    aggregation: str
    contrast: str
    non_negative: bool
    batch_tokens: int | None
    max_length: int | None
    stride: int | None
    language: str | None
    changed_weights: Literal["refuse", "note"]


_REQUEST = ("target", "foil", "classes", "budget", "tolerance", "max_budget", "seed", "flip")
_COLUMNS = ("pair_column", "unit", "top_k", "errors", "max_characters")
_Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class TableExplainer:
    """Adds the columns of `highlight_dataset` to Arrow tables.

    It holds settings alone, so that it is small when it is sent to a worker. There the model is loaded when the first
    table comes, once for all tables, and all explainers of equal settings, of that process.
    """

    model: str
    column: str
    options: _Options

    @classmethod
    def of(cls, model: Any, column: Any, options: Mapping[str, Any]) -> TableExplainer:
        """That of these arguments, checked as far as it goes without the model.

        Raises:
            TypeError: a model that is no name, an option that is not known or not a plain value.
            ValueError: an option out of range.
        """
        if not isinstance(model, str | os.PathLike):
            raise TypeError(
                "model must be a folder or hub name, from which each worker loads it, got a "
                f"{type(model).__name__}: save_pretrained writes a folder."
            )
        pair = options.get("pair_column")
        for argument, value in (("column", column), ("pair_column", "a name" if pair is None else pair)):
            if not isinstance(value, str):
                raise TypeError(f"{argument} must be the name of a column, got {value!r:.80}.")
        if unknown := sorted(options.keys() - BatchOptions.__annotations__.keys()):
            raise TypeError(f"options must be those of BatchOptions, got {unknown[0]!r}.")
        for name, value in options.items():
            if not isinstance(value, Hashable):
                raise TypeError(f"{name} must be a plain value, got {value!r:.80}.")
        if (errors := options.get("errors", "record")) not in ("raise", "record"):
            raise ValueError(f"errors must be 'raise' or 'record', got {errors!r}.")
        explainer = cls(os.fspath(model), column, tuple(sorted(options.items())))
        explainer._columns("sequence_classification")  # refuses a unit or top_k out of range here
        return explainer

    @property
    def is_graph(self) -> bool:
        """Whether the model is an ONNX graph."""
        return (Path(self.model) / GRAPH).is_file()

    def types(self, known: Sequence[str]) -> dict[str, pa.DataType]:
        """The columns that are added to those that are `known`, by name, with their types; reads the model's config.

        Raises:
            ValueError: as a call; a model that cannot be read, or reads no texts.
        """
        task = self._task()
        self._check_names(known, task)
        return self._columns(task).types

    def load(self) -> ExplainTexts:
        """What explains in this process, loaded the first time.

        Raises:
            ValueError: as `MhexExplainer.from_pretrained` and a call of it, where they depend on no text.
        """
        return _loaded(self)

    def tables(self, table: pa.Table) -> Iterator[pa.Table]:
        """The table with the columns, a thousand rows at a time.

        Raises:
            TypeError: a column that does not hold strings.
            ValueError: one that is not there, or would be overwritten; with errors="raise" a row that cannot be
                explained.
        """
        explain = self.load()
        self._check_names(table.column_names, explain.options.task)
        for argument, name in self._texts():
            if not any(fits(table.schema.field(name).type) for fits in _TEXT_TYPES):
                kind = table.schema.field(name).type
                raise TypeError(f"{argument} must name a column of strings, got {name!r}, which holds {kind}.")
        for start in range(0, table.num_rows or 1, ROWS):
            part = table.slice(start, ROWS)
            yield explain(part, list(range(start, start + part.num_rows)))

    def _option(self, name: str, default: Any = None) -> Any:
        return dict(self.options).get(name, default)

    def _texts(self) -> list[tuple[str, str]]:
        """The columns that are read, after the argument that names each."""
        named = [("column", self.column), ("pair_column", self._option("pair_column"))]
        return [(argument, name) for argument, name in named if name is not None]

    def _task(self) -> Task:
        from ..explain.explainers import class_for_checkpoint

        return (
            "sequence_classification"
            if self.is_graph
            else class_for_checkpoint(self.model, self._option("revision")).task
        )

    def _check_names(self, known: Sequence[str], task: Task) -> None:
        from ..corpus.columns import PREFIX

        for argument, name in self._texts():
            if name not in known:
                raise ValueError(f"{argument} must name a column of the rows, got {name!r}; they have {[*known]}.")
        if taken := sorted(name for name in known if name.startswith(PREFIX)):
            raise ValueError(f"the rows must have no column that begins with {PREFIX}, got {', '.join(taken)}.")
        pair = self._option("pair_column")
        if task == "question_answering" and pair is None:
            raise ValueError("pair_column must name the contexts, since column names the questions, got None.")
        if task == "token_classification" and pair is not None:
            raise ValueError(f"pair_column must be left out for entities, got {pair!r}.")

    def _columns(self, task: Task) -> ColumnOptions:
        from ..corpus.columns import ColumnOptions
        from ..explain.explainers import CLASSES

        budget = self._option("budget")
        passes = CLASSES[task].usual_budget if budget is None else budget
        return ColumnOptions(
            unit=self._option("unit", "words"),
            top_k=self._option("top_k"),
            all_classes=self._option("classes") == "all",
            errors=bool(passes),
            flips=bool(self._option("flip")),
            task=task,
        )

    def _start(self) -> ExplainTexts:
        from ..corpus.dataset import ExplainTexts
        from ..corpus.explained_rows import check_flip
        from ..corpus.readers.rows import MAX_CHARACTERS, RowColumns

        asked_for = {name: value for name, value in self.options if name in _REQUEST and name != "flip"}
        loading = {name: value for name, value in self.options if name not in (*_REQUEST, *_COLUMNS)}
        explainer = _explainer(self.model, self.is_graph, tuple(loading.items()))
        if self._option("flip"):
            check_flip(True, explainer)
            asked_for["flip"] = True
        return ExplainTexts(
            explainer,
            explainer.request(**asked_for),
            RowColumns(
                self.column,
                self._option("pair_column"),
                max_characters=self._option("max_characters", MAX_CHARACTERS),
            ),
            self._columns(self._task()),
            self._option("errors", "record"),
            source="its batch",
        )


@lru_cache(maxsize=4)
def _loaded(settings: TableExplainer) -> ExplainTexts:
    return settings._start()


@lru_cache(maxsize=1)  # a worker has memory for one model
def _explainer(model: str, is_graph: bool, loading: _Options) -> Any:
    if is_graph:
        from .onnx import OnnxExplainer

        return OnnxExplainer.from_pretrained(model, **dict(loading))
    from ..explain.explainers import load_explainer

    return load_explainer(model, **dict(loading))
