# SPDX-License-Identifier: Apache-2.0
"""Which methods are compared, and what they may spend: checked alike for texts and for images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from ...inputs.checks import as_integer

Method = TypeVar("Method")
Budgets = TypeVar("Budgets")


def choose_methods(
    names: Sequence[str] | None, known: Sequence[str], make: Callable[[str], Method], notes: list[str] | None
) -> list[Method]:
    """The methods named, in the order of `known`; by default all that `make` can make.

    Args:
        make: a method by its name; its ValueError or ImportError says why it cannot be had.
        notes: gets a sentence for each that cannot be had, named or not, in the place of an error.

    Raises:
        ValueError, ImportError: an unknown name, and as `make` for one that was named.
    """
    chosen = known if names is None else tuple(names)
    if not chosen or isinstance(names, str):
        raise ValueError(f"methods must be a list of some of {', '.join(known)}, got {names!r}.")
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(f"methods must be some of {', '.join(known)}, got {unknown[0]!r}.")
    strict, methods = names is not None and notes is None, []
    for name in (name for name in known if name in chosen):
        try:
            methods.append(make(name))
        except (ValueError, ImportError) as error:
            if strict:
                raise
            if notes is not None:
                notes.append(f"{name} was left out: {error}")
    return methods


def budgets_of(kind: type[Budgets], budgets: Mapping[str, int]) -> Budgets:
    """Budgets of a kind by name; ValueError for an unknown one."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if surplus := sorted(set(budgets) - set(known)):
        raise ValueError(f"budgets must be some of {', '.join(known)}, got {surplus[0]!r}.")
    return kind(**budgets)


def check_budgets(budgets: Any) -> None:
    """ValueError where a field is no positive integer, or `permutations`, which go in fours, no multiple of 4."""
    for field in fields(budgets):
        as_integer(getattr(budgets, field.name), field.name, at_least=1)
    if budgets.permutations % 4:
        raise ValueError(f"permutations must be a multiple of 4, got {budgets.permutations}.")
