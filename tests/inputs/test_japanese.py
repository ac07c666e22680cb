# SPDX-License-Identifier: Apache-2.0
"""What the Japanese tokenizer refuses, long texts and two threads at once, must not reach a user."""

from __future__ import annotations

import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc

from mhex_nlp.inputs.segmentation import _SUDACHI_PART, _parts, _read, segment_sentences, segment_words

SENTENCE = "映画を見た。"


def sudachi() -> Any:
    """A pipeline as strict as Sudachi: one text at a time, of 65,535 bytes in NFKC."""
    xx, busy = spacy.blank("xx"), threading.Lock()

    def tokenizer(text: str) -> Doc:
        if not busy.acquire(blocking=False):
            raise RuntimeError("the tokenizer is in use")
        try:
            time.sleep(0.001)  # so that another thread has its chance
            assert len(unicodedata.normalize("NFKC", text).encode()) <= 65_535
            return xx.tokenizer(text)
        finally:
            busy.release()

    return SimpleNamespace(lang="ja", tokenizer=tokenizer)


def joined(tokens: list[tuple[str, bool]]) -> str:
    return "".join(word + " " * space for word, space in tokens)


@settings(max_examples=100, deadline=None)
@given(text=st.text("映画。！\n \u3000", max_size=40), size=st.integers(1, 9))
def test_parts_are_the_text(text: str, size: int) -> None:
    parts = list(_parts(text, size))
    assert "".join(parts) == text
    assert all(0 < len(part) <= size for part in parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("見た。行く。また 来た", ["見た。行く。", "また 来た"]),
        ("あ\nまた 来たよ", ["あ\n", "また 来たよ"]),
        ("また 来たよまた来た", ["また ", "来たよまた来", "た"]),
        ("", []),
    ],
)
def test_parts_end_with_a_sentence_or_else_with_a_word(text: str, parts: list[str]) -> None:
    assert list(_parts(text, 6)) == parts


@pytest.mark.parametrize("text", ["ﷺ" * 12_000, SENTENCE * 4_000, "a " * 20_000], ids=["grows", "sentences", "words"])
def test_long_japanese_is_read_in_parts(text: str) -> None:
    """U+FDFA, 33 bytes in NFKC, is the character that grows most."""
    assert joined(_read(sudachi(), text)) == text


def test_no_character_grows_more_than_the_parts_allow() -> None:
    grown = (unicodedata.normalize("NFKC", chr(code)) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert max(len(text.encode()) for text in grown) * _SUDACHI_PART <= 65_535


def test_threads_take_turns() -> None:
    pipeline, texts = sudachi(), [f"{number}{SENTENCE}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert [joined(tokens) for tokens in pool.map(lambda text: _read(pipeline, text), texts)] == texts


def test_japanese_of_any_length_by_sudachi() -> None:
    for package in ("sudachipy", "sudachidict_core"):
        pytest.importorskip(package, reason=f"{package} is not installed (the extra cjk)")
    words = [SENTENCE[start:end] for start, end in segment_words(SENTENCE, "ja")]
    assert words == ["映画", "を", "見", "た", "。"]
    text = SENTENCE * 4_000
    assert [text[start:end] for start, end in segment_words(text, "ja")] == words * 4_000
    assert [text[start:end] for start, end in segment_sentences(text, "ja")] == [SENTENCE] * 4_000
    texts = [SENTENCE * count for count in range(1, 30)]
    with ThreadPoolExecutor(8) as pool:
        counts = [len(spans) for spans in pool.map(lambda text: segment_words(text, "ja"), texts)]
    assert counts == [5 * count for count in range(1, 30)]
