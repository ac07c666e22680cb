# SPDX-License-Identifier: Apache-2.0
"""Installed fonts that hold a text's characters, and how wide text is in them."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import regex  # type: ignore[import-untyped, unused-ignore]
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

from ..controls import REPLACEMENT

DEFAULT = "DejaVu Sans"  # comes with matplotlib

# Fonts of formulas give letters and controls other glyphs; the last one holds everything, as boxes.
_NO_TEXT = ("cm", "STIXNonUnicode", "STIXSize", "Last Resort")
_NAMED = 8  # characters that a warning names
_EM = 100.0
_invisible = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cf}]").match


class Fonts:
    """Families in the order in which a character is looked for, and what they hold.

    Right-to-left and joined scripts are shaped by matplotlib.
    """

    def __init__(self, families: Sequence[str]) -> None:
        self.families = tuple(families)
        self._heavy = _with_bold(self.families)
        self._regular, self._bold = _held(self.families, "normal"), _held(self._heavy, "bold")
        self._widths: dict[tuple[str, bool], float] = {}

    def drawable(self, text: str) -> str:
        """`text` without what no font can draw: U+FFFD for a character, nothing for an invisible one."""
        return "".join(character if ord(character) in self._regular else _stand_in(character) for character in text)

    def properties(self, size: float, text: str = "", bold: bool = False) -> Any:
        """matplotlib's FontProperties; bold only where the bold faces hold all of `text`."""
        bold = bold and all(ord(character) in self._bold for character in text)
        families, weight = (self._heavy, "bold") if bold else (self.families, "normal")
        return FontProperties(family=list(families), size=size, weight=weight)

    def width(self, text: str, bold: bool = False) -> float:
        """The advance of `text` in em, unhinted, white space at its ends included."""
        key = text, bold
        if key not in self._widths:
            properties = self.properties(_EM, text, bold)
            width, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
            self._widths[key] = float(width) / _EM
        return self._widths[key]


def find_fonts(text: str, preferred: Sequence[str] = ()) -> Fonts:
    """The `preferred` families, DejaVu Sans, and as many installed ones as `text` needs beyond them.

    Warns where no font holds a character, naming it: it will be drawn as U+FFFD.
    """
    if isinstance(preferred, str):
        raise TypeError(f"fonts must be a sequence of family names, got the string {preferred!r}.")
    for name in preferred:
        _check(name)
    families = list(dict.fromkeys([*preferred, DEFAULT]))
    missing = _not_held(text, families)
    # What a private-use character shows is defined by the font that the caller names.
    public = {ord(character) for character in missing if unicodedata.category(character) != "Co"}
    while public:
        best = max(_candidates(text), key=lambda entry: len(public & _charmap(entry.fname, entry.index)), default=None)
        covered = set() if best is None else public & _charmap(best.fname, best.index)
        if not covered or best is None or best.name in families:
            break
        families.append(best.name)
        public -= covered
    if missing := _not_held(text, families):
        warnings.warn(
            f"No installed font holds {_names(missing)}: drawn as {REPLACEMENT}. Install a font that does, or name one "
            "in fonts.",
            UserWarning,
            stacklevel=4,
        )
    return Fonts(families)


def _not_held(text: str, families: Sequence[str]) -> set[str]:
    """The characters that no family holds and U+FFFD would stand for."""
    held = _held(families, "normal")
    return {c for c in text if ord(c) not in held and c != REPLACEMENT and _stand_in(c) == REPLACEMENT}


def _stand_in(character: str) -> str:
    if character.isspace():
        return "  " if character == "\u3000" else " "
    return "" if _invisible(character) else REPLACEMENT


def _names(characters: Iterable[str]) -> str:
    ordered = sorted(characters)
    named = ", ".join(f"{character} (U+{ord(character):04X})" for character in ordered[:_NAMED])
    return named + (f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else "")


def _check(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"fonts must be a sequence of family names, got {name!r} in it.")
    try:
        fontManager.findfont(FontProperties(family=[name]), fallback_to_default=False)
    except ValueError:
        raise ValueError(
            f"fonts must name installed families with outlines, got {name!r}, which matplotlib does not find."
        ) from None


def _held(families: Sequence[str], weight: str) -> frozenset[int]:
    """The code points that the faces of this weight, or the nearest to it, hold."""
    held: set[int] = set()
    for name in families:
        place = fontManager.findfont(FontProperties(family=[name], weight=weight), fallback_to_default=False)
        held |= _charmap(str(place), getattr(place, "face_index", 0))
    return frozenset(held)


def _with_bold(families: Sequence[str]) -> tuple[str, ...]:
    """Those that have a bold face, or stand for another family; asking for another's would log a complaint."""
    weights: dict[str, set[Any]] = {}
    for entry in fontManager.ttflist:
        weights.setdefault(entry.name.lower(), set()).add(entry.weight)
    return tuple(name for name in families if weights.get(name.lower(), {700}) & {600, 700, "bold", "semibold"})


@cache
def _charmap(path: str, index: int) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path, face_index=index).get_charmap())
    except (OSError, RuntimeError):  # removed or damaged since matplotlib listed it
        return frozenset()


def _candidates(text: str) -> list[Any]:
    """Installed upright faces of regular weight, the likeliest first; Han in the shapes of the text's language."""
    han = "JP" if regex.search(r"[\p{Hiragana}\p{Katakana}]", text) else "SC"
    han = "KR" if regex.search(r"\p{Hangul}", text) else han

    def order(entry: Any) -> tuple[Any, ...]:
        sans = not entry.name.startswith("Noto Sans")
        other = "CJK" in entry.name and not entry.name.endswith(han)
        return (sans, not entry.name.startswith("Noto"), "Mono" in entry.name, other, entry.name, str(entry.fname))

    regular = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal"
        and entry.stretch == "normal"
        and entry.weight in (400, "normal", "regular", "book")
        and not entry.name.startswith(_NO_TEXT)
    ]
    return sorted(regular, key=order)
