# SPDX-License-Identifier: Apache-2.0
"""Offsets that a tokenizer reports wrongly are mended; those that are right are left alone, and known to be right."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers.made_tokenizers import BUILDERS, ENGLISH, build, content
from mhex_nlp.inputs.alignment import _needs_no_mending, mend_offsets

ASCII = st.text(
    st.sampled_from("the cat don's\n\t .,[]#<>0x/w\x00\x1c") | st.characters(max_codepoint=0x7F), max_size=30
)


@settings(max_examples=250, deadline=None)
@given(name=st.sampled_from(list(BUILDERS)), text=ASCII)
@example(name="wordpiece cased", text=ENGLISH[:-5])
@example(name="wordpiece uncased", text="The [SEP]\x1ccat")
@example(name="fallback", text="\n")
def test_ascii_tokens_are_where_mending_puts_them(name: str, text: str) -> None:
    encoding = build(name).encode(text)
    indices = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
    mended = mend_offsets(text, [encoding.tokens[i] for i in indices], [encoding.offsets[i] for i in indices])
    assert [(token.start, token.end) for token in content(name, text)] == mended


def test_plain_english_needs_no_mending() -> None:
    encoding = build("wordpiece uncased").encode("The cat can't be thinner, [SEP]?", add_special_tokens=False)
    assert _needs_no_mending("The cat can't be thinner, [SEP]?", encoding.tokens, encoding.offsets)


@pytest.mark.parametrize(
    ("text", "pieces", "offsets"),
    [
        ("ab", [" ", "a"], [(0, 1), (0, 1)]),
        ("ab", ["▁", "a"], [(0, 1), (0, 1)]),
        ("ab", ["Ġ", "a"], [(0, 1), (0, 1)]),
        ("ab", ["<0x20>", "a"], [(0, 1), (0, 1)]),
        ("ab", ["a\n", "b"], [(1, 1), (1, 2)]),
        ("a b", ["a", "b"], [(0, 2), (2, 3)]),
        ("a\x1cb", ["a", "b"], [(0, 1), (1, 3)]),
        ("ab", ["b", "a"], [(1, 2), (0, 1)]),
        ("ab", ["a", "b"], [(1, 0), (1, 2)]),
        ("ab", ["ab"], [(0, 5)]),
        ("e\u0301", ["é"], [(0, 1)]),
    ],
)
def test_what_mending_changes_needs_it(text: str, pieces: list[str], offsets: list[tuple[int, int]]) -> None:
    assert mend_offsets(text, pieces, offsets) != offsets
    assert not _needs_no_mending(text, pieces, offsets)


PIECES = st.sampled_from(["a", "##b", "ab", "[UNK]", "b</w>", "##", "", " ", "a ", "<0x20>", "<0x61>", "Ġ", "▁a", "é"])
PLACES = st.tuples(st.integers(0, 5), st.integers(0, 2)).map(lambda place: (place[0], sum(place)))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    text=st.text("ab \t\x1c\u0301é", max_size=6),
    tokens=st.lists(st.tuples(PLACES, PIECES), max_size=4)
    | st.lists(st.tuples(PLACES, PIECES), max_size=4).map(sorted),
)
def test_mending_leaves_what_needs_none(text: str, tokens: list[tuple[tuple[int, int], str]]) -> None:
    offsets, pieces = [place for place, _ in tokens], [piece for _, piece in tokens]
    if _needs_no_mending(text, pieces, offsets):
        assert mend_offsets(text, pieces, offsets) == offsets
