# SPDX-License-Identifier: Apache-2.0
"""Tokens in their places, on tokenizers built by hand; byte-level ones are checked against the bytes."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from helpers.golden_tokenizers import gpt2_alphabet
from helpers.made_tokenizers import BUILDERS, BYTE_KEEPING, ENGLISH, RANDOM, build, content, unigram, wordpiece
from mhex_nlp.inputs.alignment import align
from mhex_nlp.inputs.segmentation import segment_words

HARD = [
    "the cat",
    "  the  cat ",
    "the\tcat\r\nthe\n",
    "👩‍👩‍👧the",
    "the 👍🏽 ❤️ 🇩🇪",
    "好好 the 好",
    "e\u0301a cafe\u0301",
    "น้ำไทย",
    "مرحبا بالعالم",
    "שָׁלוֹם",
    "straße İstanbul",
    "ﬁne ½ ﬀ",
    "a\u200bb\u200d c\ufeff",
    "don't </s> the <s>the [SEP] x",
    "\x00a\ufffd",
    "a\u3000b\u00a0c",
    "   ",
    "Ġthe ▁the",
    "<mask> the <mask>",
]


def places(name: str, text: str) -> list[tuple[str, int | None, int | None]]:
    return [(token.piece, token.start, token.end) for token in content(name, text)]


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end].strip()
    if inner:
        start += len(text[start:end]) - len(text[start:end].lstrip())
        end = start + len(inner)
    return start, end


def spans_by_bytes(name: str, text: str) -> list[tuple[int, int]]:
    """I5 from its definition: walk through the source's bytes piece by piece, note the code points."""
    owners = [number for number, char in enumerate(text) for _ in char.encode()]
    source, at, spans, section_starts = text.encode(), 0, [], True
    for piece in [token.piece for token in content(name, text)]:
        if special := piece.strip() in ("<s>", "</s>", "<mask>"):
            data = piece.encode()
        elif match := re.fullmatch(r"<0x(..)>", piece):
            data = bytes([int(match[1], 16)])
        elif name.startswith("fallback"):
            data = piece.replace("▁", " ").encode()
        else:
            data = bytes(gpt2_alphabet()[char] for char in piece)
        inserted = {
            "bytes prefix": not source.startswith(b" ", at),
            "bytes prefix untrimmed": not source.startswith(b" ", at),
            "fallback legacy": True,
            "fallback": at == 0 and not source.startswith(b" "),
        }.get(name, False)
        if inserted and section_starts and not special:
            assert data.startswith(b" ")
            data = data[1:]
        section_starts = special
        assert source.startswith(data, at), (piece, source[at:])
        touched = owners[at : at + len(data)]
        if touched:
            spans.append(trimmed(text, touched[0], touched[-1] + 1))
        else:
            here = [*owners, len(text)][at]
            spans.append((here, here))
        at += len(data)
    assert at == len(source)
    return spans


@pytest.mark.parametrize("name", BYTE_KEEPING)
@pytest.mark.parametrize("text", HARD)
def test_spans_hold_exactly_the_bytes_of_their_tokens(name: str, text: str) -> None:
    if name.startswith("fallback") and "▁" in text:
        pytest.skip("a literal ▁ cannot be told from a space in these pieces")
    tokens = content(name, text)
    assert [(token.start, token.end) for token in tokens] == spans_by_bytes(name, text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(BYTE_KEEPING),
    text=st.text(st.one_of(st.sampled_from("the cat \n\t好👍e\u0301ß"), st.characters(exclude_categories=["Cs"]))),
)
@example(name="bytes prefix", text="the<s>the</s>👍")
@example(name="bytes prefix", text="<s>\n")
def test_spans_hold_exactly_the_bytes_of_their_tokens_on_random_text(name: str, text: str) -> None:
    if "▁" in text:
        return
    tokens = content(name, text)
    assert [(token.start, token.end) for token in tokens] == spans_by_bytes(name, text)


