# SPDX-License-Identifier: Apache-2.0
"""The words and numbers around a highlighted text, shared by the page, the fragment and the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import span_error, with_error
from .highlight import Highlight
from .numbers import plain, signed

OWN_WORDS, OTHER_WORDS = "own words", "rest of the text"
_NOISE = 1e-6  # of the largest score: what is below comes of its 32 bits
_ROUNDED = 1e-3  # errors by scores that are below it come of the digits that covariances are kept with
_AGGREGATION = {
    "mean": "mean over depths",
    "last": "last depth alone",
    "ema": "depths smoothed one into the next",
    "fitted": "fitted equivalent matrices",
}
_CONTRAST = {"centred": "against the mean of the classes", "foil": "against the foil"}
_EXPLAINS = {"heads": "its MHEX heads", "model": "the model itself"}
_REMOVAL = {"mask": "words removed by masking", "attention": "words removed from attention"}


@dataclass(frozen=True)
class Summary:
    """What stands around one highlighted text, as plain strings."""

    answers: tuple[tuple[str, str], ...]  # (label or output, probability or value), the prediction
    others: tuple[tuple[str, str], ...]  # the next most probable classes
    target: str | None  # only where it differs from the prediction, or where there is a foil
    foil: str | None
    explained: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    model: str
    sides: tuple[str, str] = ("for", "against")  # what scores above and below 0 do


def summarise(explanation: Mapping[str, Any], drawn: Highlight) -> Summary:
    """Put the numbers of an explanation, and the shares that its highlighted text does not show, into words."""
    prediction, target, foil = explanation["prediction"], explanation["target"], explanation["foil"]
    total, base = explanation["sum"], explanation["base_value"]
    number = number_format((total, base))
    facts = [*base_facts(explanation), *(place_facts(explanation) or [("sum of scores", number(total))])]
    if not explanation["method"]["non_negative"]:
        facts.append(("logit explained", number(base + total)))
    facts += share_facts(drawn)
    if explanation.get("passes", 1) > 1:
        facts.append(("passes", f"1 + {explanation['passes'] - 1:,}"))
    heads = explanation.get("heads")
    if heads is not None and not heads["agrees"]:
        facts.append(("the heads choose", heads["label"]))
    return Summary(
        answers=tuple(answers_of(prediction)),
        others=tuple(others_of(prediction)),
        target=None if foil is None and is_prediction(prediction, target) else target["label"],
        foil=None if foil is None else foil["label"],
        explained=explained(explanation["method"], explanation.get("passes", 1)),
        facts=tuple(facts),
        notes=tuple(explanation.get("notes", ())),
        model=model_name(explanation["model"]),
        sides=sides_of(explanation),
    )


def sides_of(explanation: Mapping[str, Any]) -> tuple[str, str]:
    """What scores above and below 0 do: they speak for and against a class, or raise and lower a value."""
    return ("raises", "lowers") if "value" in explanation["prediction"] else ("for", "against")


def base_facts(explanation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The base value, and where it is known the two parts of it: v(empty), and what the scores miss."""
    base, misfit = explanation["base_value"], explanation.get("misfit")
    number = number_format((base, explanation["sum"]))
    if misfit is None:
        return [("base value", number(base))]
    parts = (("without any words", base - misfit), ("missed by the scores", misfit))
    return [("base value", number(base)), *((f"of it {name}", number(part)) for name, part in parts)]


