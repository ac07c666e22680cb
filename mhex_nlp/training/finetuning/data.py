# SPDX-License-Identifier: Apache-2.0
"""Labelled texts for training: files or hub datasets in, checked and tokenised splits out."""

from __future__ import annotations

from os import PathLike
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict

from ...corpus.readers.splits import Source, checked_columns, column_values
from ...corpus.readers.splits import read_source as read_source

_VALIDATION_NAMES = ("validation", "valid", "val", "dev")


def load_splits(
    source: Source,
    text_column: str = "text",
    label_column: str = "label",
    text_pair_column: str | None = None,
    *,
    validation: Source | None = None,
    config_name: str | None = None,
    train_split: str = "train",
    validation_split: str | None = None,
    validation_share: float = 0.1,
    seed: int = 42,
) -> DatasetDict:
    """Splits "train" and "validation" with the columns `text`, `text_pair` (if asked for) and `label`, a ClassLabel.

    Args:
        source: name of a hub dataset, a local folder, a CSV, TSV, JSON, JSONL or Parquet file, or a dataset at hand.
        text_column, label_column, text_pair_column: their names in the source. Labels are class names, integers,
            booleans or a ClassLabel; class ids follow the sorted values. Validation labels are matched by name.
        validation: a source of its own for the validation split.
        config_name: configuration of a hub dataset.
        train_split, validation_split: names of the source's splits; by default "train", and "validation", "valid",
            "val" or "dev" if there is one. Without one, `validation_share` of the training split is taken with
            `seed`, each class in proportion where every class has rows enough.

    Raises:
        FileNotFoundError, TypeError: as `read_source`.
        ValueError: a file that cannot be read, a missing column or split (the sentence lists those there are), an empty
            or missing text or label (with its row), labels of a kind that are no classes, fewer than two classes, or
            more classes than half the rows, a share that leaves no row for training.
    """
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share must be between 0 and 1, got {validation_share!r}.")
    columns = {"text": text_column, "text_pair": text_pair_column, "label": label_column}
    wanted = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    splits = read_source(source, config_name)
    chosen = {"train": _split(splits, train_split, source)}
    if validation is not None:
        there = read_source(validation, config_name)
        only = next(iter(there)) if len(there) == 1 else validation_split or "validation"
        chosen["validation"] = _split(there, only, validation)
    else:
        name = validation_split or next((name for name in _VALIDATION_NAMES if name in splits), None)
        if name is not None:
            chosen["validation"] = _split(splits, name, source)
    checked = {name: checked_columns(dataset, wanted, name) for name, dataset in chosen.items()}
    encoded = DatasetDict(_encode(checked, label_column))
    return encoded if "validation" in encoded else _cut(encoded["train"], validation_share, seed)


def tokenise_splits(splits: DatasetDict, tokenizer: Any, max_length: int | None = None) -> DatasetDict:
    """`splits` with what the tokenizer gives, cut at `max_length` (by default what it knows), and the label."""

    def tokenise(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return tokenizer(batch["text"], batch.get("text_pair"), truncation=True, max_length=max_length)

    texts = [name for name in splits["train"].column_names if name != "label"]
    return splits.map(tokenise, batched=True, remove_columns=texts, desc="tokenise")


def _split(splits: DatasetDict, name: str, source: Source) -> Dataset:
    if name not in splits:
        where = source if isinstance(source, str | PathLike) else type(source).__name__
        raise ValueError(f"{where} has no split {name!r}; it has {', '.join(splits)}.")
    if not len(splits[name]):
        raise ValueError(f"split {name!r} must have at least one row, got none.")
    return splits[name]


def _encode(splits: dict[str, Dataset], label_column: str) -> dict[str, Dataset]:
    """The same splits with one ClassLabel over all of them; validation labels are matched by the classes' names."""
    feature = splits["train"].features["label"]
    for name, dataset in splits.items():
        if isinstance(dataset.features["label"], ClassLabel) and -1 in column_values(dataset, "label"):
            raise ValueError(f"split {name!r} must be labelled, got rows with label -1.")
    names = feature.names if isinstance(feature, ClassLabel) else _class_names(splits["train"], label_column)
    if len(names) < 2:
        raise ValueError(f"labels must be of at least two classes, got only {names[0]!r}.")
    ids = {name: index for index, name in enumerate(names)}
    encoded = {}
    for split, dataset in splits.items():
        given = dataset.features["label"]
        if isinstance(given, ClassLabel) and given.names == names:
            encoded[split] = dataset
            continue
        own = given.int2str if isinstance(given, ClassLabel) else str
        labels = [own(label) for label in column_values(dataset, "label")]
        if unseen := sorted(set(labels) - ids.keys()):
            raise ValueError(
                f"the labels of the {split} split must occur in training, which has {_shortened(names)}, got "
                f"{_shortened(unseen)}."
            )
        column = [ids[label] for label in labels]
        labelled = dataset.remove_columns("label").add_column("label", column)
        encoded[split] = labelled.cast_column("label", ClassLabel(names=names))
    return encoded


def _class_names(train: Dataset, label_column: str) -> list[str]:
    """The classes of plain labels, sorted: integers as numbers."""
    labels = set(column_values(train, "label"))
    if len({type(label) for label in labels}) > 1:
        raise ValueError("labels must be of one type, got strings and integers.")
    if len(labels) > 2 and len(labels) > len(train) / 2:
        raise ValueError(
            f"label_column must name a column of classes, got {label_column!r} with {len(labels)} different values in "
            f"{len(train)} rows (a ClassLabel would say that they are classes)."
        )
    return [str(label) for label in sorted(labels)]


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
