# SPDX-License-Identifier: Apache-2.0
"""The terminal: colours, marks without them, widths, hostile strings, encodings."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from helpers.render_examples import ATTACKS, CHINESE, NEGATIVE, PAIR, POSITIVE, attacked
from mhex_nlp.render import render_terminal
from mhex_nlp.render.controls import beginning_of
from mhex_nlp.render.display import followed


def printed(document: dict[str, Any], *, unit: str = "words", **options: Any) -> str:
    stream = io.StringIO()
    options = {"width": 80, "force_terminal": False, "color_system": None, "legacy_windows": False, **options}
    render_terminal(document, Console(file=stream, _environ={}, **options), unit=unit)
    return stream.getvalue()


def test_a_pipe_gets_marks_instead_of_colours() -> None:
    out = printed(POSITIVE)
    assert "\x1b" not in out
    assert out.startswith("positive 98.7%\n")
    assert "superb[+0.812]" in out and "thin[-0.380]" in out
    assert "plot was" in out  # weak words stay as they are
    assert "on special tokens 5%" in printed(POSITIVE, width=200)
    assert "note: The heads choose positive" in printed(NEGATIVE)


@pytest.mark.parametrize("system", ["standard", "256", "truecolor"])
def test_a_terminal_gets_colours_and_the_sign_without_them(system: str) -> None:
    out = printed(POSITIVE, force_terminal=True, color_system=system)
    before = {word: re.findall(r"\x1b\[([0-9;]*)m$", out[: out.index(word)])[0] for word in ("superb", "thin")}
    assert before["superb"].split(";")[0] == "1" and before["thin"].split(";")[0] == "4"
    assert before["superb"].split(";")[1:] != before["thin"].split(";")[1:]
    assert "superb[" not in re.sub(r"\x1b\[[0-9;]*m", "", out)


def test_no_color_keeps_marks_on_a_terminal() -> None:
    out = printed(POSITIVE, force_terminal=True, color_system="truecolor", no_color=True)
    assert "superb[+0.812]" in out
    assert not re.search(r"\x1b\[[0-9;]*(3|4)8;", out)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("colour", [False, True])
def test_nothing_in_a_text_commands_the_terminal(attack: str, colour: bool) -> None:
    options: dict[str, Any] = {"force_terminal": True, "color_system": "truecolor"} if colour else {}
    out = printed(attacked(attack), width=2000, **options)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", plain)
    assert "\x1b]" not in out
    out.encode()
    if attack.isprintable():
        assert attack in plain


@pytest.mark.parametrize("document", [POSITIVE, CHINESE, attacked("a" * 400)], ids=["words", "Chinese", "one word"])
def test_lines_keep_to_the_width(document: dict[str, Any]) -> None:
    assert max(cell_len(line) for line in printed(document, width=30).splitlines()) <= 30


def test_a_terminal_without_unicode_is_served() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    render_terminal(CHINESE, Console(file=stream, width=80, _environ={}))
    stream.flush()
    assert b"?" in raw.getvalue() and b"77.2%" in raw.getvalue()


def test_pairs_are_two_lines() -> None:
    lines = printed(PAIR, width=200).splitlines()
    assert lines[1].startswith("A man in a blue shirt") and lines[2].startswith("Nobody[")


def test_a_bar_shows_in_a_notebook_and_nowhere_unseen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(followed(range(3), "Fitting")) == [0, 1, 2] and capsys.readouterr().err == ""
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", ipython)  # type: ignore[arg-type]
    assert list(followed(range(3), "Fitting")) == [0, 1, 2] and "Fitting: 100%" in capsys.readouterr().err
    assert list(followed(range(3), "Fitting", shown=False)) == [0, 1, 2] and capsys.readouterr().err == ""


@given(st.text("ab \n", max_size=60), st.integers(2, 30))
def test_a_beginning_ends_with_a_word(text: str, most: int) -> None:
    whole, cut = " ".join(text.split()), beginning_of(text, most)
    assert len(cut) <= most and (cut == whole if len(whole) <= most else whole.startswith(cut.removesuffix("…")))
    if len(whole) > most and " " in whole[most // 2 : most]:
        assert whole[len(cut) - 1] == " "
