# SPDX-License-Identifier: Apache-2.0
"""How far scores can be trusted, in sentences: measured on the texts at hand, or by the fit on texts of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ANSWERS = {"mask": "when words are masked", "attention": "when words are hidden from its attention"}


def describe_judgement(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """What was measured on some of the texts: the fields of `explain.judgement.Judgement`, and `foreign`.

    Where rows were drawn, `drawn`, `asked` and `passed_over` say how many.
    """
    how = _ANSWERS.get(figures["removal"], "when words are removed")
    drawn, asked = figures.get("drawn"), figures.get("asked", 0)
    texts = f"{figures['texts']:,} of these texts" if drawn is not None else f"{figures['texts']:,} texts like these"
    sentences = [
        f"One pass explains {_with_interval(figures['skill'], figures['skill_interval'])} of what the model answers "
        f"{how}, measured on {texts} with {figures['masks']} passes over each."
    ]
    if drawn is not None and drawn < asked:
        sentences.append(f"All {drawn:,} rows were taken, since there are no {asked:,}.")
    if figures.get("passed_over"):
        sentences.append(f"{figures['passed_over']:,} of the {drawn:,} rows that were drawn could not be judged.")
    if figures["foreign"]:
        sentences.append(
            f"That is less than on texts of the fit's own kind, "
            f"{_with_interval(figures['fit_skill'], figures['fit_interval'])}: these are of another kind, and a fit on "
            "texts like them may explain them better."
        )
    if figures["skill_interval"][0] <= 0:
        sentences.append("The interval reaches 0: do not trust single words.")
    return tuple(sentences)


def describe_fit(method: Mapping[str, Any]) -> tuple[str, ...]:
    """What the fit says of itself, as `method` of an explanation has it."""
    if method["skill"] is None:
        return ()
    attainable = method.get("attainable")
    best = "" if attainable is None else f"; {attainable:.2f} is attainable by any scores of words"
    return (
        f"One pass explains {method['skill']:.2f} of the model's answers to removals, on texts that the fit held "
        f"out{best}.",
    )


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
