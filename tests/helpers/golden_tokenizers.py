# SPDX-License-Identifier: Apache-2.0
"""Tokenizers of every usual kind, trained here on a few lines, and what each reads of a text, found a second way.

`read` follows a normaliser by the Unicode tables of Python, one code point at a time, and so knows which code points
each character of a normalised text comes from: nothing of the `tokenizers` library's own offsets is in it.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import regex
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "the cat can't be thinner, don't you think? hello there, a café in Straße",
    "the actors play in the old theatre and the play is not bad at all, not at all",
    "東京は日本の首都です。好好学习 你好 한국어 영화는 좋다",
    "ภาพยนตร์ไทยดีมาก น้ำ ที่นี่",
    "مرحبا بالعالم السلام عليكم שלום עולם",
    "İstanbul ısı ﬁne ½ 🙂 👍🏽 🇩🇪 ❤️",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = {
    "family": "the 👩‍👩‍👧‍👦 cat",
    "flags": "🇩🇪🇫🇷 the 🇹🇭!",
    "skin tones": "👍🏽👍🏿 good 👩🏾‍🚀",
    "keycap and heart": "1️⃣ ❤️‍🔥 the",
    "stacked marks": "q\u0323\u0307 a\u0300\u0316 z\u0351\u036b\u0343ab",
    "Han and kana": "東京は日本の首都です。好",
    "half-width kana": "ｶﾞｷﾞ ﾊﾟ か\u3099",
    "Thai": "ภาพยนตร์ไทย น้ำดีมาก",
    "Arabic": "السَّلَامُ عليكم، ﷺ ١٢٣",
    "Hebrew": "שָׁלוֹם צה״ל",
    "German": "Straße STRAẞE über U\u0308ber",
    "Turkish": "İstanbul ısı I\u0307s",
    "ligatures": "ﬁne oﬀ ﬄ ǆ ĳ",
    "zero width": "a\u200bb \u200dc\u2060d e\ufeff",
    "byte order mark": "\ufeffthe cat",
    "tabs": "\tthe\t\tcat\t",
    "spaces": "   the   cat  ",
    "CRLF": "the\r\ncat\r\n\r\nplay\n",
    "wide spaces": "the\u00a0cat\u3000play\u2009a",
    "Hangul Jamo": "\u1112\u1161\u11ab\u1100\u116e\u11a8 영화\u1100\u1161",
    "decomposed": "cafe\u0301 e\u0301 a\u030angstro\u0308m",
    "many letters": "𝓽𝓱𝓮 𝕮𝖆𝖙 𐐷𐑊 𠜎𠜱",
    "soft hyphen": "thea\u00adtre pl\u00aday\u00ad the",
    "fractions and powers": "½ cup x² ⅷ ㎏ ①",
    "quotes": "“don’t”—'so' l’eau…",
    "Hindi": "फ़िल्म अच्छी है।",
    "controls": "the\x00cat \x07a\x7f \ufffd b",
    "sigma": "ΣΊΣΥΦΟΣ και",
}

Unit = tuple[str, int, int]  # a character of the normalised text, and the source's [start, end) that it stands for


@dataclass(frozen=True)
class Kind:
    """A tokenizer, and how the second way of reading goes about it."""

    train: Callable[[], Tokenizer]
    normalise: tuple[str, ...] = ()
    prefix: str = "never"  # where a space is put before the text: "never", "always", or "missing" (no space there yet)
    keeps_spaces: bool = False  # whether whitespace is in the pieces
    cut: str | None = None  # the words a piece never crosses, for models that write a whole word as [UNK]


def _train(tokenizer: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _train_in_order(tokenizer: Tokenizer, kind: type[trainers.Trainer], form: str, **options: str) -> Tokenizer:
    """Trained with the letters numbered in a fixed order, which decides between pairs that are equally frequent.

    Trainers number "##a" and "a</w>" in the order of a hash, so they get them as special tokens, and the tokenizer is
    freed from those afterwards.
    """
    letters = [form.format(char) for char in sorted({char for line in CORPUS for char in (line + line.lower())})]
    trainer = kind(vocab_size=330 + len(letters), special_tokens=SPECIAL + letters, show_progress=False, **options)
    trained = json.loads(_train(tokenizer, trainer).to_str())
    return Tokenizer.from_str(json.dumps({**trained, "added_tokens": []}))


def _wordpiece(bert: bool, lowercase: bool = False, chinese: bool = True, strip: bool | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    if bert:
        tokenizer.normalizer = normalizers.BertNormalizer(
            lowercase=lowercase, handle_chinese_chars=chinese, strip_accents=strip
        )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if bert else pre_tokenizers.Whitespace()
    return _train_in_order(tokenizer, trainers.WordPieceTrainer, "##{}")


def _bytes(prefix: bool, trim: bool = True, compose: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if compose:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim, add_prefix_space=prefix)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _train(
        tokenizer,
        trainers.BpeTrainer(vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )


def _unigram(scheme: str, normalizer: normalizers.Normalizer | None, split: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    return _train(
        tokenizer,
        trainers.UnigramTrainer(
            vocab_size=220, special_tokens=["<unk>"], unk_token="<unk>", max_piece_length=8, show_progress=False
        ),
    )


def _fallback(legacy: bool) -> Tokenizer:
    """Llama's two ways; the trainer knows no byte fallback, so its merges are put into a model that does."""
    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    raw.train_from_iterator(
        [" " + line for line in CORPUS[:3]], trainers.BpeTrainer(vocab_size=200, show_progress=False)
    )
    learned = json.loads(raw.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learned["merges"]]
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.ByteFallback()
    return tokenizer


