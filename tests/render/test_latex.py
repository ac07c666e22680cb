# SPDX-License-Identifier: Apache-2.0
"""LaTeX: read back by a small reader of what the snippet uses, and set by TeX where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.html import explanations
from helpers.render_examples import ATTACKS, CHINESE, EXAMPLES, NEGATIVE, PAIR, POSITIVE, attacked, explanation
from mhex_nlp import Explanation
from mhex_nlp.render import render_latex
from mhex_nlp.render.controls import BREAKS, without_controls
from mhex_nlp.render.highlight import highlight, texts_of
from mhex_nlp.render.latex import escape
from mhex_nlp.render.palette import light_palette

COMMANDS = {
    "textbackslash": "\\",
    "textasciicircum": "^",
    "textasciitilde": "~",
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
    "textasciigrave": "`",
    "mhexquote": '"',
    "mhexunknown": "\ufffd",
    "mhextab": "\t",
    "mhexbreak": "",
}
TOKEN = re.compile(
    r"\\(?P<box>mhex[pn])\{(?P<level>\d+)\}\{|\\(?P<command>[A-Za-z]+)\{\}|\\(?P<symbol>[{}$&#%_ ])|(?P<empty>\{\})"
    r"|(?P<end>\})|(?P<tie>~)|(?P<letter>[^\\{}$&#%_^~<>|\"`])",
    re.DOTALL,
)


def read(source: str) -> tuple[str, list[tuple[str, int]]]:
    """The text that TeX would set, and its boxes. Fails on whatever TeX would read as something else."""
    for trap in ("--", "''", ",,"):
        assert trap not in source
    at, text, boxes, start, level = 0, "", [], None, 0
    while at < len(source):
        match = TOKEN.match(source, at)
        assert match, f"not expected: {source[at : at + 20]!r}"
        at = match.end()
        if match["box"]:
            assert start is None, "a box in a box"
            start, level = len(text), int(match["level"]) * (1 if match["box"] == "mhexp" else -1)
        elif match["end"]:
            assert start is not None, "an unbalanced brace"
            boxes.append((text[start:], level))
            start = None
        elif match["command"]:
            text += COMMANDS[match["command"]]
        elif match["symbol"]:
            text += match["symbol"]
        elif match["tie"]:
            text += "\u00a0"
        elif match["letter"]:
            letter = match["letter"]
            if letter in " \n":
                # White space joins other white space, and is nothing at a line's start or end.
                assert start is None and text and at < len(source) and not source[at].isspace()
                assert not re.search(r"\\[A-Za-z]+$", source[: at - 1])
                letter = " "
            text += letter
    assert start is None
    return text, boxes


def head_and_body(snippet: str) -> tuple[str, str]:
    inside = snippet[snippet.index(r"\lineskiplimit") : snippet.rindex(r"\endgroup")].split("\n", 1)[1]
    head, body = inside.split("\\par\n", 1)
    return head.removeprefix(r"\leavevmode "), body


def read_snippet(snippet: str) -> list[tuple[list[str], list[tuple[str, int]]]]:
    """The lines and boxes of each text, between the head and the scale."""
    _, body = head_and_body(snippet)
    texts = []
    for part in re.split(r"\n?\\smallskip\{\\color\{mhexline\}.*?\\smallskip\n", body):
        lines, boxes = [], []
        for paragraph in part.removesuffix("\n").split("\\par\n"):
            if paragraph.startswith(r"\leavevmode{\footnotesize"):
                continue
            assert paragraph.startswith(r"\leavevmode ")
            text, marked = read(paragraph.removeprefix(r"\leavevmode ").removesuffix(r"\par"))
            lines.append(text)
            boxes += marked
        texts.append((lines, boxes))
    return texts


@given(explanations(), st.sampled_from(["words", "tokens"]))
@settings(max_examples=100, deadline=None)
def test_the_text_comes_back(document: dict[str, Any], unit: str) -> None:
    try:
        snippet = render_latex(document, unit=unit)
    except ValueError as error:  # sums of the largest floats
        assert "sum" in str(error)
        return
    snippet.encode()
    texts = read_snippet(snippet)
    assert [lines for lines, _ in texts] == [BREAKS.split(without_controls(text)) for text in texts_of(document)]
    for (_, boxes), segments in zip(texts, highlight(document, unit=unit).lines, strict=True):
        marked = [(without_controls(segment.text), segment.level) for segment in segments if segment.level]
        assert solid(text for text, _ in boxes) == solid(text for text, _ in marked)
        assert {level for _, level in boxes} <= {level for _, level in marked}


def solid(texts: Iterable[str]) -> str:
    """Without white space, which may stand beside a box where a unit is in two of them."""
    return "".join("".join(texts).split())


@given(st.text(st.one_of(st.sampled_from("\\{}$&#%_^~<>|\"`'-,?! ab\u00a0\x00\ud800\u202e"), st.characters())))
@settings(max_examples=200, deadline=None)
def test_labels_come_back(label: str) -> None:
    escaped = escape(label)
    expected = BREAKS.sub(" ", without_controls(label))
    # Of white space in a label TeX keeps one each.
    shown, _ = read(re.sub(r"[ \n]+", r"\\ ", escaped))
    assert shown == re.sub("[ \n]+", " ", expected)


def test_what_tex_reads_otherwise_is_escaped() -> None:
    assert escape(r"\{}$&#%_^~") == (r"\textbackslash{}\{\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}")
    assert escape('<>|"`') == r"\textless{}\textgreater{}\textbar{}\mhexquote{}\textasciigrave{}"
    assert escape("a---b ''c'' ,,d don't") == r"a-{}-{}-b '{}'c'{}' ,{},d don't"


def test_words_carry_their_levels() -> None:
    [(lines, boxes)] = read_snippet(render_latex(POSITIVE))
    assert lines == [POSITIVE["text"]]
    drawn = [(s.text, s.level) for s in highlight(POSITIVE).lines[0] if s.level]
    assert boxes == drawn and ("superb", 10) in boxes and ("thin", -5) in boxes
    [(_, pieces)] = read_snippet(render_latex(POSITIVE, unit="tokens"))
    assert ("un", 2) in pieces and ("un", 2) not in boxes


def test_lines_and_spaces_of_the_text_stay() -> None:
    [(lines, _)] = read_snippet(render_latex(NEGATIVE))
    assert lines == NEGATIVE["text"].split("\n")
    snippet = render_latex(explanation("  a  b \n\n c", [("a", 0, 1.0)]))
    assert "\\leavevmode \\ \\ \\mhexp{10}{a}\\ \\ b\\ \\par\n\\leavevmode \\par\n\\leavevmode \\ c\\par" in snippet


def test_lines_may_break_where_no_space_is() -> None:
    snippet = render_latex(CHINESE)
    assert r"\mhexp{10}{差}\mhexbreak{}" in snippet and r"\mhexbreak{}，" not in snippet
    long = render_latex(explanation("x" * 100 + " " + "y" * 100, [("x" * 100, 0, 1.0)]))
    assert max(len(run) for run in re.findall("x+|y+", long)) <= 24


def test_colours_are_defined_once_and_all_of_them() -> None:
    snippet = render_latex(POSITIVE)
    defined = dict(re.findall(r"\\definecolor\{(\w+)\}\{HTML\}\{([0-9A-F]{6})\}", snippet))
    assert snippet.count(r"\definecolor") == len(defined) == 23
    for name, value in defined.items():
        assert light_palette()[name.removeprefix("mhex")] == f"#{value.lower()}"
    assert snippet.count(r"\begingroup") == snippet.count(r"\endgroup")
    assert r"\usepackage{xcolor}" in snippet.splitlines()[0]
    assert all(len(line) < 250 for line in render_latex(NEGATIVE).splitlines())


def test_prediction_and_contrast_are_named() -> None:
    assert r"\textbf{negative} \textgreater{}99.9\%" in render_latex(NEGATIVE)
    assert r"scores for \textbf{contradiction} rather than \textbf{neutral}" in render_latex(PAIR)
    assert len(read_snippet(render_latex(PAIR))) == 2


def test_right_to_left_text_gets_a_comment() -> None:
    comment = "% The text runs right to left"
    assert comment in render_latex(explanation("\u05e9\u05dc\u05d5\u05dd", [("\u05e9", 0, 1.0)]))
    assert comment not in render_latex(POSITIVE)


def test_files_and_errors(tmp_path: Path) -> None:
    document = Explanation.from_dict(POSITIVE)
    snippet = document.to_latex(unit="tokens")
    assert document.to_latex(tmp_path / "x.tex", unit="tokens") is None
    assert (tmp_path / "x.tex").read_bytes() == snippet.encode() and snippet == render_latex(POSITIVE, unit="tokens")
    with pytest.raises(ValueError, match="unit must be 'words' or 'tokens', not 'letters'"):
        document.to_latex(unit="letters")


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_no_value_is_read_as_a_command(attack: str) -> None:
    snippet = render_latex(attacked(attack))
    for lines, _ in read_snippet(snippet):
        assert lines == BREAKS.split(without_controls(attack))
    head, _ = head_and_body(snippet)
    plain = re.sub(r"\\textbf\{((?:[^{}\\]|\\[{}]|\\[A-Za-z]+\{\}|\\.|\{\})*)\}", r"\1", head)
    shown, _ = read(re.sub(r"[ \n]+", r"\\ ", plain.replace(r"\quad ", " ")))
    expected = " ".join(BREAKS.sub(" ", without_controls(attack)).replace("\t", " ").split(" "))
    assert " ".join(shown.split()).count(" ".join(expected.split())) >= 3  # predicted, target, foil


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on the PATH")
def test_tex_sets_it(tmp_path: Path) -> None:
    ascii_ = [attack for attack in ATTACKS if attack.isascii()]
    documents = [POSITIVE, NEGATIVE, PAIR, *map(attacked, ascii_), EXAMPLES["regression"], explanation("", [])]
    body = "\n\n".join(map(render_latex, documents))
    head = r"\documentclass{article}\usepackage{xcolor}\begin{document}Before." + "\n"
    (tmp_path / "x.tex").write_text(head + body + "\n" + r"After.\end{document}" + "\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Missing character" not in log
    assert "Overfull" not in log
