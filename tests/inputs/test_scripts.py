# SPDX-License-Identifier: Apache-2.0
"""Writing systems of letters, and texts mostly in others than those that are known."""

from __future__ import annotations

import time

import pytest

from mhex_nlp.inputs.scripts import common_scripts, count_scripts, foreign_script


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Ab, cé! 12 🙂", {"Latin": 4}),
        ("фильм film", {"Cyrillic": 5, "Latin": 4}),
        ("映画がよかったテスト", {"CJK": 2, "Hiragana": 5, "Katakana": 3}),
        ("ＡＢ ｶﾅ", {"Latin": 2, "Katakana": 2}),
        ("좋은 영화", {"Hangul": 4}),
        ("فيلم αβ फ", {"Arabic": 4, "Greek": 2, "Devanagari": 1}),
        ("12 + 3 = ?", {}),
    ],
)
def test_letters_are_counted_by_writing_system(text, scripts):
    assert count_scripts(text) == scripts


def test_what_is_common_and_what_is_foreign():
    assert common_scripts(["a film " * 20, "фи"]) == ("Latin",)
    assert common_scripts(["a film", "фильм"]) == ("Cyrillic", "Latin") and common_scripts(["12"]) == ()
    assert foreign_script("фильм был good", ["Latin"]) == "Cyrillic"
    assert foreign_script("фи was good", ["Latin"]) is None
    assert foreign_script("映画が", ["CJK"]) is None and foreign_script("映画がよかった", ["CJK"]) == "Hiragana"
    assert foreign_script("12!", ["Latin"]) is None


def test_it_costs_next_to_nothing():
    """A batch of 32 texts takes MiniLM 230 ms on two cores."""
    several = [f"the film was good and the plot {number} фильм " * 3 for number in range(32)]
    start = time.perf_counter()
    for text in several:
        foreign_script(text, ["Latin"])
    assert time.perf_counter() - start < 0.0023 * 5, "with room for a machine that is busy"
