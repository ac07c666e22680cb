# SPDX-License-Identifier: Apache-2.0
"""Tokens of a fast tokenizer, aligned with the code points and words of their source text.

The offsets of `tokenizers` count code points, and bytes of one code point already share it. These faults in them, seen
in tokenizers 0.23, are mended here from the piece and the source alone:

- the "▁" that Metaspace or a Llama normaliser puts before a text claims the first character;
- ByteLevel post-processing with `trim_offsets` empties the span of whitespace tokens, and after a special token typed
  inside the text cuts one character too many off the token with the inserted space;
- normalisers that compose (NFC, NFKC, SentencePiece) leave the combining mark out of the span of "é";
- edge whitespace is in the span or not, depending on the tokenizer's settings.

Left as they are: pieces whose text a normaliser changed beyond recognition, such as "[UNK]", after whose text an
accent may have been composed or stripped; the order of several marks on one letter where normalising sorts them; and an
accent composed into the last letter of a ligature.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import accumulate
from re import compile as compile_pattern
from typing import NamedTuple

from tokenizers import Encoding

from .segmentation import CharSpan, assign_to_spans, trimmed, word_spans


class AlignedToken(NamedTuple):
    """One token: `text` is the source slice [start, end) in code points, `piece` what the tokenizer calls it.

    The fields are the first ones of an explanation's `Token`, in the same order. Special tokens, those the tokenizer's
    template added, have text "" and no offsets, sequence or word. `sequence` is 0 in the text and 1 in its pair; words
    count on from the text into the pair.
    """

    text: str
    piece: str
    start: int | None
    end: int | None
    sequence: int | None
    word: int | None
    special: bool


def align(
    encoding: Encoding, text: str, text_pair: str | None = None, *, language: str | None = None
) -> list[AlignedToken]:
    """The tokens of `encoding` in order, without padding, each with its place in the source and its word.

    A token's span is the smallest run of whole code points that holds what it covers, without whitespace at its edges
    (a token of whitespace alone keeps its whitespace); a piece that stands for nothing in the source, such as an
    inserted "▁", has start = end. A special token typed by the user is ordinary text. `language` as in `segment_words`.
    """
    if not isinstance(encoding, Encoding):
        raise TypeError(
            f"encoding must be a tokenizers.Encoding, made by a fast tokenizer, got {type(encoding).__name__}"
        )
    sources = [text] if text_pair is None else [text, text_pair]
    pieces, all_offsets = encoding.tokens, encoding.offsets  # each access builds a new list
    # A template token has no sequence; "[SEP]" typed in the text has one, and no special_tokens_mask either.
    sequences = [
        None if special else sequence
        for sequence, special in zip(encoding.sequence_ids, encoding.special_tokens_mask, strict=True)
    ]
    positions = [index for index, real in enumerate(encoding.attention_mask) if real]
    if any(sequences[index] == len(sources) for index in positions):
        raise ValueError("encoding holds a pair of texts, but text_pair is None")
    placed: dict[int, AlignedToken] = {}
    first_word = 0
    for number, source in enumerate(sources):
        indices = [index for index in positions if sequences[index] == number]
        words = word_spans(source, language)
        if indices:
            words = words or ((0, len(source)),)
            source_pieces = [pieces[index] for index in indices]
            spans = _token_spans(source, source_pieces, [all_offsets[index] for index in indices])
            owners = assign_to_spans(source, spans, words)
            for index, piece, (start, end), owner in zip(indices, source_pieces, spans, owners, strict=True):
                word = first_word + owner
                placed[index] = AlignedToken(source[start:end], piece, start, end, number, word, False)
        first_word += len(words)
    return [placed.get(index) or AlignedToken("", pieces[index], None, None, None, None, True) for index in positions]


def _token_spans(text: str, pieces: list[str], offsets: list[CharSpan]) -> list[CharSpan]:
    if any(end > len(text) for _, end in offsets):
        raise ValueError("encoding has offsets past the end of its text: it was made from another text")
    return offsets if _needs_no_mending(text, pieces, offsets) else mend_offsets(text, pieces, offsets)


def _needs_no_mending(text: str, pieces: list[str], offsets: list[CharSpan]) -> bool:
    """Whether `mend_offsets` is sure to return `offsets` as they are, at a fraction of its cost.

    True where an ASCII text is cut into ascending tokens, and neither they nor their pieces hold anything but visible
    ASCII: no mark can be composed, and no piece can stand for whitespace, which "▁", "Ġ", "<0x20>" and whitespace do.
    """
    low, size = 0, len(text)
    for start, end in offsets:
        if not low <= start < end <= size:
            return False
        low = start
    written = "".join(pieces)
    covered = "".join([text[start:end] for start, end in offsets])
    visible = _VISIBLE.fullmatch(written) and _VISIBLE.fullmatch(covered)
    return bool(visible) and "<0x" not in written and text.isascii()


def mend_offsets(text: str, pieces: list[str], offsets: list[CharSpan]) -> list[CharSpan]:
    """The offsets of one sequence's content tokens, mended as the module says and free of edge whitespace."""
    spans: list[CharSpan] = []
    covered = 0
    for index, (piece, (start, end)) in enumerate(zip(pieces, offsets, strict=True)):
        following = (pieces[index + 1], offsets[index + 1]) if index + 1 < len(offsets) else None
        readings = _readings(piece)
        blank = next((reading for reading in readings if reading.isspace()), None)
        if blank is not None:
            start, end = _mend_blank(text, piece, blank.decode(), (start, end), covered, following)
        elif _bytes(text[start:end]) not in readings:
            start = _regain_first(text, readings, start, end, covered)
        covered = max(covered, end)
        spans.append((start, end))
    for index in range(len(spans)):
        limit = spans[index + 1][0] if index + 1 < len(spans) else len(text)
        if spans[index][1] < limit:
            _regain_marks(text, pieces, spans, index, limit)
    # A token of whitespace alone keeps it. Starts never go back, as every reader of a text expects of its tokens.
    spans = [(trimmed(text, [span]) or [span])[0] for span in spans]
    starts = accumulate((start for start, _ in spans), max)
    return [(start, max(start, end)) for start, (_, end) in zip(starts, spans, strict=True)]