GOLDEN: dict[tuple[str, str], list[tuple[str, int, int]]] = {
    ("wordpiece uncased", "The café"): [("the", 0, 3), ("caf", 4, 7), ("##e", 7, 8)],
    ("wordpiece uncased", "cafe\u0301 İs"): [("caf", 0, 3), ("##e", 3, 4), ("i", 6, 7), ("##s", 7, 8)],
    ("wordpiece cased", "ßİ好好"): [("ß", 0, 1), ("##İ", 1, 2), ("好", 2, 3), ("好", 3, 4)],
    ("wordpiece cased", "a\u200bb  👍"): [("a", 0, 1), ("##b", 2, 3), ("[UNK]", 5, 6)],
    ("wordpiece uncased", "שָׁל"): [("ש", 0, 1), ("##ל", 3, 4)],
    ("bytes", "a 👍"): [("a", 0, 1), ("ĠðŁ", 2, 3), ("ĳ", 2, 3), ("į", 2, 3)],
    ("bytes prefix", "  the"): [("Ġ", 0, 1), ("Ġthe", 2, 5)],
    ("bytes prefix", "好"): [("Ġ", 0, 0), ("å¥½", 0, 1)],
    ("bytes prefix", "a<s>the"): [("Ġ", 0, 0), ("a", 0, 1), ("<s>", 1, 4), ("Ġthe", 4, 7)],
    ("bytes composed", "e\u0301a"): [("Ã", 0, 2), ("©", 0, 2), ("a", 2, 3)],
    ("bytes composed", "\u1112\u1161\u11ab!"): [("í", 0, 3), ("ķ", 0, 3), ("ľ", 0, 3), ("!", 3, 4)],
    ("unigram", "  the  cat "): [("▁the", 2, 5), ("▁cat", 7, 10), ("▁", 10, 11)],
    ("unigram", "ﬁn ½"): [
        ("▁", 0, 0),
        ("f", 0, 1),
        ("in", 0, 2),
        ("▁", 2, 3),
        ("1⁄2", 3, 4),
    ],
    ("unigram", "e\u0301 你"): [("▁", 0, 0), ("é", 0, 2), ("▁", 2, 3), ("你", 3, 4)],
    ("unigram", "\u1112\u1161\u11ab"): [("▁", 0, 0), ("한", 0, 3)],
    ("unigram", "ｶﾞ"): [("▁", 0, 0), ("ガ", 0, 2)],
    ("unigram", "a</s> the"): [("▁", 0, 0), ("a", 0, 1), ("</s>", 1, 5), ("▁the", 6, 9)],
    ("fallback legacy", "é"): [("▁", 0, 0), ("<0xC3>", 0, 1), ("<0xA9>", 0, 1)],
    ("fallback legacy", "  the"): [("▁▁", 0, 1), ("▁the", 2, 5)],
    ("fallback legacy", "   "): [("▁▁", 0, 1), ("▁▁", 1, 3)],
    ("fallback", "\nat"): [("▁", 0, 0), ("<0x0A>", 0, 1), ("at", 1, 3)],
}


@pytest.mark.parametrize(("name", "text"), GOLDEN)
def test_golden_offsets(name: str, text: str) -> None:
    assert places(name, text) == GOLDEN[name, text]


