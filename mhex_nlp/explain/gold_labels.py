# SPDX-License-Identifier: Apache-2.0
"""Gold labels against the classes of a model: one rule for every verb and every call that takes labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real
from typing import Any

from ..inputs.checks import integer_or_none
from ..inputs.texts import warn

_SHOWN = 10  # classes named in a sentence
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]+)?")


def class_of(label: Any, classes: Sequence[str], name: str = "label") -> str | None:
    """The class that a gold label names; `None` for one that is missing: None, NaN, or nothing but whitespace.

    Taken are a class's exact name, and its id: an integer, a float without a fraction, or the text of an integer ("1",
    not "01" or "1.0"). Where classes are named by numbers ("1" to "5" for stars), a number is a name and never an id.
    What else resembles a class is offered by the error and not taken.

    Args:
        label: a string, number or truth value.
        classes: the model's, in id order; without any (regression) every label stands for itself.
        name: what the error calls the label.

    Raises:
        TypeError: something else than a string, a number or a truth value.
        ValueError: a label that is no class.
    """
    if _is_missing(label):
        return None
    text = _as_text(label, name)
    if text in classes:
        return text
    if not text.strip():
        return None
    if not classes:
        return text
    index = int(label) if text in ("True", "False") and not isinstance(label, str) else _integer(text)
    if index is not None and not _numbered(classes) and 0 <= index < len(classes):
        return classes[index]
    offers = " or ".join(map(repr, similar_classes(text, classes)))
    offer = f"; did you mean {offers}?" if offers else "."
    raise ValueError(
        f"{name} must be a class of the model, got {label!r:.80}{offer} The classes are {listed(classes)}."
    )


def similar_classes(text: str, classes: Sequence[str]) -> list[str]:
    """Classes that a label may mean, though it is none: those of its name but for case and outer whitespace, else that
    of its number, as "1.0" or "01".
    """
    if alike := [name for name in classes if is_alike(text, name)]:
        return alike
    if not _NUMBER.fullmatch(text.strip()):
        return []
    number = float(text)
    if _numbered(classes):
        return [name for name in classes if _NUMBER.fullmatch(name) and float(name) == number]
    return [name for index, name in enumerate(classes) if index == number]


def is_alike(text: str, name: str) -> bool:
    """Whether two names differ in case and outer whitespace alone."""
    return text.strip().casefold() == name.strip().casefold()


def classes_of_names(names: Sequence[str] | None, classes: Sequence[str]) -> dict[str, str]:
    """The class of each of the names that a ClassLabel column declares, where they are not the model's own.

    Such a column holds ids. If none of its names is a class, nor resembles one of another id, the ids are taken for the
    model's, with a warning that says so.

    Raises:
        ValueError: names and classes that differ in number, or a name that resembles a class of another id.
    """
    if not names or not classes or set(names) & set(classes):
        return {}
    for index, name in enumerate(names):
        for offered in similar_classes(name, classes):
            if classes.index(offered) != index:
                raise ValueError(
                    f"labels must be classes of the model, got a column whose id {index} is called {name!r}; did you "
                    f"mean {offered!r}, which the model has at {classes.index(offered)}?"
                )
    if len(names) != len(classes):
        raise ValueError(
            f"labels must be classes of the model, got a column of {len(names)} classes, {listed(names)}; the model "
            f"has {listed(classes)}."
        )
    if list(names) != list(classes):
        warn(f"labels are matched by their ids: the column has {listed(names)}, the model {listed(classes)}.")
    return dict(zip(names, classes, strict=True))


def listed(classes: Sequence[str]) -> str:
    """The first classes with their ids, and how many more there are."""
    shown = ", ".join(f"{index} {name!r:.80}" for index, name in enumerate(classes[:_SHOWN]))
    return shown if len(classes) <= _SHOWN else f"{shown} and {len(classes) - _SHOWN} more"


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # pandas' NA refuses to say; so do arrays, which are no labels
        return repr(label) == "<NA>"


def _as_text(label: Any, name: str) -> str:
    """A label as a class would be named after it: 1, 1.0 and an integer of NumPy or torch are all "1"."""
    if isinstance(label, str):
        return label
    if type(label).__name__ in ("bool", "bool_"):  # NumPy's too
        return str(bool(label))
    number = integer_or_none(label)
    if number is None and not isinstance(label, Real):
        raise TypeError(f"{name} must be a class name, an id or None, got {type(label).__name__}.")
    if number is None:
        number = int(label) if label == label // 1 else label
    return str(number)


def _integer(text: str) -> int | None:
    """What an integer written as Python writes it is."""
    return int(text) if re.fullmatch("0|-?[1-9][0-9]{0,17}", text) else None


def _numbered(classes: Sequence[str]) -> bool:
    """Whether a class has a number for its name, so that no number can be an id."""
    return any(_NUMBER.fullmatch(name) for name in classes)
