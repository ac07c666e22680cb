# SPDX-License-Identifier: Apache-2.0
"""Explanations in JSON, spoilt by seeded mutations: each ends in one sentence, or in an Explanation that works."""

from __future__ import annotations

import contextlib
import io
import json
import random
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.attack import record, rounds
from helpers.attack_strings import DEEDS
from helpers.explanations import EXAMPLES
from mhex_nlp import Explanation, compare_explanations, write_report
from mhex_nlp.cli import main
from mhex_nlp.corpus.jsonl import read_jsonl

MUTATIONS = 6_000  # all of them
FIGURES = 25  # of so many explanations that are accepted, one is drawn as a figure
ABSURD = [
    *(None, True, False, 0, -1, 1, 2, 7, 10**9, 2**63, -(2**70), 10**400),
    *(0.5, -0.5, 1e308, -1e308, 3.4e38, 3.5e38, 5e-324, 1e39, -0.0),
    *("", " ", "x" * 5000, "\ud800", "\udc00", "\x00", "\u202e\x1b[31m", "mhex-explanation/99999999999", *DEEDS[:3]),
    *([], {}, [[]], [None], [1.0], [1e308, 1e308], {"a": 1}, {"a": None}, {"": 0.5}, ["", ""]),
]
# What no Python value stands for: written in place of a string that marks it.
LITERALS = [
    *("NaN", "-Infinity", "1e400", "-1e999", "9" * 5000, "0" * 3, "0x1", "'x'", "nul", "[1,]", '"\\ud83d\\ude00"'),
    *("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, '"\\u12"', '"\t"', "\ud83d", '"\ud83d\\ude00"'),
    *('{"a": 1, "a": 2}', '{"a": 0.5, "a": 0.5}', "//", "1 2", "}", "]"),
]
MARK = "to be replaced"


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with every key or index of it."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from places(value[key])


def spoil_document(document: dict[str, Any], draw: random.Random) -> None:
    """One change of a value, a key or an order."""
    container, key = draw.choice(list(places(document)))
    deed = draw.randrange(8)
    if deed < 3:
        container[key] = draw.choice(ABSURD)
    elif deed == 3:
        container[key] = MARK
    elif deed == 4:
        del container[key]
    elif deed == 5 and isinstance(container, list):
        container.insert(draw.randrange(len(container) + 1), container[key])
    elif deed == 5:
        container[draw.choice(["extra", "\n", "x" * 900, "schema", "__class__", "\ud800"])] = draw.choice(ABSURD)
    elif deed == 6 and isinstance(container, list):
        draw.shuffle(container)
    elif type(container[key]) in (int, float) and abs(container[key]) < 1e200:
        container[key] = draw.choice(
            [-container[key], container[key] + 1, container[key] * 1e38, float(container[key])]
        )
    else:
        other, source = draw.choice(list(places(document)))
        container[key] = json.loads(json.dumps(other[source]))


def spoil_text(text: str, draw: random.Random) -> str | bytes:
    """One change of what was written."""
    at = draw.randrange(len(text))
    deed = draw.randrange(14)
    if deed == 0:
        return text[:at]
    if deed == 1:
        return text[:at] + chr(draw.choice([0, 9, 10, 34, 44, 58, 92, 0xD800, 0xFEFF, 0x1F600])) + text[at:]
    if deed == 2:
        data = bytearray(text.encode(errors="replace"))
        data[at % len(data)] = draw.randrange(256)
        return bytes(data)
    if deed == 3:
        return text.encode(draw.choice(["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252"]), errors="replace")
    if deed == 4:
        key = draw.choice(["id", "schema", "tokens", "sum"])
        return text.replace("{", f'{{"{key}":{draw.choice(["1", "null", "[]"])},', 1)
    if deed == 5:
        return text + draw.choice([text, "]", " ", "\n\n", "\x00"])
    if deed == 6:
        return text[:at] + text[at + draw.randrange(1, 40) :]
    return text  # one change of the document is enough


def mutations(count: int, seed: int = 0) -> Iterator[str | bytes]:
    draw = random.Random(seed)
    documents = [json.dumps(make().to_dict()) for make in EXAMPLES.values()]
    for _ in range(count):
        document = json.loads(draw.choice(documents))
        for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
            if document:
                spoil_document(document, draw)
        text = json.dumps(document, ensure_ascii=draw.random() < 0.5)
        text = text.replace(f'"{MARK}"', draw.choice(LITERALS))
        yield spoil_text(text, draw)


def read(source: str | bytes) -> Explanation | str:
    """The explanation, or the sentence that refuses it; everything else is an error of the test."""
    try:
        return Explanation.from_json(source)
    except ValueError as error:
        sentence = str(error)
        assert 0 < len(sentence) < 500 and len(sentence.splitlines()) == 1, sentence[:2000]
        return sentence


def assert_works(explanation: Explanation, folder: Path, figure: bool) -> None:
    """All displays, all sums, and the same explanation from what it writes."""
    source = explanation.to_json()
    source.encode()
    again = Explanation.from_json(source)
    assert again == explanation and again.to_json() == source
    assert explanation.scores.shape == (len(explanation.tokens),)
    for unit in ("words", "tokens"):
        assert explanation.to_html(unit=unit).encode()
    assert explanation._repr_html_().encode() and explanation.to_latex().encode() and repr(explanation)
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        explanation.show()
    assert shown.getvalue().strip()
    assert len(explanation.top(3)) <= len(explanation.words()) and explanation.sentences() is not None
    assert 0 <= explanation.special_mass <= 1 and explanation.phrases() is not None
    compared = compare_explanations([explanation, again])
    assert compared.to_html().encode() and compared._repr_html_().encode()
    assert write_report([explanation], folder / "report").is_file()
    if figure:
        layers = bool(explanation.tokens and explanation.tokens[0].layers)
        explanation.to_figure(folder / "figure.svg", part="both" if layers else "text")


@pytest.mark.slow
def test_mutated_documents_end_in_a_sentence_or_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started, tried, accepted, at_command = time.perf_counter(), 0, 0, 0
    good = next(iter(EXAMPLES.values()))().to_json().encode()
    lines = tmp_path / "lines.jsonl"
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # an overflow in 32 bits
        for source in mutations(rounds(MUTATIONS)):
            tried += 1
            result = read(source)
            if isinstance(result, Explanation):
                accepted += 1
                assert_works(result, tmp_path, figure=accepted % FIGURES == 1)
                continue
            data = source if isinstance(source, bytes) else source.encode(errors="surrogatepass")
            if tried % 5 or not data.strip():
                continue
            # The same in the second line of a file: the sentence says where.
            lines.write_bytes(good + b"\n" + data)
            with pytest.raises(ValueError) as refused:
                list(read_jsonl(lines))
            assert str(refused.value).startswith(f"{lines}, line "), refused.value
            if tried % 50 == 0:
                at_command += 1
                assert main(["report", str(lines), "--output", str(tmp_path / f"pages{tried}")]) == 2
                output, errors = capsys.readouterr()
                assert not output and len(errors.splitlines()) == 1
                assert errors.startswith(f"mhex report: {lines}, line ")
    assert accepted > tried / 20, "most mutations are refused, but not nearly all"
    seconds = round(time.perf_counter() - started, 1)
    record("explanations in JSON", tried=tried, accepted=accepted, at_the_command=at_command, wrong=0, seconds=seconds)