def test_offsets_after_a_sentencepiece_normaliser() -> None:
    """XLM-R, T5 and DeBERTa-v3 normalise with a compiled map from a SentencePiece model."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2

    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([ENGLISH] * 3),
        model_writer=stream,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        normalization_rule_name="nmt_nfkc",
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(stream.getvalue())
    tokenizer = unigram()
    tokenizer.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)

    def spans(text: str) -> list[tuple[str, int | None, int | None]]:
        return [(t.piece, t.start, t.end) for t in align(tokenizer.encode(text), text) if not t.special]

    assert spans("e\u0301a ﬁn") == [
        ("▁", 0, 0),
        ("é", 0, 2),
        ("a", 2, 3),
        ("▁", 3, 4),
        ("f", 4, 5),
        ("in", 4, 6),
    ]
    assert spans("a\u200bb") == [("▁", 0, 0), ("a", 0, 1), ("▁", 1, 2), ("b", 2, 3)]


@pytest.mark.parametrize("name", BUILDERS)
def test_only_the_template_is_special(name: str) -> None:
    text = "the [SEP] </s><s> cat"
    tokens = align(build(name).encode(text), text)
    template = 1 if name.startswith("fallback") else 2
    assert [token.special for token in tokens].count(True) == template
    assert tokens[0].special and tokens[0].text == "" and tokens[0].word is None and tokens[0].start is None
    typed = [token for token in tokens if token.piece in ("[SEP]", "</s>", "<s>") and not token.special]
    assert typed and all(token.text == token.piece for token in typed)


@pytest.mark.parametrize("name", BUILDERS)
def test_words_count_on_into_the_pair_and_never_merge(name: str) -> None:
    text, pair = "the cat", "cat 好"
    tokens = align(build(name).encode(text, pair), text, pair)
    words = {token.word: (token.sequence, token.text.strip()) for token in tokens if token.text.strip()}
    assert {word: sequence for word, (sequence, _) in words.items()} == {0: 0, 1: 0, 2: 1, 3: 1}
    for token in tokens:
        if not token.special:
            assert token.text == (text, pair)[token.sequence or 0][token.start : token.end]


def test_padding_is_left_out_and_truncation_keeps_places() -> None:
    tokenizer = wordpiece(True)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    tokens = align(tokenizer.encode("the cat the"), "the cat the")
    assert [token.piece for token in tokens] == ["[CLS]", "the", "cat", "[SEP]"]
    tokenizer.enable_padding(length=9, direction="left")
    assert align(tokenizer.encode("the cat the"), "the cat the") == tokens


def test_what_is_not_an_encoding_of_these_texts_is_refused() -> None:
    encoding = build("wordpiece cased").encode("the cat", "the")
    with pytest.raises(ValueError, match="text_pair is None"):
        align(encoding, "the cat")
    with pytest.raises(ValueError, match="another text"):
        align(encoding, "the", "the")
    with pytest.raises(TypeError, match="fast tokenizer, got list"):
        align([1, 2], "the")  # type: ignore[arg-type]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(list(BUILDERS)), text=RANDOM, pair=st.none() | RANDOM)
def test_every_token_has_a_place_and_a_word(name: str, text: str, pair: str | None) -> None:
    encoding = build(name).encode(text) if pair is None else build(name).encode(text, pair)
    tokens = align(encoding, text, pair)
    assert [token.piece for token in tokens] == encoding.tokens
    first = len(segment_words(text)) or int(any(token.sequence == 0 for token in tokens))
    for sequence, source in enumerate([text] if pair is None else [text, pair]):
        half = [token for token in tokens if token.sequence == sequence]
        starts = [token.start for token in half]
        assert starts == sorted(starts)
        assert all(0 <= t.start <= t.end <= len(source) and t.text == source[t.start : t.end] for t in half)
        words = segment_words(source) or [(0, 0)]
        for token in half:
            start, end = words[token.word - first * sequence]
            solid = token.end - len(token.text.lstrip())
            assert not token.text.strip() or start <= solid < end or source[solid].isspace()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(["wordpiece cased", "unigram", "bytes composed"]), text=RANDOM)
def test_visible_characters_are_covered(name: str, text: str) -> None:
    text = unicodedata.normalize("NFC", text)  # marks that normalising moves have no place of their own
    covered = {at for token in content(name, text) for at in range(token.start or 0, token.end or 0)}
    for at, char in enumerate(text):
        if unicodedata.category(char)[0] in "LNPS" and char not in "\ufffd▁Ġ":
            assert at in covered, (char, text)
