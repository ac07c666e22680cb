# SPDX-License-Identifier: Apache-2.0
"""Alignment and segmentation on tokenizers built here; byte-level ones are checked against the bytes."""

from __future__ import annotations

import io
import re
import string
import unicodedata
from functools import cache

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from mhex_nlp.inputs.alignment import AlignedToken, _needs_no_mending, align, mend_offsets
from mhex_nlp.inputs.segmentation import _WORD, assign_to_spans, segment_sentences, segment_words

ENGLISH = "the cat can't be thinner, don't you think? hello there a café"


def wordpiece(lowercase: bool) -> Tokenizer:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZßİéàשלום你好东กทย0123456789"
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "the",
        "cat",
        "caf",
        "##fe",
        "don",
        *letters,
        ".",
        ",",
        "'",
        "[",
        "]",
    ]
    pieces += ["##" + letter for letter in letters]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


def byte_level(prefix: bool, trim: bool, compose: bool = False) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        ("t", "h"),
        ("th", "e"),
        ("Ġ", "the"),
        ("Ġ", "c"),
        ("a", "t"),
        ("Ġc", "at"),
        ("Ġ", "Ġ"),
        ("h", "e"),
    ]
    merges += [("ð", "Ł"), ("Ġ", "ðŁ"), ("å", "¥"), ("å¥", "½"), ("å¥½", "å¥½"), ("½", "å")]
    pieces = ["<s>", "<pad>", "</s>", "<mask>", *alphabet, *(a + b for a, b in merges)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    if compose:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim, add_prefix_space=prefix
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", AddedToken("<mask>", lstrip=True)])
    return tokenizer


def unigram(scheme: str = "always") -> Tokenizer:
    letters = "▁abcdefghijklmnopqrstuvwxyzßé1234567890你好한ガア'.,⁄"
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(letter, -5.0) for letter in letters] + [
        ("▁the", -2.0),
        ("▁cat", -2.0),
        ("1⁄2", -2.0),
        ("in", -3.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[\n\r\t]"), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def byte_fallback(legacy: bool) -> Tokenizer:
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "▁"), ("a", "t"), ("▁", "c"), ("▁c", "at")]
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *"▁abcdefghijklmnopqrstuvwxyz",
    ]
    pieces += [a + b for a, b in merges]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


BUILDERS = {
    "wordpiece cased": lambda: wordpiece(False),
    "wordpiece uncased": lambda: wordpiece(True),
    "bytes": lambda: byte_level(prefix=False, trim=True),
    "bytes untrimmed": lambda: byte_level(prefix=False, trim=False),
    "bytes prefix": lambda: byte_level(prefix=True, trim=True),
    "bytes prefix untrimmed": lambda: byte_level(prefix=True, trim=False),
    "bytes composed": lambda: byte_level(prefix=False, trim=True, compose=True),
    "unigram": unigram,
    "unigram first": lambda: unigram("first"),
    "fallback legacy": lambda: byte_fallback(True),
    "fallback": lambda: byte_fallback(False),
}
BYTE_KEEPING = [name for name in BUILDERS if name.startswith(("bytes", "fallback")) and "composed" not in name]
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


@cache
def build(name: str) -> Tokenizer:
    return BUILDERS[name]()


def content(name: str, text: str) -> list[AlignedToken]:
    return [token for token in align(build(name).encode(text), text) if not token.special]


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
        elif found := re.fullmatch(r"<0x(..)>", piece):
            data = bytes([int(found[1], 16)])
        elif name.startswith("fallback"):
            data = piece.replace("▁", " ").encode()
        else:
            data = bytes(_gpt2_alphabet().index(char) for char in piece)
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


@cache
def _gpt2_alphabet() -> list[str]:
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    extra = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(extra)) for byte in range(256)]


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


RANDOM = st.text(
    st.one_of(
        st.sampled_from("the catdo'n .\n\t\u00a0\u3000好ßİé½ﬁ\u0301\u0323\u200b\u200d👍🏽❤️กำשָ한ｶﾞﷺ¨Ġ▁"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(list(BUILDERS)), text=RANDOM, pair=st.none() | RANDOM)
def test_every_token_has_a_place_and_a_word(name: str, text: str, pair: str | None) -> None:
    encoding = build(name).encode(text) if pair is None else build(name).encode(text, pair)
    tokens = align(encoding, text, pair)
    assert [token.piece for token in tokens] == encoding.tokens
    first = len(segment_words(text)) or int(any(token.sequence == 0 for token in tokens))
    for sequence, source in enumerate([text] if pair is None else [text, pair]):
        own = [token for token in tokens if token.sequence == sequence]
        starts = [token.start for token in own]
        assert starts == sorted(starts)
        assert all(0 <= t.start <= t.end <= len(source) and t.text == source[t.start : t.end] for t in own)
        words = segment_words(source) or [(0, 0)]
        for token in own:
            place = words[token.word - first * sequence]
            solid = token.end - len(token.text.lstrip())
            assert not token.text.strip() or place[0] <= solid < place[1] or source[solid].isspace()


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
    own = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
    mended = mend_offsets(text, [encoding.tokens[i] for i in own], [encoding.offsets[i] for i in own])
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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(["wordpiece cased", "unigram", "bytes composed"]), text=RANDOM)
def test_visible_characters_are_covered(name: str, text: str) -> None:
    text = unicodedata.normalize("NFC", text)  # marks that normalising moves have no place of their own
    covered = {at for token in content(name, text) for at in range(token.start or 0, token.end or 0)}
    for at, char in enumerate(text):
        if unicodedata.category(char)[0] in "LNPS" and char not in "\ufffd▁Ġ":
            assert at in covered, (char, text)


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
