# SPDX-License-Identifier: Apache-2.0
"""Small tokenizers of four kinds with hand-written vocabularies, whose every piece can be foreseen."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from mhex_nlp.inputs.alignment import AlignedToken, align

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


@cache
def build(name: str) -> Tokenizer:
    """One of BUILDERS, made once."""
    return BUILDERS[name]()


def content(name: str, text: str) -> list[AlignedToken]:
    """The tokens of a text by one of BUILDERS, without those of the template."""
    return [token for token in align(build(name).encode(text), text) if not token.special]


RANDOM = st.text(
    st.one_of(
        st.sampled_from("the catdo'n .\n\t\u00a0\u3000好ßİé½ﬁ\u0301\u0323\u200b\u200d👍🏽❤️กำשָ한ｶﾞﷺ¨Ġ▁"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)