def _characters() -> Tokenizer:
    """BPE over characters, words closed by "</w>", as in GPT-1 and CLIP."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _train_in_order(tokenizer, trainers.BpeTrainer, "{}</w>", end_of_word_suffix="</w>")


def _words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _train(tokenizer, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))


def _albert() -> Tokenizer:
    steps = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    return _unigram("always", normalizers.Sequence(steps))


def _sentencepiece() -> Tokenizer:
    steps = [normalizers.Replace(Regex(r"[\n\r\t]"), " "), normalizers.NFKC()]
    return _unigram("always", normalizers.Sequence(steps))


_BERT_WORDS = "bert"
_CLASSES = "classes"
KINDS = {
    "WordPiece plain": Kind(lambda: _wordpiece(False), cut=_CLASSES),
    "WordPiece cased": Kind(lambda: _wordpiece(True), ("clean", "chinese"), cut=_BERT_WORDS),
    "WordPiece uncased": Kind(
        lambda: _wordpiece(True, True), ("clean", "chinese", "NFD", "strip", "lower"), cut=_BERT_WORDS
    ),
    "WordPiece lower, accents kept": Kind(
        lambda: _wordpiece(True, True, chinese=False, strip=False), ("clean", "lower"), cut=_BERT_WORDS
    ),
    "bytes": Kind(lambda: _bytes(False), keeps_spaces=True),
    "bytes, prefix": Kind(lambda: _bytes(True), prefix="missing", keeps_spaces=True),
    "bytes, prefix, untrimmed": Kind(lambda: _bytes(True, trim=False), prefix="missing", keeps_spaces=True),
    "bytes, composed": Kind(lambda: _bytes(False, compose=True), ("NFC",), keeps_spaces=True),
    "Unigram": Kind(lambda: _unigram("always", None), prefix="missing", keeps_spaces=True),
    "Unigram, no prefix": Kind(lambda: _unigram("never", None), keeps_spaces=True),
    "Unigram, NFKC": Kind(_sentencepiece, ("spaces", "NFKC"), prefix="missing", keeps_spaces=True),
    "Unigram, bare letters": Kind(_albert, ("NFKD", "strip all", "lower"), prefix="missing", keeps_spaces=True),
    "byte fallback, legacy": Kind(lambda: _fallback(True), prefix="always", keeps_spaces=True),
    "byte fallback": Kind(lambda: _fallback(False), prefix="missing", keeps_spaces=True),
    "characters": Kind(_characters, ("NFC", "lower"), cut=_BERT_WORDS),
    "word level": Kind(_words, ("NFKC",), cut=_CLASSES),
}


@cache
def build(name: str) -> Tokenizer:
    return KINDS[name].train()


def read(name: str, text: str) -> list[Unit]:
    """The characters that the normaliser of the tokenizer `name` makes of `text`, in their order."""
    units = [(char, at, at + 1) for at, char in enumerate(text)]
    for step in KINDS[name].normalise:
        units = _STEPS[step](units)
    return units


def _clean(units: list[Unit]) -> list[Unit]:
    kept = [
        unit
        for unit in units
        if unit[0] not in "\x00\ufffd" and (unit[0] in "\t\n\r" or unicodedata.category(unit[0])[0] != "C")
    ]
    return [(" " if char.isspace() else char, start, end) for char, start, end in kept]


def _mapped(change: Callable[[str], str]) -> Callable[[list[Unit]], list[Unit]]:
    return lambda units: [(made, start, end) for char, start, end in units for made in change(char)]


def _form(form: str) -> Callable[[list[Unit]], list[Unit]]:
    """A normal form with the places of its characters: decompose, sort the marks, and compose again."""
    apart = "NFKD" if "K" in form else "NFD"

    def normalised(units: list[Unit]) -> list[Unit]:
        parts = [(made, start, end) for char, start, end in units for made in unicodedata.normalize(apart, char)]
        order: list[Unit] = []
        marks: list[Unit] = []
        for part in [*parts, ("", 0, 0)]:
            if part[0] and unicodedata.combining(part[0]):
                marks.append(part)
                continue
            order += [*sorted(marks, key=lambda mark: unicodedata.combining(mark[0])), part]
            marks = []
        order.pop()
        if form.endswith("D"):
            return order
        made, used = [], [False] * len(order)
        for char in unicodedata.normalize(form, "".join(part[0] for part in order)):
            sources = []
            for letter in unicodedata.normalize("NFD", char):
                at = next(i for i, part in enumerate(order) if not used[i] and part[0] == letter)
                used[at] = True
                sources.append(order[at])
            made.append((char, min(part[1] for part in sources), max(part[2] for part in sources)))
        return made

    return normalised


_STEPS: dict[str, Callable[[list[Unit]], list[Unit]]] = {
    "clean": _clean,
    "chinese": lambda units: [
        unit
        for char, start, end in units
        for unit in (
            [(" ", start, start), (char, start, end), (" ", end, end)] if is_chinese(char) else [(char, start, end)]
        )
    ],
    "lower": _mapped(str.lower),
    "strip": lambda units: [unit for unit in units if unicodedata.category(unit[0]) != "Mn"],
    "strip all": lambda units: [unit for unit in units if unicodedata.category(unit[0])[0] != "M"],
    "spaces": _mapped(lambda char: " " if char in "\n\r\t" else char),
    **{form: _form(form) for form in ("NFC", "NFD", "NFKC", "NFKD")},
}


def is_chinese(char: str) -> bool:
    """Whether BERT sets `char` apart: Han, not kana."""
    return bool(re.match("[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f]", char))


def spans(name: str, text: str, pieces: list[str]) -> list[tuple[int, int] | None]:
    """The place of each piece by I5: the smallest run of whole code points that holds what it covers.

    None where it covers nothing of the text. White space at the edges is taken off, as `align` promises.
    """
    kind = KINDS[name]
    units = read(name, text)
    if (kind.prefix == "always" and units) or (kind.prefix == "missing" and units and units[0][0] != " "):
        units = [(" ", 0, 0), *units]
    covered = _walk_words(kind, units, pieces) if kind.cut else _walk_bytes(name, units, pieces)
    places = []
    for piece_units in covered:
        solid = [(start, end) for _, start, end in piece_units if start < end]
        if not solid:
            places.append(None)
            continue
        start, end = min(start for start, _ in solid), max(end for _, end in solid)
        if text[start:end].strip():
            while text[start].isspace():
                start += 1
            while text[end - 1].isspace():
                end -= 1
        places.append((start, end))
    return places


def _walk_bytes(name: str, units: list[Unit], pieces: list[str]) -> list[list[Unit]]:
    owners = [unit for unit in units for _ in unit[0].encode()]
    source, at, covered = "".join(unit[0] for unit in units).encode(), 0, []
    for piece in pieces:
        if name.startswith("bytes"):
            data = bytes(gpt2_alphabet()[char] for char in piece)
        elif match := re.fullmatch(r"<0x(..)>", piece):
            data = bytes([int(match[1], 16)])
        else:
            data = piece.replace("▁", " ").encode()
        assert source.startswith(data, at), (name, piece, source[at:])
        covered.append(owners[at : at + len(data)])
        at += len(data)
    assert at == len(source)
    return covered


@cache
def gpt2_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level piece stands for."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    extra = iter(range(256, 512))
    return {chr(byte) if byte in shown else chr(next(extra)): byte for byte in range(256)}


def _walk_words(kind: Kind, units: list[Unit], pieces: list[str]) -> list[list[Unit]]:
    remaining, covered = iter(pieces), []
    for start, end in _cut(kind, "".join(unit[0] for unit in units)):
        at = start
        while at < end:
            piece = next(remaining)
            if piece == "[UNK]":
                size = 1 if kind is KINDS["characters"] else end - start
                assert size == 1 or at == start
            else:
                letters = piece.removeprefix("##") if at > start else piece
                letters = letters.removesuffix("</w>")
                size = len(letters)
                assert [unit[0] for unit in units[at : at + size]] == list(letters), (piece, units[at:])
            covered.append(units[at : at + size])
            at += size
        assert at == end
    assert next(remaining, None) is None
    return covered


def _cut(kind: Kind, text: str) -> list[tuple[int, int]]:
    """BERT's words (runs without white space, punctuation apart), or runs of \\w and runs of neither."""
    if kind.cut == _CLASSES:
        return [match.span() for match in regex.finditer(r"\w+|[^\w\s]+", text)]
    words, start = [], 0
    for at, char in enumerate([*text, " "]):
        if char.isspace() or char in string.punctuation or unicodedata.category(char)[0] == "P":
            if start < at:
                words.append((start, at))
            if not char.isspace():
                words.append((at, at + 1))
            start = at + 1
    return words
