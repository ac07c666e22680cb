# SPDX-License-Identifier: Apache-2.0
"""Words and sentences of a source text, as spans of Unicode code points, and the tokens that each of them owns.

Words come from the text and never from a tokenizer, so that two models' explanations of one text can be compared.
"""

from __future__ import annotations

import bisect
import functools
import importlib.util
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import regex  # type: ignore[import-untyped, unused-ignore]

from .texts import encodable

if TYPE_CHECKING:
    from spacy.language import Language

CharSpan = tuple[int, int]  # [start, end) in code points

# Scripts written without spaces: a run of letters would be a whole sentence, so each character is a word.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\u30FC\uFF70\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# Controls and format characters nobody sees (zero-width space, byte order mark, bidi marks): part of a neighbour.
_HIDDEN = r"(?:(?!\s)[\p{Cc}\p{Cf}])"
_LETTER = rf"(?:(?![{_UNSPACED}])[\p{{L}}\p{{N}}][\p{{M}}\u00AD\u200C\u200D]*)"
_WORD = regex.compile(
    rf"""
    {_HIDDEN}*
    (?:
        [{_UNSPACED}][\p{{M}}\u0E33\u0EB3\uFF9E\uFF9F]*     # one character with the marks on it
      | (?!\d\uFE0F?\u20E3){_LETTER}+ (?:['’׳״]{_LETTER}+)*   # letters and digits: don't; no keycap emoji
      | (?!\s|{_HIDDEN})\X                                    # one symbol, or one emoji however composed
    )
    {_HIDDEN}*
    | {_HIDDEN}+
    | \S
    """,
    regex.VERBOSE | regex.VERSION1,
)
# What _WORD says of a text without characters that combine, hide or need no spaces, in a sixth of its time.
_SIMPLE_TEXT = re.compile(r"[\t\n\r -~]*")
_SIMPLE_WORD = re.compile(r"[A-Za-z0-9]+(?:'[A-Za-z0-9]+)*|\S")
# What spaCy's tokenizers of these languages are made of; the extra `cjk` installs it.
_EXTRA = {"ja": ("sudachipy", "sudachidict_core"), "th": ("pythainlp",)}
# Sudachi refuses a text of more than 65,535 bytes in NFKC, in which one character takes 33 at most, and two threads at
# once.
_SUDACHI_PART = 1_500
_SUDACHI = threading.Lock()
_CODE = regex.compile(r"[a-z]{2,3}")
_STRINGS = 20_000  # that a pipeline may learn; each takes some hundred bytes, and a new pipeline a fraction of a second
_PIPELINES: dict[str, tuple[Language, int]] = {}  # by language, with the number of strings that is too many
_OPENING = regex.compile(r"(?<=\s)[\p{Ps}\p{Pi}\"'¿¡]+$")
_WIDE_STOP = regex.compile(r"[。！？｡]+")


