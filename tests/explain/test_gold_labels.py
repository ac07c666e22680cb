# SPDX-License-Identifier: Apache-2.0
"""Which class a gold label names: exact names and ids are taken, what resembles them is offered, the rest refused."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mhex_nlp.explain.gold_labels import class_of, classes_of_names, similar_classes

MOODS, STARS, CODES, TRUTHS = ["negative", "positive"], ["1", "2", "3", "4", "5"], ["01", "02"], ["False", "True"]
ONES = [1, 1.0, np.float32(1), np.int64(1), torch.tensor(1), "1"]


@pytest.mark.parametrize("label", [*ONES, True, np.True_, "positive"], ids=repr)
def test_exact_names_and_ids_are_taken(label: Any) -> None:
    assert class_of(label, MOODS) == "positive"


@pytest.mark.parametrize("label", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "", " \t"], ids=repr)
def test_a_missing_label_is_none(label: Any) -> None:
    assert class_of(label, MOODS) is None and class_of(label, []) is None


@pytest.mark.parametrize("label", ONES, ids=repr)
def test_where_classes_are_numbers_a_number_is_a_name(label: Any) -> None:
    assert class_of(label, STARS) == "1"
    with pytest.raises(ValueError, match="did you mean '01'"):
        class_of(label, CODES)


def test_truth_values() -> None:
    assert [class_of(label, TRUTHS) for label in (True, np.False_, "True", 0)] == ["True", "False", "True", "False"]


@pytest.mark.parametrize(
    ("label", "classes", "offer"),
    [
        ("Positive", MOODS, "positive"),
        (" positive ", MOODS, "positive"),
        ("1.0", MOODS, "positive"),
        ("01", MOODS, "positive"),
        ("+1", MOODS, "positive"),
        ("01", STARS, "1"),
        ("5.0", STARS, "5"),
        ("true", TRUTHS, "True"),
        ("a", ["A", "a "], "A' or 'a "),
    ],
)
def test_what_resembles_a_class_is_offered_and_not_taken(label: str, classes: list[str], offer: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"got {label!r}; did you mean '{offer}'? The classes are 0")):
        class_of(label, classes)


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("pos", MOODS),
        (2, MOODS),
        (-1, MOODS),
        (0.5, MOODS),
        (float("inf"), MOODS),
        (0, STARS),
        (True, STARS),
        ("2", MOODS),
    ],
)
def test_what_matches_nothing_is_refused(label: Any, classes: list[str]) -> None:
    with pytest.raises(
        ValueError, match=rf"^labels\[3\] must be a class of the model, got {label!r}\. The classes are 0"
    ):
        class_of(label, classes, "labels[3]")


@pytest.mark.parametrize("label", [["positive"], b"positive", np.array([1]), {}])
def test_what_is_no_label_is_a_type_error(label: Any) -> None:
    with pytest.raises(TypeError, match="label must be a class name, an id or None, got "):
        class_of(label, MOODS)


def test_a_regression_has_no_classes() -> None:
    assert [class_of(label, []) for label in (4.5, 4.0, "four")] == ["4.5", "4", "four"]


@given(
    label=st.text(max_size=8), classes=st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=5, unique=True)
)
def test_any_text_is_its_class_or_refused(label: str, classes: list[str]) -> None:
    """A class is only ever taken by its own name, or by an id as Python writes it."""
    try:
        name = class_of(label, classes)
    except ValueError:
        assert label not in classes
        return
    if name is None:
        assert not label.strip() and label not in classes
    else:
        assert name == label or (label not in classes and classes[int(label)] == name and str(int(label)) == label)
        assert name == label or name in similar_classes(label, classes)


def test_the_names_of_a_column_of_class_ids() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert classes_of_names(["positive", "negative"], MOODS) == classes_of_names(None, MOODS) == {}
    with pytest.warns(
        UserWarning, match="matched by their ids: the column has 0 'neg', 1 'pos', the model 0 'negative'"
    ):
        assert classes_of_names(["neg", "pos"], MOODS) == {"neg": "negative", "pos": "positive"}
    with pytest.raises(ValueError, match="whose id 0 is called 'Positive'; did you mean 'positive', which .* at 1"):
        classes_of_names(["Positive", "neg"], MOODS)
    with pytest.raises(ValueError, match="a column of 3 classes, 0 'a', 1 'b', 2 'c'; the model has 0 'negative'"):
        classes_of_names(["a", "b", "c"], MOODS)
