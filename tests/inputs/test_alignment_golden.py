# SPDX-License-Identifier: Apache-2.0
"""Offsets of trained tokenizers of every usual kind, on texts that are hard to place tokens in.

`golden_offsets.json` holds them; they are not taken on trust: `golden_tokenizers.spans` finds each place again without
the tokenizer's own offsets. `PYTHONPATH=tests python tests/inputs/test_alignment_golden.py` writes the file anew.
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers.golden_tokenizers import KINDS, TEXTS, build, read, spans
from mhex_nlp.inputs.alignment import AlignedToken, align
from mhex_nlp.inputs.segmentation import segment_words
from mhex_nlp.render.highlight import find_units

GOLDEN = Path(__file__).with_name("golden_offsets.json")


@cache
def tokens_of(name: str, text: str) -> tuple[AlignedToken, ...]:
    return tuple(align(build(name).encode(text), text))


def places(name: str, text: str) -> str:
    return " ".join(f"{token.start}-{token.end}" for token in tokens_of(name, text))


def hides_a_mark(name: str, text: str, token: AlignedToken, expected: tuple[int, int]) -> bool:
    """The one thing known to be missing: marks composed into the last letter of a piece that is not its text."""
    tail = unicodedata.normalize("NFKD", text[token.end : expected[1]])
    marks = bool(tail) and all(unicodedata.category(char)[0] == "M" for char in tail)
    composes = any(step in ("NFC", "NFKC") for step in KINDS[name].normalise)
    return token.piece == "[UNK]" and token.start == expected[0] and marks and composes


@pytest.mark.parametrize("name", KINDS)
def test_golden_offsets(name: str) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))[name]
    assert {key: places(name, text) for key, text in TEXTS.items()} == golden


def check(name: str, text: str) -> None:
    tokens = tokens_of(name, text)
    low = 0
    for token, expected in zip(tokens, spans(name, text, [token.piece for token in tokens]), strict=True):
        assert low <= token.start <= token.end <= len(text), (text, token)
        low = token.start
        if expected is None:
            assert token.start == token.end, (text, token)
        elif not hides_a_mark(name, text, token, expected):
            assert (token.start, token.end) == expected, (text, token)
        assert token.text == text[token.start : token.end]
        assert token.text == token.text.strip() or token.text.isspace()


@pytest.mark.parametrize("name", KINDS)
def test_each_token_is_where_the_text_it_was_made_of_is(name: str) -> None:
    for text in TEXTS.values():
        check(name, text)


@example(name="Unigram, NFKC", text="ﷺ")  # its own spaces are not the one put before it
@example(name="Unigram", text="¨\u11ab")
@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(list(KINDS)),
    text=st.text("the catSß\t\n\u3000é好ไも👍🏽🇩🇪ğİ\u0301\u0308\u200d\u1112\u1161\u11abｶﾞ½ﷺ.'", max_size=25),
)
def test_each_token_is_where_its_text_is_on_random_texts(name: str, text: str) -> None:
    check(name, text)


@pytest.mark.parametrize("name", KINDS)
def test_every_visible_character_that_was_not_dropped_is_covered(name: str) -> None:
    for text in TEXTS.values():
        tokens = tokens_of(name, text)
        covered = {at for token in tokens for at in range(token.start, token.end)}
        unknown = {token.end for token in tokens if token.piece == "[UNK]"}
        for char, start, end in read(name, text):
            if not char.isspace() and not unknown & set(range(start, end)):
                assert set(range(start, end)) <= covered, (text, char, start)


def seen(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without what nobody sees at its edges, which some normalisers drop: controls, joiners, U+FFFD."""
    at = [i for i in range(start, end) if unicodedata.category(text[i]) not in ("Cc", "Cf") and text[i] != "\ufffd"]
    return (at[0], at[-1] + 1) if at else None


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_words_are_the_same_for_all_tokenizers(text: str) -> None:
    words = segment_words(text)
    for name in KINDS:
        tokens = tokens_of(name, text)
        crossing = {
            number
            for number, (start, end) in enumerate(words)
            for token in tokens
            if token.start < start < token.end or token.start < end < token.end
        }
        fields = ("special", "start", "end", "sequence", "word")
        plain = [{field: getattr(token, field) for field in fields} for token in tokens]
        units = find_units({"text": text, "text_pair": None, "tokens": plain})
        drawn = {seen(text, unit.start, unit.end): {tokens[i].word for i in unit.tokens} for unit in units}
        for number, (start, end) in enumerate(words):
            if number not in crossing and (place := seen(text, start, end)):
                assert number in drawn.get(place, ()), (name, text[start:end], drawn)
        merged = {word for owners in drawn.values() if len(owners) > 1 for word in owners}
        assert all({number, number - 1, number + 1} & crossing for number in merged), (name, drawn)


def test_two_flags_are_two_words() -> None:
    text = "🇩🇪🇫🇷"
    tokens = [{"special": False, "start": at, "end": at + 1, "sequence": 0, "word": at // 2} for at in range(len(text))]
    for kind in ("words", "tokens"):
        units = find_units({"text": text, "text_pair": None, "tokens": tokens}, kind)
        assert [(unit.start, unit.end) for unit in units] == [(0, 2), (2, 4)]


def test_an_unknown_piece_keeps_the_hangul_it_was_composed_of() -> None:
    text = "\u1112\u1161\u11ab"
    assert [(token.piece, token.start, token.end) for token in tokens_of("word level", text)] == [("[UNK]", 0, 3)]


if __name__ == "__main__":
    rows = {name: {key: places(name, text) for key, text in TEXTS.items()} for name in KINDS}
    GOLDEN.write_text(json.dumps(rows, ensure_ascii=False, indent=0) + "\n", "utf-8")
