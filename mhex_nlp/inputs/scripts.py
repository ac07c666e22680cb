# SPDX-License-Identifier: Apache-2.0
"""The writing systems of a text's letters, as the names of characters in Unicode begin with them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache

SHARE = 0.05  # of the letters of all texts, that a writing system needs to be one of theirs


def count_scripts(text: str) -> Counter[str]:
    """Letters by writing system, such as "Latin", "Cyrillic" or "CJK"."""
    scripts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if script := _script(character):
            scripts[script] += count
    return scripts


def common_scripts(texts: Iterable[str]) -> tuple[str, ...]:
    """The writing systems that have more than `SHARE` of the texts' letters, by name."""
    scripts: Counter[str] = Counter()
    for text in texts:
        scripts += count_scripts(text)
    return tuple(sorted(name for name, count in scripts.items() if count > SHARE * scripts.total()))


def foreign_script(text: str, scripts: Collection[str]) -> str | None:
    """The writing system that has most letters of a text of which more than half are in none of `scripts`."""
    counts = count_scripts(text)
    foreign = Counter({name: count for name, count in counts.items() if name not in scripts})
    return max(foreign, key=lambda name: (foreign[name], name)) if 2 * foreign.total() > counts.total() else None


@lru_cache(maxsize=65536)
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    words = unicodedata.name(character, "").replace("-", " ").split()
    words = words[1:] if words[:1] in (["FULLWIDTH"], ["HALFWIDTH"]) else words
    return None if not words else words[0] if words[0] == "CJK" else words[0].capitalize()
