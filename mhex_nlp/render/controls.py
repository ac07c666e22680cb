# SPDX-License-Identifier: Apache-2.0
"""Characters that displays must not pass on."""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"

# Controls but tab, newline and return could carry escape sequences, and HTML cannot hold them; surrogates and
# noncharacters have no encoding or no meaning.
_UNHOLDABLE = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef" + "".join(
    chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF)
)
_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"  # could reorder the rest of the line
UNHOLDABLE = re.compile(f"[{_UNHOLDABLE}]")
DIRECTIONS = re.compile(f"[{_DIRECTIONS}]")
_UNSAFE = re.compile(f"[{_UNHOLDABLE}{_DIRECTIONS}]")
BREAKS = re.compile("\r\n|[\n\r\u2028\u2029]")
_TERMINAL_BREAKS = re.compile("[\r\u2028\u2029]")


def without_controls(text: str) -> str:
    """`text` with U+FFFD for each unsafe character: as many code points as before. Tabs and line breaks stay."""
    return _UNSAFE.sub(REPLACEMENT, text)


def printable(text: str, encoding: str) -> str:
    """`text` as a terminal can take it: without control characters but tab and newline, in what `encoding` has."""
    text = _TERMINAL_BREAKS.sub(" ", without_controls(text))
    if encoding.lower().replace("-", "").startswith("utf"):
        return text
    return text.encode(encoding, "replace").decode(encoding)


def beginning_of(text: str, most: int) -> str:
    """The beginning of a text on one line of at most so many characters, cut between words where one ends near."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    end = text.rfind(" ", most // 2, most)
    return f"{text[: most - 1 if end < 0 else end]}\u2026"