def place_facts(explanation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the words of a place itself say, apart from all others; none where no place is explained."""
    place, tokens = explanation.get("place"), explanation["tokens"]
    if place is None:
        return []
    inside = set(place["tokens"])
    outside = [index for index, token in enumerate(tokens) if not token["special"] and index not in inside]
    covariance = explanation.get("covariance")
    parts = []
    for indices in (place["tokens"], outside):
        score = math.fsum(tokens[index]["score"] for index in indices)
        error = None if covariance is None else span_error(covariance, indices)
        measured = error is not None and error <= _ROUNDED * abs(score)  # these sums are differences of answers
        parts.append((score, None if measured else error))
    number = number_format(score for score, _ in parts)
    return [(name, number(*part)) for name, part in zip((OWN_WORDS, OTHER_WORDS), parts, strict=True)]


def share_facts(drawn: Highlight) -> list[tuple[str, str]]:
    """How much of the scores the highlighted text does not show."""
    facts = [("on special tokens", percent(drawn.special_share))]
    if drawn.hidden_share >= 0.0005:
        facts.append(("on white space", percent(drawn.hidden_share)))
    return facts


def percent(share: float) -> str:
    """A share as a percentage that says 0% or 100% only where that is exact."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def number_format(scores: Iterable[float]) -> Callable[..., str]:
    """A formatter of these `scores`: signed, three significant digits each; what is rounding beside the largest is 0.

    It takes an error as well, and then writes both, each number with the digits that its error calls for.
    """
    least = _NOISE * max((abs(score) for score in scores), default=0.0)

    def write(score: float, error: float | None = None) -> str:
        return signed(0.0 if abs(score) < least else score) if error is None else with_error(score, error)

    return write


def answers_of(prediction: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is predicted, each label or output with its probability or value."""
    probabilities = prediction.get("probabilities") or {}
    if "value" in prediction:
        value = prediction["value"]
        values = value if isinstance(value, list) else [value]
        return [(f"value {i}" if len(values) > 1 else "value", plain(v)) for i, v in enumerate(values)]
    if "labels" in prediction:
        answers = [(label, percent(probabilities[label])) for label in prediction["labels"] if label in probabilities]
        return answers or [("no label", "none reaches 50%")]
    probability = prediction["probability"]
    return [(str(prediction["label"]), "" if probability is None else percent(probability))]


def others_of(prediction: Mapping[str, Any], count: int = 2) -> list[tuple[str, str]]:
    """The next most probable classes."""
    predicted = prediction.get("labels", [prediction["label"]])
    rest = [(p, label) for label, p in (prediction.get("probabilities") or {}).items() if label not in predicted]
    return [(label, percent(p)) for p, label in sorted(rest, key=lambda pair: -pair[0])[:count]]


def is_prediction(prediction: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    if "value" in prediction:
        return not isinstance(prediction["value"], list)
    if "labels" in prediction:
        return bool(prediction["labels"] == [target["label"]])
    return bool(prediction["id"] == target["id"])


def model_name(model: Mapping[str, Any]) -> str:
    """A model by name and the beginning of its revision."""
    return f"{model['name']} @ {model['revision'][:12]}" if model["revision"] else str(model["name"])


def explained(method: Mapping[str, Any], passes: int = 1) -> str:
    """How the scores were computed, in a sentence; figures of a fit are of its one pass."""
    parts = [_AGGREGATION.get(method["aggregation"], method["aggregation"])]
    if method["contrast"] != "none":
        parts.append(_CONTRAST.get(method["contrast"], method["contrast"]))
    if method["removal"]:
        parts.append(_REMOVAL.get(method["removal"], method["removal"]))
    if method["non_negative"]:
        parts.append("negative scores set to zero")
    one_pass = ""
    if passes > 1:
        parts.append(f"refined by {passes - 1:,} further passes")
        one_pass = " of the one pass"
    if method["skill"] is not None:
        attainable = method.get("attainable")
        best = "" if attainable is None else f" ({attainable:.2f} attainable)"
        parts.append(f"held-out skill {method['skill']:.2f}{best}{one_pass}")
    elif method.get("absolute_skill") is not None:
        parts.append(f"held-out absolute skill {method['absolute_skill']:.2f}{one_pass}")
    elif method["r2"] is not None:
        parts.append(f"R² {method['r2']:.2f}")
    return f"Explains {_EXPLAINS.get(method['explains'], method['explains'])}: {', '.join(parts)}."
