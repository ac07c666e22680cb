# SPDX-License-Identifier: Apache-2.0
"""Words and sentences of a text, by default and by language, and which of them own a token."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.made_tokenizers import RANDOM
from mhex_nlp.inputs import segmentation
from mhex_nlp.inputs.segmentation import _WORD, assign_to_spans, segment_sentences, segment_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't re-do it, 3.14!", "I|don't|re|-|do|it|,|3|.|14|!"),
        ("foo_bar l’eau 'so'", "foo|_|bar|l’eau|'|so|'"),
        ("👩‍👩‍👧👍🏽❤️ 🇩🇪🇫🇷1️⃣ 12", "👩‍👩‍👧|👍🏽|❤️|🇩🇪|🇫🇷|1️⃣|12"),
        ("e\u0301a cafe\u0301", "e\u0301a|cafe\u0301"),
        ("你好。東京タワー 한국어", "你|好|。|東|京|タ|ワ|ー|한국어"),
        ("น้ำไทย ก็", "น้ำ|ไ|ท|ย|ก็"),
        ("שָׁלוֹם צה״ל مرحبا", "שָׁלוֹם|צה״ל|مرحبا"),
        ("می\u200cخواهم a\u00adb", "می\u200cخواهم|a\u00adb"),
        ("a\u200bb\ufeff \ufeffc", "a\u200b|b\ufeff|\ufeffc"),
        ("ｶﾞｷ か\u3099", "ｶﾞ|ｷ|か\u3099"),
        ("①½ x²", "①½|x²"),
        ("\u0300 \ud800a", "\u0300|\ud800|a"),
        (" \n ", " \n "),
    ],
)
def test_words(text: str, words: str) -> None:
    assert [text[start:end] for start, end in segment_words(text)] == words.split("|")


SIMPLE = st.sampled_from("ab1''_-.") | st.sampled_from(string.printable)


@settings(max_examples=400, deadline=None)
@given(st.text(SIMPLE) | st.text(SIMPLE | st.sampled_from("\x00\x1c\x7f\x85\xa0é½’\u0301\u200d好")))
@example(string.printable)
@example("a''b 'c' d'e'f")
@example("a\x7fb")
def test_words_of_simple_texts_are_those_of_any_text(text: str) -> None:
    if text.strip():
        assert segment_words(text) == [match.span() for match in _WORD.finditer(text)]


def test_words_by_language() -> None:
    text = "I don't know.  OK\n"
    assert [text[start:end] for start, end in segment_words(text, "en")] == [
        "I",
        "do",
        "n't",
        "know",
        ".",
        "OK",
    ]
    assert segment_words("", "en") == [] == segment_words("")
    assert segment_words("\ud800 a", "en") == [(0, 1), (2, 3)]


@pytest.mark.parametrize("language", ["zz", "EN", "../x", "english", ""])
def test_an_unknown_language_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match="two or three lower-case letters"):
        segment_words("a", language)
    if language:
        with pytest.raises(ValueError, match="language"):
            segment_sentences("a", language)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It was thin. “Yes!” OK", ["It was thin.", "“Yes!”", "OK"]),
        ('Hola. ¿Qué? (No.) "Si"', ["Hola.", "¿Qué?", "(No.)", '"Si"']),
        ("  你好。世界！東京？ ", ["你好。", "世界！", "東京？"]),
        ("नमस्ते। हाँ।", ["नमस्ते।", "हाँ।"]),
        ("It costs 3.14 now. Well", ["It costs 3.14 now.", "Well"]),
        (" \n", [" \n"]),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in segment_sentences(text)] == sentences


@settings(max_examples=200, deadline=None)
@given(RANDOM)
def test_words_and_sentences_hold_every_visible_character_once(text: str) -> None:
    for spans in (segment_words(text), segment_sentences(text), segment_words(text, "en")):
        held = [at for start, end in spans for at in range(start, end)]
        assert len(held) == len(set(held)) and held == sorted(held)
        assert not text.strip() or {at for at, char in enumerate(text) if not char.isspace()} - set(held) == set()


@settings(max_examples=200, deadline=None)
@given(
    text=st.text("ab \n\x1c\u3000", min_size=1, max_size=12),
    tokens=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=5),
    starts=st.lists(st.integers(0, 12), min_size=1).map(sorted),
)
def test_the_first_visible_character_decides_the_owner(
    text: str, tokens: list[tuple[int, int]], starts: list[int]
) -> None:
    tokens = [(min(start, len(text)), min(end, len(text))) for start, end in tokens]
    owners = []
    for start, end in tokens:
        visible = [at for at in range(start, end) if not text[at].isspace()]
        before = [at <= visible[0] if visible else at < start for at in starts]
        owners.append(max(sum(before) - 1, 0))
    assert assign_to_spans(text, tokens, [(start, start) for start in starts]) == owners


def test_tokens_without_content_go_to_the_word_before_or_else_the_first() -> None:
    text, words = " the  cat", [(1, 4), (6, 9)]
    assert assign_to_spans(text, [(0, 1), (1, 4), (4, 6), (6, 6), (5, 9), (3, 8), (9, 9)], words) == [
        0,
        0,
        0,
        0,
        1,
        0,
        1,
    ]
    with pytest.raises(ValueError, match="spans is empty"):
        assign_to_spans(text, [(0, 1)], [])


def test_spacy_keeps_a_bounded_number_of_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    """spaCy keeps every word that it ever saw; words and sentences stay the same where a pipeline is made anew."""
    monkeypatch.setattr(segmentation, "_STRINGS", 500)
    monkeypatch.setattr(segmentation, "_PIPELINES", {})
    pipelines, first = set(), len(segmentation._pipeline("en").vocab.strings)
    for number in range(400):
        text = f"don't w{number}x{number} v{number}y, u{number}z. Then t{number}!"
        words = [text[start:end] for start, end in segment_words(text, "en")]
        assert words == [
            "do",
            "n't",
            f"w{number}x{number}",
            f"v{number}y",
            ",",
            f"u{number}z",
            ".",
            "Then",
            f"t{number}",
            "!",
        ]
        sentences = [text[start:end] for start, end in segment_sentences(text, "en")]
        assert sentences == [f"don't w{number}x{number} v{number}y, u{number}z.", f"Then t{number}!"]
        pipeline, most = segmentation._PIPELINES["en"]
        pipelines.add(id(pipeline))
        assert len(pipeline.vocab.strings) < most + 50 <= first + 600
    assert len(pipelines) > 2
