# SPDX-License-Identifier: Apache-2.0
"""What a request asks for, checked against the limits: each complaint is one sentence with a status of HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...explain.json_form import loads
from ...inputs.checks import integer_or_none
from ...inputs.texts import SurrogateWarnings, check_pairs, check_texts, numbered
from .settings import ServiceSettings

KEYS = ("text", "text_pair", "target", "foil", "budget")
_FOR_EXPLANATIONS = ("target", "foil", "budget")
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


class RefusedError(Exception):
    """A request that is not served: `status` of HTTP, `code` for programs, and a sentence for people."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence


class Options(NamedTuple):
    """What requests must have in common to be answered together."""

    explain: bool = False
    pairs: bool = False
    target: str | int | None = None
    foil: str | int | None = None
    budget: int | str = 0
    max_budget: int | None = None  # with "auto"


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """The texts of one request, checked, and what to say of them; `single` where it named one text, and no list."""

    texts: list[str]
    pairs: list[str] | None
    single: bool
    options: Options


def explain_of(query: Iterable[tuple[str, str]]) -> bool:
    """Whether the parameters of an address ask for explanations.

    Raises:
        RefusedError: another parameter, or another value than true and false.
    """
    explain = False
    for name, value in query:
        if name != "explain":
            raise RefusedError(422, "parameter", f"the one parameter of the address is explain, got {name!r:.40}.")
        if value.lower() not in _SWITCH:
            raise RefusedError(422, "parameter", f"explain must be true or false, got {value!r:.40}.")
        explain = _SWITCH[value.lower()]
    return explain


def parse(body: bytes) -> Any:
    """The JSON of a body; RefusedError for what is none, keys that stand twice, NaN and deep nesting."""
    try:
        return loads(body, "a request")
    except ValueError as error:
        raise RefusedError(400, "json", f"the body is {error}.") from error


def check_request(document: Any, explain: bool, settings: ServiceSettings) -> PredictRequest:
    """The request of a JSON document.

    Raises:
        RefusedError: a wrong type, an unknown key, an empty text, half a pair, or more than the limits allow.
    """
    if not isinstance(document, dict):
        raise _wrong(f'the body must be a JSON object such as {{"text": "..."}}, got {_kind(document)}.')
    unknown = [key for key in document if key not in KEYS]
    if unknown:
        raise _wrong(f"the body may have the keys {', '.join(KEYS)}, got {unknown[0]!r:.40}.")
    if "text" not in document:
        raise _wrong('the body must have the key "text", a string or a list of strings, got none.')
    given = document["text"]
    texts, pairs = _texts(given, document.get("text_pair"), settings)
    options = _options(document, explain, settings)
    return PredictRequest(texts, pairs, isinstance(given, str), options._replace(pairs=pairs is not None))


def _texts(given: Any, pairs: Any, settings: ServiceSettings) -> tuple[list[str], list[str] | None]:
    if isinstance(given, list):
        if not given:
            raise _wrong("text must have at least one text, got an empty list.")
        if len(given) > settings.max_texts:
            most = f"text must have at most {settings.max_texts:,} texts, got {len(given):,}: send several requests."
            raise RefusedError(413, "texts", most)
    elif not isinstance(given, str):
        raise _wrong(f"text must be a string or a list of strings, got {_kind(given)}.")
    if isinstance(given, list) and isinstance(pairs, str):
        raise _wrong("text_pair must be a list where text is one, got a string.")
    if pairs is not None and not isinstance(pairs, str | list):
        raise _wrong(f"text_pair must be a string or a list of strings, got {_kind(pairs)}.")
    for name, column in (("text", given), ("text_pair", pairs)):
        for index, item in enumerate(column if isinstance(column, list) else ()):
            if not isinstance(item, str):  # whose repr, in a sentence, may be too deep for Python
                raise _wrong(f"{name}[{index}] must be a string, got {_kind(item)}.")
    quiet = SurrogateWarnings()  # lone surrogates become U+FFFD, which the explanation's own text shows
    try:
        texts = check_texts(given, surrogates=quiet)
        halves = check_pairs(texts, pairs, surrogates=quiet)
    except (TypeError, ValueError) as error:
        raise _wrong(str(error)) from error
    single = isinstance(given, str)
    for name, column in (("text", texts), ("text_pair", halves or [])):
        for index, text in enumerate(column):
            if len(text) > settings.max_characters:
                most = f"must have at most {settings.max_characters:,} characters, got {len(text):,}."
                raise RefusedError(413, "characters", f"{numbered(name, None if single else index)} {most}")
    return texts, halves


def _options(document: Mapping[str, Any], explain: bool, settings: ServiceSettings) -> Options:
    chosen = {name: document[name] for name in _FOR_EXPLANATIONS if document.get(name) is not None}
    if chosen and not explain:
        raise _wrong(f"{next(iter(chosen))} is for explanations: ask with ?explain=true.")
    for name in ("target", "foil"):
        value = chosen.get(name)
        if value is not None and not isinstance(value, str) and integer_or_none(value) is None:
            raise _wrong(f"{name} must be a class by name or number, got {_kind(value)}.")
    budget = chosen.get("budget", 0)
    if budget == "auto" and settings.max_budget >= 2:
        most = settings.max_budget - settings.max_budget % 2
        return Options(explain, False, chosen.get("target"), chosen.get("foil"), "auto", most)
    passes = integer_or_none(budget)
    if passes is None or not 0 <= passes <= settings.max_budget or passes % 2:
        came = repr(budget) if isinstance(budget, str | int | float) else _kind(budget)
        raise _wrong(
            f"budget must be an even number from 0 to {settings.max_budget}"
            f"{', or auto' if settings.max_budget >= 2 else ''}, got {came:.40}."
        )
    return Options(explain, False, chosen.get("target"), chosen.get("foil"), passes)


def _wrong(sentence: str) -> RefusedError:
    return RefusedError(422, "value", sentence)


def _kind(value: Any) -> str:
    """What JSON calls a value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")