def _mend_blank(
    text: str, piece: str, blank: str, span: CharSpan, covered: int, following: tuple[str, CharSpan] | None
) -> CharSpan:
    """The span of a piece that is whitespace alone: what it covers, or nothing at its position if it was inserted."""
    start, end = span
    size, source = len(blank), text[start:end]
    next_start = None if following is None else following[1][0]
    if source == blank and next_start != start:
        return span
    if "Ġ" in piece and (not source or source.isspace()):
        # Trimmed by the post-processor: from the left, and at the first token from the right.
        if end - size >= covered and text[end - size : end] == blank:
            return end - size, end
        if text[start : start + size] == blank and (next_start is None or start + size <= next_start):
            return start, start + size
    if not source:
        # An inserted space that was trimmed stands one too far to the right, behind the token that follows it.
        return (min(start, next_start),) * 2 if next_start is not None and next_start >= covered else span
    # The space that a code point dissolves into ("¨" is space and diaeresis) is real, and so is a zero-width
    # space read as a space. An inserted one covers what the next token covers as well.
    dissolves = not source.isspace() and unicodedata.normalize("NFKD", source).startswith(" ")
    if dissolves and following is not None:
        data = _bytes(source)
        dissolves = not any(data.startswith(part) or part.startswith(data) for part in _readings(following[0]))
    visible = source.isprintable() and not source.isspace()
    inserted = visible if next_start is None else next_start == start
    return (start, start) if inserted and start >= covered and not dissolves else span


def _regain_first(text: str, readings: list[bytes], start: int, end: int, covered: int) -> int:
    """`start`, or one before it where the post-processor trimmed a character for an inserted space."""
    if start - 1 < covered:
        return start
    wider, slim = _bytes(text[start - 1 : end]), _bytes(text[start:end])
    for reading in readings:
        data = reading.strip()
        if data and data != reading and wider.startswith(data) and not slim.startswith(data):
            return start - 1
    return start


def _regain_marks(text: str, pieces: list[str], spans: list[CharSpan], index: int, limit: int) -> None:
    """Widen the token at `index`, in place, over marks that a normaliser composed into its last letter.

    Its bytes may be spread over several tokens with the same end: then all of them are widened.
    """
    start, end = spans[index]
    stop = end
    while stop < limit and _joins(text[stop]):
        stop += 1
    if stop == end or start == end:
        return
    first = index
    while first > 0 and spans[first - 1][1] == end and spans[first - 1][0] < end:
        first -= 1
    lowest = spans[first][0]
    parts = [_readings(piece) for piece in pieces[first : index + 1]]
    for reading in {b"".join(part[0] for part in parts), b"".join(part[-1] for part in parts)}:
        try:
            letters = _decomposed(reading.decode().strip())
        except UnicodeDecodeError:
            continue
        for reach in range(end, stop + 1):
            if letters and _decomposed(text[lowest:reach]).endswith(letters):
                for token in range(first, index + 1):
                    if reach > end:
                        spans[token] = (spans[token][0], reach)
                return
    # A piece such as "[UNK]" says nothing of its text. Marks after it may have been stripped or composed; Hangul
    # vowels and finals are only ever composed.
    while end < stop and _is_conjoining(text[end]):
        end += 1
    spans[index] = (start, end)


def _joins(char: str) -> bool:
    """Whether a normaliser can compose `char` into the letter before it: combining marks, Hangul vowels, finals."""
    return unicodedata.category(unicodedata.normalize("NFKD", char)[0])[0] == "M" or _is_conjoining(char)


def _is_conjoining(char: str) -> bool:
    """Whether `char` is a vowel or final of a Hangul syllable written apart."""
    return "\u1160" <= unicodedata.normalize("NFKD", char)[0] <= "\u11ff"


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFKD", text).casefold()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_VISIBLE = compile_pattern(r"[!-~]*")
_BYTE_PIECE = compile_pattern(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet, in which byte-level pieces are written: printable Latin-1 as it is, the rest from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


_BYTES = _byte_alphabet()


@lru_cache(maxsize=65536)
def _readings(piece: str) -> list[bytes]:
    """Source bytes a piece may stand for: as WordPiece or SentencePiece writes it, then as byte-level BPE.

    The tokenizer's kind is not in an Encoding; a reading counts only where the source bears it out.
    """
    if match := _BYTE_PIECE.fullmatch(piece):
        return [bytes([int(match[1], 16)])]
    readings = [_bytes(piece.removeprefix("##").removesuffix("</w>").replace("▁", " "))]
    if piece and all(char in _BYTES for char in piece):
        data = bytes(_BYTES[char] for char in piece)
        if data not in readings:
            readings.append(data)
    return readings
