# SPDX-License-Identifier: Apache-2.0
"""The JSON form of explanations: frozen dataclasses to plain values and back, every value checked by its type
hint.
"""

from __future__ import annotations

import json
import math
import types
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

SCHEMA = "mhex-explanation/1"
_FAMILY, _VERSION = "mhex-explanation", 1


def explanation_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one explanation, as shipped in the package."""
    source = resources.files("mhex_nlp").joinpath("explanation_schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(source)
    return schema


def dumps(document: dict[str, Any], indent: int | None = None) -> str:
    """Strict JSON. Text is written as it is, but all escaped where a lone surrogate could not be encoded."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent)
    return text


def loads(source: str | bytes) -> Any:
    """What strict JSON says; ValueError for anything else, NaN and Infinity included."""
    if not isinstance(source, str | bytes):
        raise TypeError(f"source must be a JSON string, got {type(source).__name__}")
    try:
        return json.loads(source, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("not an explanation: the JSON is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not an explanation: not valid JSON ({error})") from error


def check_schema(document: Any) -> dict[str, Any]:
    """`document` if it is an object that names a schema version this release reads, else ValueError."""
    if not isinstance(document, dict):
        raise ValueError(f"not an explanation: expected a JSON object, got {_kind(document)}")
    if "schema" not in document:
        raise ValueError(f'not an explanation: the key "schema" is missing, expected "{SCHEMA}"')
    schema = document["schema"]
    family, _, version = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    if family != _FAMILY or not (version.isascii() and version.isdecimal() and int(version) >= 1):
        raise ValueError(f'not an explanation: "schema" must be "{SCHEMA}", got {schema!r}')
    if int(version) > _VERSION:
        raise ValueError(f'"schema" is {schema!r}, newer than this release reads ({SCHEMA}): upgrade mhex_nlp')
    return document


def to_plain(value: Any, hint: Any, where: str) -> Any:
    """`value` as JSON holds it. Optional keys that are None are left out. TypeError where it breaks its type
    hint.
    """
    try:
        return _convert(value, hint, where, reading=False)
    except ValueError as error:
        raise TypeError(str(error)) from error


def from_plain(cls: type[T], document: dict[str, Any], where: str = "explanation") -> T:
    """A dataclass from its JSON object. ValueError names the key that is missing, unknown or of the wrong
    type.
    """
    built: T = _convert(document, cls, where, reading=True)
    return built


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _convert(value: Any, hint: Any, where: str, reading: bool) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        listed = isinstance(value, list | tuple)
        chosen = next((option for option in options if (get_origin(option) is tuple) == listed), options[0])
        return _convert(value, chosen, where, reading)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ValueError(f"{where} must be one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list if reading else list | tuple):
            raise ValueError(f"{where} must be an array, got {_kind(value)}")
        items = [_convert(item, arguments[0], f"{where}[{i}]", reading) for i, item in enumerate(value)]
        return tuple(items) if reading else items
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{where} must be an object with string keys, got {_kind(value)}")
        return {key: _convert(item, arguments[1], f"{where}[{key!r}]", reading) for key, item in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        convert_object = _read_object if reading else _write_object
        return convert_object(value, hint, where)
    return _scalar(value, hint, where)


def _read_object(value: Any, cls: type, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, got {_kind(value)}")
    known = {field.name: field for field in fields(cls)}
    for key in value:
        if key not in known:
            raise ValueError(f'{where} has an unknown key "{key}"')
    for name, field in known.items():
        # Only keys that may be absent have the default None; the others are always written.
        if name not in value and field.default is not None:
            raise ValueError(f'{where} lacks the key "{name}"')
    hints = _hints(cls)
    return cls(**{key: _convert(item, hints[key], f"{where}.{key}", True) for key, item in value.items()})


def _write_object(value: Any, cls: type, where: str) -> dict[str, Any]:
    if not isinstance(value, cls):
        raise ValueError(f"{where} must be a {cls.__name__}, got {type(value).__name__}")
    hints, plain = _hints(cls), {}
    for field in fields(cls):
        item = getattr(value, field.name)
        if item is not None or field.default is MISSING:
            plain[field.name] = _convert(item, hints[field.name], f"{where}.{field.name}", False)
    return plain


def _scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is float and not isinstance(value, bool) and (isinstance(value, int | float) or hasattr(value, "dtype")):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise ValueError(f"{where} must be a finite number, got {value!r:.40}")
    if hint is int and hasattr(value, "dtype") and hasattr(value, "__index__"):
        return int(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    names = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
    raise ValueError(f"{where} must be {names[hint]}, got {_kind(value)}")


def _kind(value: Any) -> str:
    """What JSON calls a value, for error messages."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
