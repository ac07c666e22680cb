# SPDX-License-Identifier: Apache-2.0
"""Splits out of files and datasets: what comes in, what is refused, and the metrics' pure functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from helpers.tiny import tiny_dataset, tiny_tokenizer
from mhex_nlp.evaluation.metrics.classification import accuracy, f1
from mhex_nlp.training.finetuning.data import load_splits, tokenise_splits

pytestmark = pytest.mark.usefixtures("own_cache")

ROWS = [{"body": f"text {index}", "tone": ["bad", "good", "mixed"][index % 3]} for index in range(30)]


def written(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path, dataset = folder / f"rows.{kind}", Dataset.from_list(rows)
    if kind in ("csv", "tsv"):
        dataset.to_csv(path, sep="\t" if kind == "tsv" else ",")
    elif kind == "parquet":
        dataset.to_parquet(path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, ROWS)
    splits = load_splits(path, "body", "tone", validation_share=0.2)
    assert splits["train"].column_names == ["text", "label"]
    assert splits["train"].features["label"] == ClassLabel(names=["bad", "good", "mixed"])
    assert (len(splits["train"]), len(splits["validation"])) == (24, 6)
    assert sorted(splits["validation"]["label"]) == [0, 0, 1, 1, 2, 2]  # stratified
    assert sorted([*splits["train"]["text"], *splits["validation"]["text"]]) == sorted(row["body"] for row in ROWS)
    for row in [*splits["train"], *splits["validation"]]:
        assert row["label"] == int(row["text"].split()[1]) % 3
    again = load_splits(path, "body", "tone", validation_share=0.2)
    assert again["validation"]["text"] == splits["validation"]["text"]


def test_the_classes_of_a_model_are_kept() -> None:
    """By their names, in the model's order, or by all of their ids; also where a column of integers became floats."""
    classes = ["positive", "negative"]
    for labels, wanted in (
        (["negative", "positive"], [1, 0]),
        ([0, 1], [0, 1]),
        ([0.0, 1.0], [0, 1]),
        (["1", "0"], [1, 0]),
    ):
        rows = Dataset.from_dict({"text": ["a"] * 8, "label": labels * 4})
        splits = load_splits(rows, validation=rows, classes=classes)
        for split in splits.values():
            assert split.features["label"].names == classes and list(split["label"]) == wanted * 4
    some = load_splits(Dataset.from_dict({"text": ["a"] * 8, "label": ["y", "z"] * 4}), classes=["x", "z", "y"])
    assert some["train"].features["label"].names == ["x", "z", "y"] and set(some["train"]["label"]) == {1, 2}


