# SPDX-License-Identifier: Apache-2.0
"""The JSON form of explanations: frozen dataclasses to plain values and back, every value checked by its type hint.

Written by hand, since pydantic 2.14 (a strict `TypeAdapter` of these dataclasses, which validates what it dumps) writes
the same JSON of 2,000 explanations of 30 tokens 30 to 42 % more slowly, for it runs `__post_init__` again. Nor can its
strict mode read plain objects (it refuses lists for tuples and dicts for dataclasses) or write NumPy's integers.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Converter = Callable[[Any], Any]

SCHEMA = "mhex-explanation/1.3"
_VERSION = re.compile(r"([1-9][0-9]{0,8})(?:\.(0|[1-9][0-9]{0,8}))?")
_SHOWN = 60  # characters of a value in a sentence


def explanation_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one explanation, as shipped in the package."""
    source = resources.files("mhex_nlp.explain").joinpath("explanation_schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(source)
    return schema


def dumps(document: dict[str, Any], indent: int | None = None) -> str:
    """Strict JSON. Text is written as it is, but all escaped where a lone surrogate could not be encoded."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent)
    return text if _encodable(text) else json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent)


def loads(source: str | bytes, kind: str = "an explanation") -> Any:
    """What strict JSON says; ValueError for anything else, NaN, Infinity and a key that stands twice included.

    `kind` is what a sentence calls the document that was expected.
    """
    if not isinstance(source, str | bytes):
        raise TypeError(f"source must be a JSON string, got {type(source).__name__}")
    try:
        text = source if isinstance(source, str) else source.decode(json.detect_encoding(source))
        # A surrogate is the same as its escape: two of them are one character, however each is written.
        return _DECODER.decode(text if _encodable(text) else text.encode(errors="backslashreplace").decode())
    except RecursionError as error:
        raise ValueError(f"not {kind}: the JSON is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not {kind}: not valid JSON ({error})") from error


def check_schema(document: Any, known: str = SCHEMA) -> dict[str, Any]:
    """`document` in the form of this version, if it is an object that names one that is read, else ValueError.

    Explanations of 1.0 call `skill` what is `absolute_skill` now. `known` is the newest form that is read.
    """
    if not isinstance(document, dict):
        raise ValueError(f"not an explanation: expected a JSON object, got {_kind(document)}")
    if "schema" not in document:
        raise ValueError(f'not an explanation: the key "schema" is missing, expected "{known}"')
    schema = document["schema"]
    family, _, version = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    if family != known.partition("/")[0] or not (match := _VERSION.fullmatch(version)):
        raise ValueError(f'not an explanation: "schema" must be "{known}", got {_brief(schema)}')
    number = int(match[1]), int(match[2] or 0)
    if number > tuple(map(int, known.partition("/")[2].split("."))):
        raise ValueError(f'"schema" is {schema!r}, newer than this release reads ({known}): upgrade mhex_nlp')
    method = document.get("method")
    if (
        known == SCHEMA
        and number == (1, 0)
        and isinstance(method, dict)
        and "skill" in method
        and "absolute_skill" not in method
    ):
        absolute = {} if method["skill"] is None else {"absolute_skill": method["skill"]}
        return {**document, "method": {**method, "skill": None, **absolute}}
    return document


def pydantic_form(cls: Any) -> Any:
    """What pydantic, and with it FastAPI, reads and writes of a class with `to_dict` and `from_dict`: its JSON form."""
    from pydantic_core import core_schema

    return core_schema.no_info_plain_validator_function(
        lambda value: value if isinstance(value, cls) else cls.from_dict(value),
        json_schema_input_schema=core_schema.dict_schema(),
        serialization=core_schema.plain_serializer_function_ser_schema(
            cls.to_dict, return_schema=core_schema.dict_schema()
        ),
    )


def to_plain(value: Any, hint: Any, where: str) -> Any:
    """`value` as JSON holds it, without optional keys that are None. TypeError where it breaks its type hint."""
    try:
        return _converter(hint, reading=False)(value)
    except _BrokenHintError as error:
        raise TypeError(error.sentence(where)) from None
    except ValueError as error:
        raise TypeError(str(error)) from error


def from_plain(cls: type[T], document: dict[str, Any], where: str = "explanation") -> T:
    """A dataclass from its JSON object. ValueError names the key that is missing, unknown or of the wrong type."""
    try:
        built: T = _converter(cls, reading=True)(document)
    except _BrokenHintError as error:
        raise ValueError(error.sentence(where)) from None
    return built


class _BrokenHintError(ValueError):
    """A value breaks its type hint. Each converter it passes adds its step to `path`, so the innermost comes first: a
    place is spelt out only for the value that is wrong, not for the thousands that are right.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str] = []

    def sentence(self, where: str) -> str:
        return f"{where}{''.join(reversed(self.path))} {self}"


