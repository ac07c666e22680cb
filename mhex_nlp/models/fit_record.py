# SPDX-License-Identifier: Apache-2.0
"""The record of a fit in `config.mhex_fit`, checked: it says how far scores can be trusted. Pure Python."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..inputs.checks import integer_or_none

IMAGES = "image_classification"
_WIDEST = 2**20  # units of a state; wider ones would only take memory
_TRUSTED_FROM = {IMAGES: 0.2}  # the lower end of the paired skill's interval; hundreds of images reach more than 0


def trusted_from(task: str) -> float:
    """What the lower end of the interval of a fit's skill must be above, for its scores to be trusted."""
    return _TRUSTED_FROM.get(task, 0.0)


def check_fit(fit: Any, depths: int, where: str, task: str = "sequence_classification") -> None:
    """Refuses a record that no fit of a model with that many depths to read can have written.

    Earlier fits recorded less, and later ones may record more: what is there is checked, what is not known is let be.

    Args:
        fit: the record.
        depths: the stream that enters the first layer, what each layer makes of it, and the last hidden state.
        where: it stands, for the sentence.
        task: of the model.

    Raises:
        ValueError: names the entry.
    """
    if not isinstance(fit, Mapping):
        raise ValueError(f"mhex_fit in {where} must be the record of a fit, got {type(fit).__name__}.")
    read = fit.get("depths")
    length = len(read) if isinstance(read, list | tuple) else 0
    at_position = task not in ("sequence_classification", IMAGES)
    if (fit.get("at", "text") == "position") is not at_position or fit.get("task", task) != task:
        came = fit.get("task", "sequence_classification")
        raise ValueError(f"mhex_fit in {where} must be of a fit for {task}, got one for {came!r:.80}.")
    for key, (expected, fits) in _entries(length, depths, at_position, task == IMAGES).items():
        if not (fits(fit[key]) if key in fit else key not in ("depths", "widths")):
            came = f"{fit[key]!r:.80}" if key in fit else "nothing"
            raise ValueError(f"mhex_fit in {where}: {key} must be {expected}, got {came}.")


def _entries(
    length: int, depths: int, at_position: bool, of_images: bool
) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    """What each entry must be, in words and as a test; `length` is the number of depths read."""
    at_most_1 = ("a number of at most 1", _numbers(most=1))
    positive = ("a finite number of at least 0", _numbers(least=0))
    count = ("an integer of at least 0", _integers(0))
    least = 0 if at_position else 1
    removals = ("mean", "blur", "attention") if of_images else ("mask", "attention")
    widths = (f"{length} widths of at least {least}", _integers(least, _WIDEST, length))
    flows = (f"{length} widths of at least 0", _integers(0, _WIDEST, length))
    return {
        "depths": (f"ascending depths from 0 to {depths - 1}", lambda value: _ascending(value, depths)),
        "widths": widths,
        "flow_widths": flows,
        "write_widths": flows,
        **dict.fromkeys(("skill", "absolute_skill"), at_most_1),
        "attainable": ("a number of at most 1, or null", _or_none(_numbers(most=1))),
        "attainable_interval": ("two numbers of at most 1, or null", _or_none(_numbers(most=1, length=2))),
        "attainable_reliability": ("a number from 0 to 1, or null", _or_none(_numbers(0, 1))),
        "refinement": ("a prior of the scores' errors, or null", _or_none(_is_prior)),
        "empty": ("ascending lengths and as many rows of values, or null", _or_none(_are_answers)),
        "scripts": ("names", _list_of_names),
        "weights": ("hashes by dtype", _are_hashes),
        "r2": at_most_1,
        "skill_interval": ("two numbers of at most 1", _numbers(most=1, length=2)),
        **dict.fromkeys(("base_error", "misfit"), ("two finite numbers of at least 0", _numbers(least=0, length=2))),
        "depth_share": (f"{length} numbers from 0 to 1", _numbers(0, 1, length)),
        **dict.fromkeys(("strength", "seconds"), positive),
        **dict.fromkeys(("texts", "chosen_on", "held_out", "attainable_texts", "longest", "masks", "rows"), count),
        "curve": ("pairs of a number of texts and a skill", _is_curve),
        "pairs": ("true or false", lambda value: isinstance(value, bool)),
        "seed": ("an integer", _integers()),
        "at": ("'text' or 'position'", lambda value: value in ("text", "position")),
        "removal": (" or ".join(map(repr, removals)), lambda value: value in removals),
        "image": ("what a fit says of its images, or null", _is_image if of_images else lambda value: value is None),
        "contrast": ("'centred' or 'none'", lambda value: value in ("centred", "none")),
    }


def _or_none(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


def _is_prior(value: Any) -> bool:
    positive = _numbers(least=sys.float_info.min)
    tests = {
        **dict.fromkeys(("ratio", "noise", "freedom"), positive),
        "bend": _numbers(least=0),
        "mix": _or_none(_is_mix),
    }
    return isinstance(value, Mapping) and tests.keys() - value.keys() <= {"bend", "mix"} and _fits(value, tests)


def _is_mix(value: Any) -> bool:
    """Of scores and gradients, whose prior has none."""
    tests = {
        "steps": _integers(1, 1000),
        "scores": _numbers(),
        "gradients": _numbers(),
        "least": _integers(2, _WIDEST),
        "prior": lambda prior: _is_prior(prior) and prior.get("mix") is None,
    }
    return isinstance(value, Mapping) and value.keys() == tests.keys() and _fits(value, tests)


def _is_curve(value: Any) -> bool:
    pairs = isinstance(value, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value)
    return pairs and all(_integers(1)(texts) and _numbers(most=1)(skill) for texts, skill in value)


def _is_image(value: Any) -> bool:
    tests = {
        "size": _integers(1, _WIDEST, 2),
        "grid": _integers(1, _WIDEST, 2),
        "colour": _list_of_numbers,
        "empty": _or_none(_list_of_numbers),
        "processor": _are_hashes,
        "blocks": lambda entry: isinstance(entry, bool),
    }
    return isinstance(value, Mapping) and tests.keys() - value.keys() <= {"blocks"} and _fits(value, tests)


def _list_of_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and _numbers(length=len(value))(value)


def _fits(value: Mapping[str, Any], tests: Mapping[str, Callable[[Any], bool]]) -> bool:
    return all(key in tests and tests[key](entry) for key, entry in value.items())


def _are_hashes(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)


def _list_of_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _are_answers(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"lengths", "values"}:
        return False
    lengths, rows = value["lengths"], value["values"]
    if not _ascending(lengths, _WIDEST) or not isinstance(rows, list) or len(rows) != len(lengths):
        return False
    return all(isinstance(row, list) and row and _numbers(length=len(rows[0]))(row) for row in rows)


def _ascending(value: Any, depths: int) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    return _integers(0, depths - 1, len(value))(value) and list(value) == sorted(set(value))


def _list_of(test: Callable[[Any], bool], length: int | None) -> Callable[[Any], bool]:
    """The test itself, or that of a list of so many."""
    if length is None:
        return test
    return lambda value: isinstance(value, list | tuple) and len(value) == length and all(map(test, value))


def _integers(least: float = -math.inf, most: float = math.inf, length: int | None = None) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        number = integer_or_none(value)
        return number is not None and least <= number <= most

    return _list_of(test, length)


def _numbers(least: float = -math.inf, most: float = math.inf, length: int | None = None) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return abs(value) <= sys.float_info.max and least <= value <= most  # NaN is not

    return _list_of(test, length)