@pytest.mark.parametrize(
    "labels", [["good", "bad"], ["negative", "positive", "mixed"], ["01", "02"], [0, 1, 2], [1, 2]], ids=str
)
def test_labels_of_another_task_make_new_classes(labels: list[Any]) -> None:
    rows = Dataset.from_dict({"text": ["a"] * 12, "label": labels * (12 // len(labels))})
    with pytest.warns(UserWarning, match="the model's classes 0 'negative', 1 'positive' are replaced by those of"):
        splits = load_splits(rows, classes=["negative", "positive"])
    assert splits["train"].features["label"].names == sorted(map(str, labels))


@pytest.mark.parametrize("label", ["Positive", " positive", "POSITIVE "])
def test_labels_that_resemble_the_models_are_offered(label: str) -> None:
    rows = Dataset.from_dict({"text": ["a"] * 8, "label": [label, "negative"] * 4})
    with pytest.raises(ValueError, match=f"got '{label}'; did you mean 'positive'\\?"):
        load_splits(rows, classes=["negative", "positive"])
    others = Dataset.from_dict({"text": ["a"] * 8, "label": ["positive", "negative"] * 4})
    with pytest.raises(ValueError, match="must occur in training, .* did you mean 'positive'\\?"):
        load_splits(others, validation=rows)


def test_integers_sort_as_numbers() -> None:
    rows = Dataset.from_dict({"text": ["a"] * 9, "label": [10, 2, 1] * 3})
    assert load_splits(rows)["train"].features["label"].names == ["1", "2", "10"]


def test_splits_that_are_there_are_used() -> None:
    rows = DatasetDict(train=tiny_dataset(8), dev=tiny_dataset(6, seed=1), test=tiny_dataset(4, seed=2))
    splits = load_splits(rows)
    assert splits["validation"]["text"] == rows["dev"]["text"] and set(splits) == {"train", "validation"}
    assert load_splits(rows, validation_split="test")["validation"]["text"] == rows["test"]["text"]
    assert load_splits(rows, validation=tiny_dataset(5, seed=3))["validation"].num_rows == 5
    with pytest.raises(
        ValueError, match="validation_split must be one that 'the DatasetDict' has, got 'held'; it has train, d"
    ):
        load_splits(rows, validation_split="held")


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    DatasetDict(train=tiny_dataset(8), validation=tiny_dataset(4)).save_to_disk(tmp_path / "saved")
    assert load_splits(tmp_path / "saved")["validation"].num_rows == 4


def test_columns_may_swap_names() -> None:
    rows = Dataset.from_dict({"label": ["a text", "b text"], "text": ["x", "y"], "text_pair": ["p", "q"]})
    splits = load_splits(rows, "label", "text", "text_pair", validation_share=0.5)
    assert splits["train"].column_names == ["text", "text_pair", "label"]
    assert splits["train"].features["label"].names == ["x", "y"]


def test_a_class_of_one_row_does_not_stop_the_split() -> None:
    rows = Dataset.from_dict({"text": ["a"] * 9, "label": ["x"] * 8 + ["y"]})
    assert load_splits(rows)["validation"].num_rows == 1


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text": ["a"], "tone": ["x"]}, {}, "label_column must name a column.*'label'.*text, tone"),
        ({"body": ["a"], "label": ["x"]}, {}, "text_column must name a column.*'text'.*body, label"),
        ({"text": ["a", "b", " "], "label": ["x", "y", "x"]}, {}, "'text'.*row 2.*empty"),
        ({"text": ["a", None], "label": ["x", "y"]}, {}, "'text'.*row 1.*missing"),
        ({"text": ["a", "b"], "label": ["x", None]}, {}, "'label'.*row 1.*missing"),
        ({"text": ["a", "b"], "label": ["x", ""]}, {}, "'label'.*row 1.*missing"),
        ({"text": ["a", "b"], "label": [0.5, 1.0]}, {}, "'label'.*row 0.*0.5"),
        ({"text": [1, 2], "label": [0, 1]}, {}, "'text'.*row 0.*string"),
        ({"text": ["a", "b"], "label": ["x", "x"]}, {}, "two classes.*'x'"),
        ({"text": ["a", "b"], "label": ["x", "y"]}, {"label_column": "text"}, "columns of their own"),
        ({"text": ["a", "b"], "label": ["x", "y"]}, {"validation_share": 1.0}, "validation_share"),
        ({"text": ["a"] * 4, "label": ["x", "y"] * 2}, {"validation_share": 0.99}, "validation_share.*0.99 of 4 rows"),
        (
            {"text": ["a"] * 9, "number": list(range(9))},
            {"label_column": "number"},
            "label_column.*'number' with 9 different values in 9 rows",
        ),
        ({"text": ["a"] * 9, "label": [*"abcdex"] + ["x"] * 3}, {}, "label_column.*6 different values in 9 rows"),
    ],
)
def test_refused(columns: dict[str, list[Any]], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_splits(Dataset.from_dict(columns), **options)


def test_labels_of_the_splits_must_agree() -> None:
    train = Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
    with pytest.raises(ValueError, match=r"validation split must occur in training, which has \['x', 'y'\].*'z'"):
        load_splits(train, validation=Dataset.from_dict({"text": ["c"], "label": ["z"]}))
    unlabelled = tiny_dataset(4).map(lambda row: {"label": -1})
    with pytest.raises(ValueError, match="'validation'.*-1"):
        load_splits(tiny_dataset(4), validation=unlabelled)
    with pytest.raises(ValueError, match="'validation'.*-1"):
        load_splits(Dataset.from_dict({"text": ["a", "b"], "label": ["negative", "positive"]}), validation=unlabelled)
    with pytest.raises(ValueError, match=r"\['negative', 'positive'\], got \['0', '1'\]"):
        load_splits(tiny_dataset(4), validation=Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}))


