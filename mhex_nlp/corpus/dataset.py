# SPDX-License-Identifier: Apache-2.0
"""`highlight_dataset`: attribution columns beside the texts of a `datasets` dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa
from datasets import Dataset, Features, IterableDataset

from ..explain.request import Budget, Request
from ..explain.targets import ClassName
from ..explain.text_explainer import TextExplainer
from ..inputs.checks import as_integer
from ..inputs.texts import first_split, warn
from ..render.judged import describe_judgement
from .columns import PREFIX, ColumnOptions, to_columns
from .explained_rows import check_flip, explain_rows, tokenise_rows
from .fingerprint import identity_of
from .images.columns import ImageColumnOptions
from .images.dataset import ExplainImages, explained_images
from .judged import figures_of
from .judging import draw, judge_rows
from .readers.rows import MAX_CHARACTERS, RowColumns

D = TypeVar("D", Dataset, IterableDataset)
T = TypeVar("T")


def highlight_dataset(
    dataset: D,
    explainer: Any,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    image_column: str | None = None,
    batch_size: int = 1000,
    target: ClassName | None = None,
    foil: ClassName | None = None,
    classes: Literal["target", "all"] = "target",
    budget: Budget | None = None,
    tolerance: float | None = None,
    max_budget: int | None = None,
    seed: int = 0,
    flip: bool = False,
    judge: int | None = None,
    unit: str = "words",
    top_k: int | None = None,
    overlay: bool = False,
    errors: Literal["raise", "record"] = "raise",
    max_characters: int = MAX_CHARACTERS,
) -> D:
    """The dataset with columns that explain its texts; every column's Arrow type is fixed (`columns.py`).

    >>> explained = highlight_dataset(load_dataset("csv", data_files="reviews.csv", split="train"), explainer)
    >>> explained[0]["mhex_spans"], explained[0]["mhex_scores"]

    A `Dataset` is explained now, in constant memory and with the cache of `Dataset.map`: the same call on the same data
    and weights reads the Arrow file of the first. An `IterableDataset` is explained as it is read. (Long because of its
    many arguments.)

    Args:
        dataset: a dataset whose `text_column` holds strings.
        explainer: of any task; its `batch_tokens` is the size of a batch, its `stride` turns windows on. A
            `MhexImageExplainer` takes images (experimental).
        text_column, text_pair_column: the columns of the text and of a pair's second half.
        image_column: for images, their column: an Image, file names or bytes; by default "image".
        batch_size: rows that are sorted by length together, then cut into batches.
        target, foil, classes, budget, tolerance, max_budget, seed: as in a call of the explainer; budget is by default
            0, for each entity or answer 16.
        flip: add words that turn the prediction (`MhexExplainer.flip`), by at most 12 further passes: `mhex_flip_spans`
            with their places, and the label and probability without them; `mhex_alone_spans`, predicted alone as the
            whole text is. Null where none were found.
        judge: rows to draw, by `seed`, on which the skill is measured (`MhexExplainer.judge`): in all rows `mhex_skill`
            and `mhex_skill_interval`, null where none of them can be judged. Not for an `IterableDataset`.
        unit: "words" or "tokens": what `mhex_spans` holds.
        top_k: keep only that many of them a text, those with the largest magnitudes; of images the regions in
            `mhex_boxes`, by default 5.
        overlay: add each map over its image as an Image column.
        errors: what to do about a row that cannot be explained, such as an empty text: "raise" stops and names it,
            "record" leaves its columns null and says why in `mhex_error`.
        max_characters: of a text; a longer one cannot be explained.

    Returns:
        the dataset, with the columns `mhex_label`, `mhex_probability`, `mhex_spans`, `mhex_starts`, `mhex_ends`,
        `mhex_scores`, `mhex_sum`, `mhex_error` and more, with a budget `mhex_score_errors`; scores are float32, offsets
        count Unicode code points. Of answers also `mhex_answer` and its place in the context. Of entities each column
        is a list with an entry an entity, beside `mhex_entities`, `mhex_entity_types`, their places, and the scores of
        their own words and of the rest. Of images `mhex_grid` (rows x columns of float32 scores), `mhex_boxes` of the
        strongest regions with their `mhex_box_scores`, `mhex_geometry`, `mhex_p_empty`, `mhex_trust`, `mhex_skill`.

    Raises:
        TypeError: not a dataset, or a column that does not hold strings.
        ValueError: a column that is not there or would be overwritten, an option out of range, a row that cannot be
            explained (with errors="raise").
    """
    reads_images = _check_arguments(dataset, explainer, batch_size, errors, judge)
    if reads_images:
        of_texts = {"text_pair_column": text_pair_column, "budget": budget or None, "tolerance": tolerance}
        of_texts |= {"max_budget": max_budget, "judge": judge, "flip": flip or None}
        of_texts["text_column"] = None if text_column == "text" else text_column
        if meant := [name for name, value in of_texts.items() if value is not None]:
            raise ValueError(f"{meant[0]} is for texts, got {of_texts[meant[0]]!r} with a MhexImageExplainer.")
        return _mapped(
            dataset,
            *explained_images(
                dataset,
                explainer,
                image_column=image_column or "image",
                batch_size=batch_size,
                request={"target": target, "foil": foil, "classes": classes},
                options=ImageColumnOptions(5 if top_k is None else top_k, classes == "all", overlay),
                errors=errors,
            ),
        )
    if image_column is not None or overlay:
        raise ValueError(f"image_column and overlay are for a MhexImageExplainer, got a {type(explainer).__name__}.")
    check_flip(flip, explainer)
    request = explainer.request(
        target,
        foil,
        classes,
        budget=budget,
        tolerance=tolerance,
        max_budget=max_budget,
        seed=seed,
        **({"flip": True} if flip else {}),
    )
    options = ColumnOptions(unit, top_k, classes == "all", request.budget > 0, judge is not None, flip, explainer.task)
    _check_pair(explainer, text_pair_column)
    columns = RowColumns(text_column, text_pair_column, max_characters=max_characters)
    _check_columns(dataset, columns)
    explain = ExplainTexts(explainer, request, columns, options, errors, None if judge is None else (dataset, judge))
    how: dict[str, Any] = {"with_indices": True, "batched": True, "batch_size": batch_size}
    how["features"] = _features(dataset, options)
    if isinstance(dataset, Dataset):
        names = [text_column] if text_pair_column is None else [text_column, text_pair_column]
        state: list[Any] = [dataset._fingerprint, names, repr(options), batch_size, errors, max_characters]
        state += [identity_of(explainer, request), *([] if judge is None else [judge, seed])]
        how["new_fingerprint"] = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
    return _mapped(dataset, explain, how)


def _check_arguments(dataset: Any, explainer: Any, batch_size: Any, errors: Any, judge: Any) -> bool:
    """Whether the explainer takes images."""
    from ..explain.images.explainer import MhexImageExplainer

    if not isinstance(dataset, Dataset | IterableDataset):
        advice = f"; pass one of its splits, such as {split}" if (split := first_split(dataset)) else ""
        raise TypeError(f"dataset must be a datasets.Dataset or IterableDataset, got {type(dataset).__name__}{advice}.")
    if not isinstance(explainer, TextExplainer | MhexImageExplainer):
        raise TypeError(f"explainer must be a MhexExplainer or one of another task, got {type(explainer).__name__}.")
    if judge is not None:
        as_integer(judge, "judge", at_least=1)
        if not isinstance(dataset, Dataset):
            raise ValueError("judge needs a Dataset, whose rows can be drawn, got an IterableDataset.")
    if errors not in ("raise", "record"):
        raise ValueError(f"errors must be 'raise' or 'record', got {errors!r}.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size!r}.")
    return isinstance(explainer, MhexImageExplainer)


def _check_pair(explainer: TextExplainer[Any], text_pair_column: str | None) -> None:
    """ValueError for a task that needs a second text, or can have none."""
    if explainer.task == "question_answering" and text_pair_column is None:
        raise ValueError("text_pair_column must name the contexts, since text_column names the questions, got None.")
    if explainer.task == "token_classification" and text_pair_column is not None:
        raise ValueError(f"text_pair_column must be left out for entities, got {text_pair_column!r}.")


def _mapped(dataset: D, explain: ExplainTexts | ExplainImages, how: Mapping[str, Any]) -> D:
    """The dataset with the columns, in the format that it had."""
    if not isinstance(dataset, Dataset):
        streamed = dataset.with_format("arrow").map(explain, **how)
        formatting = getattr(dataset, "_formatting", None)
        return streamed.with_format(None if formatting is None else formatting.format_type)
    if not len(dataset):  # `map` would leave the columns out
        return Dataset.from_dict({name: [] for name in how["features"]}, features=how["features"])
    before: dict[str, Any] = dataset.format
    explained = dataset.with_format("arrow").map(explain, desc="explain", **how)
    shown = (
        None if set(before["columns"]) == set(dataset.column_names) else [*before["columns"], *explain.options.types]
    )
    return explained.with_format(before["type"], shown, before["output_all_columns"], **before["format_kwargs"])


@dataclass
class ExplainTexts:
    """Adds the columns to a chunk of the dataset, whose rows have the numbers `indices`."""

    explainer: TextExplainer[Any]
    request: Request
    columns: RowColumns
    options: ColumnOptions
    errors: str
    judged: tuple[Dataset, int] | None = None  # the rows, and how many to draw
    source: str = "the dataset"  # what a sentence calls what the rows are numbered in
    warned: bool = False
    _of_all: dict[str, Any] | None = None

    def __call__(self, table: pa.Table, indices: list[int]) -> pa.Table:
        _check_names(table.column_names, self.columns)
        names = self.columns.names
        cells = zip(indices, *(table[name].to_pylist() for name in names), strict=True)
        texts = [self.columns.row(index, dict(zip(names, row, strict=True))) for index, *row in cells]
        rows = explain_rows(self.explainer, self.request, tokenise_rows(self.explainer, texts))
        for index, row in zip(indices, rows, strict=True):
            if isinstance(row, str) and self.errors == "raise":
                raise ValueError(f"row {index} of {self.source} cannot be explained: {row}")
            if not isinstance(row, str) and row.item.truncated and not self.warned:
                self.warned = True
                warn(f"row {index}: {row.item.cut_note()} The column {PREFIX}truncated tells which others were cut.")
        if self._of_all is None:  # here, so that what the cache of `map` has is not measured again
            self._of_all = self._judge()
        for name, column in to_columns(_handed_over(rows), self.options, self._of_all).items():
            table = table.append_column(name, column)
        return table

    def _judge(self) -> dict[str, Any]:
        """The skill on rows that are drawn."""
        if self.judged is None:
            return {}
        dataset, count = self.judged
        numbers = draw(range(len(dataset)), count, self.request.seed)
        names = self.columns.names
        drawn = dataset.with_format(None).select_columns(names)[numbers]
        cells = zip(numbers, *(drawn[name] for name in names), strict=True)
        rows = [self.columns.row(number, dict(zip(names, row, strict=True))) for number, *row in cells]
        judgement = judge_rows(self.explainer, rows, count, self.request.seed)
        if judgement is None:
            return {}
        if judgement.foreign or judgement.skill_interval[0] <= 0 or judgement.drawn < count:
            warn(" ".join(describe_judgement(figures_of(judgement))))
        return {"skill": judgement.skill, "skill_interval": list(judgement.skill_interval)}


def _handed_over(rows: list[T]) -> Iterator[T]:
    """The rows, of which the list keeps none: what is read of each is freed before the next is read."""
    rows.reverse()
    while rows:
        yield rows.pop()


def _check_columns(dataset: Dataset | IterableDataset, columns: RowColumns) -> None:
    known = dataset.column_names
    if known is None:  # a stream that was never looked at
        return
    _check_names(known, columns)
    for argument, name in columns.by_argument():
        kind = getattr((dataset.features or {}).get(name), "dtype", "string")
        if kind not in ("string", "large_string", "string_view", "null"):
            raise TypeError(f"{argument} must name a column of strings, got {name!r}, which holds {kind}.")


def _check_names(known: Sequence[str], columns: RowColumns) -> None:
    for argument, name in columns.by_argument():
        if name not in known:
            raise ValueError(f"{argument} must name a column of the dataset, got {name!r}; it has {', '.join(known)}.")
    if taken := sorted(name for name in known if name.startswith(PREFIX)):
        raise ValueError(f"dataset must have no column that begins with {PREFIX}, got {', '.join(taken)}.")


def _features(dataset: Dataset | IterableDataset, options: ColumnOptions) -> Features | None:
    if dataset.features is None:
        return None
    added = Features.from_arrow_schema(pa.schema(list(options.types.items())))
    return Features({**dataset.features, **added})
