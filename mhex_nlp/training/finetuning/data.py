# SPDX-License-Identifier: Apache-2.0
"""Labelled texts for training: files or datasets in, checked and tokenised splits out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from datasets.exceptions import DatasetGenerationError

from ..._version import __version__
from ...corpus.images.explained import load_row
from ...corpus.readers.images import ImageColumns, image_columns
from ...corpus.readers.opening import STANDARD_INPUT, Opener, open_split, split_openers
from ...corpus.readers.records import DatasetRows
from ...corpus.readers.rows import MAX_CHARACTERS, Row, RowColumns, RowSource, complete_rows
from ...explain.gold_labels import is_alike, listed, similar_classes
from ...inputs.texts import warn

Source: TypeAlias = str | PathLike[str] | Dataset | DatasetDict

_VALIDATION_NAMES = ("validation", "valid", "val", "dev")
_CHUNK = 10_000  # labels that are Python objects at the same time


def load_splits(
    source: Source,
    text_column: str = "text",
    label_column: str = "label",
    text_pair_column: str | None = None,
    *,
    image_column: str | None = None,
    validation: Source | None = None,
    config_name: str | None = None,
    train_split: str = "train",
    validation_split: str | None = None,
    validation_share: float = 0.1,
    seed: int = 42,
    max_characters: int = MAX_CHARACTERS,
    classes: Sequence[str] | None = None,
) -> DatasetDict:
    """Splits "train" and "validation" with the columns `text`, `text_pair` (if named) and `label`, a ClassLabel.

    Long because of its many arguments.

    Args:
        source: what `open_rows` reads from, but standard input, or a dataset at hand. A hub dataset is downloaded.
        image_column: of images, which are read in place of texts: the splits have `image` then, undecoded, and every
            image is decoded once to see that it can be. A folder with a folder a class has labels.
        text_column, label_column, text_pair_column: names in the source. Labels are names, whole numbers, booleans or a
            ClassLabel; ids follow the sorted values, integers as numbers. Validation labels are matched by name.
        validation: a source of its own for the validation split.
        config_name: configuration of a hub dataset.
        train_split, validation_split: names of the source's splits; by default "train", and "validation", "valid",
            "val" or "dev" if there is one. Without one, `validation_share` of the training split is taken with
            `seed`, each class in proportion where every class has rows enough.
        max_characters: of a text; a longer one is an error.
        classes: those of the model that is trained on, in id order. They stay where the labels are names of them, or
            all of their ids; labels of another task make new classes, with a warning.

    Raises:
        FileNotFoundError, TypeError: as `open_rows`.
        ValueError: a file that cannot be read, a missing column or split (the sentence lists those there are), an empty
            or missing text or label (with its row), labels of a kind that are no classes, or one of `classes` but for
            case, fewer than two classes, or more than half the rows, a share that leaves no row for training.
    """
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share must be between 0 and 1, got {validation_share!r}.")
    columns = RowColumns(
        text_column, text_pair_column, label=label_column, needs_label=True, max_characters=max_characters
    )
    names = [name for name in (text_column, text_pair_column, label_column) if name is not None]
    if image_column is not None:
        columns = image_columns(source, image_column, label_column=label_column, needs_label=True)
        names = [image_column, label_column]
    if len(columns.names) < len(names):
        raise ValueError(f"text, text pair and label must be columns of their own, got {names}.")
    openers = _openers(source, config_name)
    splits = {"train": _load(source, openers, train_split, columns, "train_split")}
    if validation is not None:
        others = _openers(validation, config_name)
        only = next(iter(others)) if len(others) == 1 else validation_split or "validation"
        splits["validation"] = _load(validation, others, only, columns, "validation_split")
    elif name := validation_split or next((name for name in _VALIDATION_NAMES if name in openers), None):
        splits["validation"] = _load(source, openers, name, columns, "validation_split")
    encoded = DatasetDict(_encode(splits, label_column, classes or ()))
    return encoded if "validation" in encoded else _cut(encoded["train"], validation_share, seed)


def tokenise_splits(splits: DatasetDict, tokenizer: Any, max_length: int | None = None) -> DatasetDict:
    """`splits` with what the tokenizer gives, cut at `max_length` (by default what it knows), and the label."""

    def tokenise(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return tokenizer(batch["text"], batch.get("text_pair"), truncation=True, max_length=max_length)

    texts = [name for name in splits["train"].column_names if name != "label"]
    return splits.map(tokenise, batched=True, remove_columns=texts, desc="tokenise")


def _openers(source: Source, config_name: str | None) -> dict[str, Opener]:
    if isinstance(source, str | PathLike):
        if str(source) == STANDARD_INPUT:
            raise ValueError("data must be a file, a folder or a dataset for training, got standard input.")
        return split_openers(source, config_name=config_name, stream=False)
    if isinstance(source, Dataset):
        source = DatasetDict(train=source)
    if not isinstance(source, DatasetDict):
        raise TypeError(f"data must be a path, a name, a Dataset or a DatasetDict, got {type(source).__name__}.")
    return {
        split: partial(DatasetRows, dataset, "dataset", {"split": split}, f"the {split} split")
        for split, dataset in source.items()
    }


def _load(source: Source, openers: dict[str, Opener], split: str, columns: RowColumns, argument: str) -> Dataset:
    """One split with the columns `text`, `text_pair` and `label`, every row of which has all of them."""
    name = str(source) if isinstance(source, str | PathLike) else f"the {type(source).__name__}"
    rows = open_split(openers, split, columns, name, argument)
    if not isinstance(rows, DatasetRows):
        return _written(rows, split, name)
    for _ in _usable_rows(rows, split):
        pass
    if isinstance(columns, ImageColumns):
        ours = {columns.image: "image", columns.label: "label"}
    else:
        ours = {columns.text: "text", columns.text_pair: "text_pair", columns.label: "label"}
    return rows.dataset.rename_columns({theirs: ours[theirs] for theirs in columns.names if theirs != ours[theirs]})


def _written(source: RowSource, split: str, name: str) -> Dataset:
    """The rows of files as a dataset in the cache, labels by their names; made once for the same files."""
    columns = ["text", "text_pair", "label"] if source.columns.text_pair else ["text", "label"]
    features = {column: Value("string") for column in columns}
    if isinstance(source.columns, ImageColumns):
        columns, features = ["image", "label"], {"image": Image(decode=False), "label": Value("string")}

    def examples() -> Iterator[dict[str, Any]]:
        kinds: set[str] = set()
        for row in _usable_rows(source, split):
            kinds.add(type(row.label).__name__)
            if len(kinds) > 1:
                raise ValueError(
                    f"labels must be of one type, got {' and '.join(sorted(kinds))} up to row {row.number} (counted "
                    f"from 0) of split {split!r}."
                )
            yield {column: getattr(row, column) for column in columns} | {"label": str(row.label)}

    path = Path(name)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    state = json.dumps([__version__, stats, split, repr(source.columns)])
    try:
        return Dataset.from_generator(
            examples,
            features=Features(features),
            fingerprint=hashlib.sha256(state.encode()).hexdigest()[:16],
        )
    except DatasetGenerationError as error:  # which says less than its cause
        raise error.__cause__ or error from None


def _usable_rows(source: RowSource, split: str) -> Iterator[Row]:
    """The rows, each of which has what it needs, images that can be decoded among it."""
    for row in complete_rows(source, split):
        if row.image is not None and isinstance(problem := load_row(row), str):
            raise ValueError(f"split {split!r}, row {row.number} (counted from 0): {problem}")
        yield row


def _encode(splits: dict[str, Dataset], label_column: str, classes: Sequence[str]) -> dict[str, Dataset]:
    """The same splits with one ClassLabel over all of them; validation labels are matched by the classes' names."""
    feature = splits["train"].features["label"]
    for name, dataset in splits.items():
        if isinstance(dataset.features["label"], ClassLabel) and -1 in _labels(dataset):
            raise ValueError(f"split {name!r} must be labelled, got rows with label -1.")
    names = feature.names if isinstance(feature, ClassLabel) else _class_names(splits["train"], label_column)
    if len(names) < 2:
        raise ValueError(f"labels must be of at least two classes, got only {names[0]!r}.")
    kept = _kept_classes(names, classes)
    ids = {name: index for index, name in enumerate(names)}
    if kept:
        names = list(classes)
        ids = {name: index for index, name in enumerate(names)} | {label: names.index(kept[label]) for label in kept}
    encoded = {}
    for split, dataset in splits.items():
        feature = dataset.features["label"]
        if isinstance(feature, ClassLabel) and feature.names == names:
            encoded[split] = dataset
            continue
        labels = [
            feature.int2str(label) if isinstance(feature, ClassLabel) else str(label) for label in _labels(dataset)
        ]
        if unseen := sorted(set(labels) - ids.keys()):
            offers = " or ".join(map(repr, similar_classes(unseen[0], names)))
            raise ValueError(
                f"the labels of the {split} split must occur in training, which has {_shortened(names)}, got "
                f"{_shortened(unseen)}" + (f"; did you mean {offers}?" if offers else ".")
            )
        column = [ids[label] for label in labels]
        labelled = dataset.remove_columns("label").add_column("label", column)
        encoded[split] = labelled.cast_column("label", ClassLabel(names=names))
    return encoded