def _converter(hint: Any, reading: bool) -> _Converter:
    """What turns a value of the type `hint` into its JSON form, or with `reading` back, and checks it.

    Cached for each dataclass and not for each hint: `int | str` equals `str | int`, but an error names the first.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(arguments, reading)
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _array(_converter(arguments[0], reading), reading)
    if origin is dict:
        return _mapping(_converter(arguments[1], reading))
    if isinstance(hint, type) and is_dataclass(hint):
        return _reader(hint) if reading else _writer(hint)
    return {float: _number, int: _integer}.get(hint) or _scalar(hint)


def _union(arguments: tuple[Any, ...], reading: bool) -> _Converter:
    options = [option for option in arguments if option is not type(None)]
    optional = len(options) < len(arguments)
    arrays = [option for option in options if get_origin(option) is tuple]
    others = [option for option in options if get_origin(option) is not tuple]
    of_array, of_other = (_converter((fitting or options)[0], reading) for fitting in (arrays, others))

    def convert(value: Any) -> Any:
        if value is None and optional:
            return None
        return of_array(value) if isinstance(value, list | tuple) else of_other(value)

    return convert


def _literal(choices: tuple[Any, ...]) -> _Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise _BrokenHintError(f"must be one of {', '.join(map(repr, choices))}, got {_brief(value)}")
        return value

    return convert


def _array(convert_item: _Converter, reading: bool) -> _Converter:
    accepted = list if reading else (list, tuple)

    def convert(value: Any) -> Any:
        if not isinstance(value, accepted):
            raise _BrokenHintError(f"must be an array, got {_kind(value)}")
        items: list[Any] = []
        try:
            for item in value:
                items.append(convert_item(item))
        except _BrokenHintError as error:
            error.path.append(f"[{len(items)}]")
            raise
        return tuple(items) if reading else items

    return convert


def _mapping(convert_item: _Converter) -> _Converter:
    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _BrokenHintError(f"must be an object with string keys, got {_kind(value)}")
        return _convert_items(value, lambda _: convert_item, "[{!r}]")

    return convert


def _convert_items(value: dict[str, Any], converter_of: Callable[[str], _Converter], step: str) -> dict[str, Any]:
    items = {}
    try:
        for key, item in value.items():
            items[key] = converter_of(key)(item)
    except _BrokenHintError as error:
        error.path.append(step.format(key if len(key) <= _SHOWN else f"{key[:_SHOWN]}..."))
        raise
    return items


@cache
def _reader(cls: type) -> _Converter:
    hints = get_type_hints(cls)
    converters = {field.name: _converter(hints[field.name], reading=True) for field in fields(cls)}
    # Only keys that may be absent have a default, which is not written; the others always are.
    required = [field.name for field in fields(cls) if field.default is MISSING]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _BrokenHintError(f"must be an object, got {_kind(value)}")
        for key in value:
            if key not in converters:
                raise _BrokenHintError(f"has an unknown key {json.dumps(str(key), ensure_ascii=False):.{_SHOWN}}")
        for name in required:
            if name not in value:
                raise _BrokenHintError(f'lacks the key "{name}"')
        return cls(**_convert_items(value, converters.__getitem__, ".{}"))

    return read


@cache
def _writer(cls: type) -> _Converter:
    hints = get_type_hints(cls)
    parts = [(field.name, _converter(hints[field.name], reading=False), field.default) for field in fields(cls)]

    def write(value: Any) -> dict[str, Any]:
        if not isinstance(value, cls):
            raise _BrokenHintError(f"must be a {cls.__name__}, got {type(value).__name__}")
        plain = {}
        try:
            for name, convert, default in parts:
                item = getattr(value, name)
                if default is MISSING or (item is not None and item != default):
                    plain[name] = convert(item)
        except _BrokenHintError as error:
            error.path.append(f".{name}")
            raise
        return plain

    return write


def _number(value: Any) -> float:
    """`value` as a finite Python float. Whole numbers and NumPy's and torch's numbers are numbers too."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, bool) or not (isinstance(value, int | float) or hasattr(value, "dtype")):
        raise _BrokenHintError(f"must be a number, got {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isfinite(number):
        return number
    raise _BrokenHintError(f"must be a finite number, got {_brief(value)}")


def _integer(value: Any) -> int:
    """`value` as an integer of 64 bits: more digits are no place, number or id of anything."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, bool) or not (
        isinstance(value, int) or hasattr(value, "dtype") and hasattr(value, "__index__")
    ):
        raise _BrokenHintError(f"must be an integer, got {_kind(value)}")
    if not -(2**63) <= value < 2**63:
        raise _BrokenHintError(f"must be an integer of 64 bits, got {_brief(value)}")
    return int(value)


def _scalar(hint: type) -> _Converter:
    names = {str: "a string", bool: "true or false"}

    def convert(value: Any) -> Any:
        if isinstance(value, hint):
            return value
        raise _BrokenHintError(f"must be {names[hint]}, got {_kind(value)}")

    return convert


def _kind(value: Any) -> str:
    """What JSON calls a value, for error messages."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")


def _brief(value: Any) -> str:
    """A plain value, cut where it is long, or the kind of what has parts or very many digits."""
    plain = isinstance(value, str | float | bool) or (isinstance(value, int) and value.bit_length() < 10_000)
    return f"{value!r:.{_SHOWN}}" if plain else _kind(value)


def _encodable(text: str) -> bool:
    """Whether UTF-8 can hold `text`: it has no surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which other readers may take the first or the last of two equal keys."""
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.{_SHOWN}} stands twice in one object")
    return document


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