@pytest.mark.parametrize("kind", ["names", "ids", "reordered"])
def test_labels_of_the_validation_split_are_matched_by_name(kind: str) -> None:
    """Class names beside a ClassLabel, either way round, and a ClassLabel of another order."""
    names = Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": ["positive", "negative"] * 2})
    other = ClassLabel(names=["positive", "neutral", "negative"])
    train, validation = {
        "names": (tiny_dataset(4), names),
        "ids": (names, tiny_dataset(4)),
        "reordered": (names, names.cast_column("label", other)),
    }[kind]
    splits = load_splits(train, validation=validation)
    assert splits["train"].features["label"].names == splits["validation"].features["label"].names
    told = splits["validation"].features["label"].int2str(list(splits["validation"]["label"]))
    tone = ["negative", "positive"] if kind == "ids" else ["positive", "negative"]
    assert told == tone * 2


def test_integers_match_the_names_of_a_class_label() -> None:
    stars = ClassLabel(names=["10", "2"])
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    splits = load_splits(
        Dataset.from_dict({"text": ["a", "b"], "label": [2, 10]}), validation=rows.cast_column("label", stars)
    )
    assert splits["validation"].features["label"].names == ["2", "10"] and list(splits["validation"]["label"]) == [1, 0]


def test_classes_that_are_declared_are_not_doubted() -> None:
    declared = ClassLabel(names=[*"abcde"])
    rows = Dataset.from_dict({"text": ["t"] * 5, "label": [*"abcde"]})
    assert load_splits(rows.cast_column("label", declared))["train"].features["label"] == declared
    with pytest.raises(ValueError, match="at least two classes"):
        load_splits(
            Dataset.from_dict({"text": ["t"] * 2, "label": [0, 0]}).cast_column("label", ClassLabel(names=["a"]))
        )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.csv"):
        load_splits(tmp_path / "nothing.csv")


def test_tokenised_columns_and_truncation() -> None:
    splits = load_splits(tiny_dataset(8).add_column("pair", ["good ."] * 8), text_pair_column="pair")
    rows = tokenise_splits(splits, tiny_tokenizer(), max_length=6)
    assert set(rows["train"].column_names) == {"input_ids", "token_type_ids", "attention_mask", "label"}
    assert all(len(ids) <= 6 for ids in rows["train"]["input_ids"])
    assert rows["train"].features["label"].names == ["negative", "positive"]
    assert any(1 in types for types in rows["train"]["token_type_ids"])
    assert rows["train"].features["input_ids"].feature in (Value("int32"), Value("int64"))


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from(["macro", "weighted"]))
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[int, int]], average: Any) -> None:
    predicted, true = zip(*pairs, strict=True)
    assert f1(predicted, true, average) == pytest.approx(f1_score(true, predicted, average=average, zero_division=0))
    assert accuracy(predicted, true) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


def test_binary_f1_and_refusals() -> None:
    assert f1([1, 1, 0, 0], [1, 0, 1, 0], "binary") == pytest.approx(0.5)
    assert f1([1, 1, 0, 0], [1, 0, 0, 0], "binary", positive=0) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="two classes at most"):
        f1([0, 1, 2], [0, 1, 2], "binary")
    with pytest.raises(ValueError, match="'macro', 'weighted', 'binary'.*'micro'"):
        f1([0], [0], "micro")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be empty"):
        accuracy([], [])
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        accuracy([1, 0], [1])


@pytest.mark.parametrize("values", [[0.5, 1.0], [float("nan"), 1.0], ["a", "b"], [float("inf"), 0.0]])
def test_class_ids_are_integers(values: list[Any]) -> None:
    """0.7 was class 0."""
    for given_values in ((values, [0, 1]), ([0, 1], values)):
        with pytest.raises(ValueError, match="must be integer class ids, got"):
            accuracy(*given_values)
    assert accuracy([0.0, 1.0], [0, 1]) == f1([True, False], [1, 0]) == 1.0