def _kept_classes(names: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """The model's class for each class of the data; none where the data is of another task, of which it warns."""
    if not classes:
        return {}
    for name in names:
        if name not in classes and (alike := [label for label in classes if is_alike(name, label)]):
            raise ValueError(
                f"labels must have the names of the model's classes where they mean these, got {name!r}; did you mean "
                f"{alike[0]!r}?"
            )
    if set(names) <= set(classes):
        return {name: name for name in names}
    if set(names) == set(map(str, range(len(classes)))):
        return {name: classes[int(name)] for name in names}
    warn(f"the model's classes {listed(classes)} are replaced by those of the data: {listed(names)}.")
    return {}


def _labels(dataset: Dataset) -> Iterator[Any]:
    for batch in dataset.select_columns(["label"]).iter(_CHUNK):
        yield from (int(label) if isinstance(label, float) else label for label in batch["label"])


def _class_names(train: Dataset, label_column: str) -> list[str]:
    """The classes of plain labels, sorted: integers as numbers."""
    labels = {str(label) for label in _labels(train)}
    if len(labels) > 2 and len(labels) > len(train) / 2:
        raise ValueError(
            f"label_column must name a column of classes, got {label_column!r} with {len(labels)} different values in "
            f"{len(train)} rows (a ClassLabel would say that they are classes)."
        )
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def _shortened(names: list[str]) -> str:
    return str(names) if len(names) <= 10 else f"{names[:10]} and {len(names) - 10} more"


def _cut(train: Dataset, share: float, seed: int) -> DatasetDict:
    """Two parts of `train`: stratified, unless a class is too small for that."""
    if len(train) < 2:
        raise ValueError("data must have at least two rows where no validation split is given, got one.")
    held_out = max(1, round(share * len(train)))
    if held_out == len(train):
        raise ValueError(f"validation_share must leave a row for training, got {share!r} of {len(train)} rows.")
    options = {"test_size": held_out, "seed": seed}
    try:
        parts = train.train_test_split(stratify_by_column="label", **options)
    except ValueError:  # fewer rows than classes in one part, or a class with a single row
        parts = train.train_test_split(**options)
    return DatasetDict(train=parts["train"], validation=parts["test"])