class PlacedToken(Protocol):
    """A token with its place: `text` is its slice [start, end) of the source `sequence`, all `None` where special."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> int | None: ...
    @property
    def end(self) -> int | None: ...
    @property
    def sequence(self) -> int | None: ...


class TokenGroup(NamedTuple):
    """The tokens, by index, of one owner, and the slice [start, end) of the source `sequence` that they cover."""

    start: int
    end: int
    sequence: int
    tokens: tuple[int, ...]


def segment_words(text: str, language: str | None = None) -> list[CharSpan]:
    """Spans of the words of `text`, in order: every character that is not whitespace is in exactly one.

    By default a word is a run of letters and digits (with combining marks and inner apostrophes), or one punctuation
    mark, symbol or emoji, or one character of a script written without spaces. With `language` (a spaCy code such as
    "en") spaCy's tokenizer for that language decides. A text of whitespace alone is one word; "" has none.

    Raises:
        TypeError, ValueError: a language that spaCy does not know.
        ImportError: one whose tokenizer is not installed: "ja" and "th" need `pip install 'mhex_nlp[cjk]'`.
    """
    return list(word_spans(text, language))


def segment_sentences(text: str, language: str | None = None) -> list[CharSpan]:
    """Spans of the sentences of `text`, without outer whitespace, from spaCy's rule-based sentencizer.

    Together they hold every character that is not whitespace. A text of whitespace alone is one sentence; "" has none.
    Errors as in `segment_words`.
    """
    if not text.strip():
        return [(0, len(text))] if text else []
    from spacy.tokens import Doc

    pipeline = _pipeline(language or "xx")
    words: list[str] = []
    spaces: list[bool] = []
    for word, space in _read(pipeline, text):
        # The multi-language tokenizer leaves "好。世" whole, and the sentencizer only looks at whole tokens.
        pieces = _WIDE_STOP.sub(lambda match: f"\0{match[0]}\0", word).split("\0")
        pieces = [piece for piece in pieces if piece] if "\0" not in word else [word]
        words += pieces
        spaces += [False] * (len(pieces) - 1) + [space]
    doc = pipeline.get_pipe("sentencizer")(Doc(pipeline.vocab, words=words, spaces=spaces))
    starts = [sentence.start_char for sentence in doc.sents]
    for number, start in enumerate(starts[1:], start=1):
        # The sentencizer leaves an opening quote, bracket or ¿ at the end of the sentence before it.
        if opening := _OPENING.search(text, starts[number - 1], start):
            starts[number] = opening.start()
    return trimmed(text, zip(starts, [*starts[1:], len(text)], strict=True))


def check_language(language: str | None) -> None:
    """Raises what `segment_words` raises where `language` is unknown, or not installed."""
    if language is not None:
        _pipeline(language)


@functools.lru_cache(maxsize=16)
def word_spans(text: str, language: str | None = None) -> tuple[CharSpan, ...]:
    """`segment_words`, remembered: windows and words() ask for the same text again and again."""
    if not text.strip():
        return ((0, len(text)),) if text else ()
    if language is None:
        pattern = _SIMPLE_WORD if _SIMPLE_TEXT.fullmatch(text) else _WORD
        return tuple([match.span() for match in pattern.finditer(text)])
    spans, at = [], 0
    for word, space in _read(_pipeline(language), text):
        spans.append((at, at + len(word)))
        at += len(word) + space
    return tuple(trimmed(text, spans))


def assign_to_spans(text: str, tokens: Iterable[CharSpan], spans: Sequence[CharSpan]) -> list[int]:
    """For each token's span, the index of the word or sentence in `spans` that owns the token.

    The owner holds the token's first code point that is not whitespace. A token of whitespace, or of nothing, goes to
    the one before it, and to the first where there is none before: so every token has an owner and sums stay whole.
    """
    if not spans:
        raise ValueError("spans is empty: there is no word or sentence for the tokens to belong to")
    starts = [start for start, _ in spans]
    owners = []
    for start, end in tokens:
        if 0 <= start < end <= len(text) and not text[start].isspace():  # most tokens: spares two copies
            owner = bisect.bisect_right(starts, start) - 1
        elif content := text[start:end].lstrip():
            owner = bisect.bisect_right(starts, end - len(content)) - 1
        else:
            owner = bisect.bisect_left(starts, start) - 1
        owners.append(max(owner, 0))
    return owners


def group_tokens(
    tokens: Sequence[PlacedToken], owners: Sequence[int | None], sources: Sequence[str]
) -> list[TokenGroup]:
    """The groups of each source, in order; spans end where the next begins: no text is shown twice.

    Args:
        tokens: T of them.
        owners: (T,), the word or sentence that owns each token; special tokens have none.
        sources: the text, or both halves of a pair.
    """
    members: list[dict[int, list[int]]] = [{} for _ in sources]
    for index, (token, owner) in enumerate(zip(tokens, owners, strict=True)):
        sequence = token.sequence
        if sequence is not None and owner is not None:
            members[sequence].setdefault(owner, []).append(index)
    result = []
    for sequence, (text, groups) in enumerate(zip(sources, members, strict=True)):
        extents = [_extent(tokens, group) for group in groups.values()]
        limits = [start for start, _ in extents[1:]] + [len(text)]
        for group, (start, end), limit in zip(groups.values(), extents, limits, strict=False):
            result.append(TokenGroup(start, limit if start < limit < end else end, sequence, tuple(group)))
    return result


def _extent(tokens: Sequence[PlacedToken], group: Sequence[int]) -> tuple[int, int]:
    """From the first to the last token that is more than whitespace; from end to end where none is."""
    if len(group) == 1:  # most words: spares three lists, and a million texts have many
        token = tokens[group[0]]
        return token.start or 0, token.end or 0
    members = [tokens[index] for index in group]
    solid = [token for token in members if token.text and not token.text.isspace()] or members
    return min(token.start or 0 for token in solid), max(token.end or 0 for token in solid)


def _pipeline(language: str) -> Language:
    """A blank spaCy pipeline with a sentencizer, made anew once its strings, which spaCy keeps for good, are many."""
    if not isinstance(language, str):
        raise TypeError(f"language must be a string such as 'en' or None, got {type(language).__name__}")
    pipeline, most = _PIPELINES.get(language, (None, 0))
    if pipeline is None or len(pipeline.vocab.strings) > most:
        pipeline = _make_pipeline(language)
        _PIPELINES[language] = pipeline, len(pipeline.vocab.strings) + _STRINGS
    return pipeline


def _make_pipeline(language: str) -> Language:
    """spaCy is imported here, since most callers never need it."""
    missing = [name for name in _EXTRA.get(language, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"language={language!r} needs {' and '.join(missing)}, which pip install 'mhex_nlp[cjk]' installs."
        )
    import spacy

    expected = "expected a spaCy language code of two or three lower-case letters, such as 'en', 'de', 'fr' or 'xx'"
    if not _CODE.fullmatch(language):
        raise ValueError(f"language {language!r} is not known: {expected}")
    try:
        spacy.util.get_lang_class(language)
    except ImportError as error:
        raise ValueError(f"language {language!r} is not known: {expected}") from error
    try:
        pipeline: Any = spacy.blank(language)
    except ImportError as error:  # Korean and Vietnamese need packages that spaCy names
        reason = " ".join(str(error).split())
        raise ImportError(f"language={language!r} needs a tokenizer that spaCy cannot load here: {reason}") from error
    pipeline.add_pipe("sentencizer")
    return pipeline


def _read(pipeline: Language, text: str) -> list[tuple[str, bool]]:
    """The tokens of `text` and whether a space follows each: joined they are the text."""
    if pipeline.lang != "ja":
        return [(token.text, bool(token.whitespace_)) for token in pipeline.tokenizer(encodable(text))]
    with _SUDACHI:
        docs = [pipeline.tokenizer(part) for part in _parts(encodable(text), _SUDACHI_PART)]
    return [(token.text, bool(token.whitespace_)) for doc in docs for token in doc]


def _parts(text: str, size: int) -> Iterator[str]:
    """`text` in parts of at most `size` characters, cut after a sentence or line, else after a space."""
    start = 0
    while start < len(text):
        part = text[start : start + size]
        if start + size < len(text):
            stop = max(part.rfind(char) for char in "。！？｡\n") + 1
            part = part[: stop or max(part.rfind(char) for char in " \u3000") + 1 or size]
        yield part
        start += len(part)


def trimmed(text: str, spans: Iterable[CharSpan]) -> list[CharSpan]:
    """The spans without outer whitespace; spans of whitespace alone are left out."""
    kept = []
    for start, end in spans:
        if content := text[start:end].strip():
            start = end - len(text[start:end].lstrip())
            kept.append((start, start + len(content)))
    return kept
