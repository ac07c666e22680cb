# SPDX-License-Identifier: Apache-2.0
"""Explanations as LaTeX: a snippet that needs xcolor and nothing else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .controls import BREAKS, REPLACEMENT, without_controls
from .errors import error_legend
from .figure.layout import PLACE, is_space, may_break, split_lines
from .highlight import LEVELS, Highlight, Segment, highlight
from .numbers import plain
from .palette import level_name, light_palette
from .summary import Summary, number_format, summarise

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\mhexquote{}",  # an active character in some languages
    "`": r"\textasciigrave{}",
    "\u00a0": "~",
    REPLACEMENT: r"\mhexunknown{}",
}
_LIGATURES = re.compile(r"([-',])(?=\1)")  # dashes and quotes that TeX makes of repeated characters
_SPACES = {" ": r"\ ", "\t": r"\mhextab{}"}  # that TeX keeps
_SOURCE_WIDTH = 100  # a source line ends at the first space after so many characters
_STRONGEST = 5  # words whose scores are written where they have errors
_LONGEST = 24  # characters of a box; TeX breaks no line inside one

# A box is as high as a line, so that lines keep their distance. Solid under what speaks for, dashed under what
# speaks against; leaders keep the dashes whole.
_MACROS = r"""\def\mhexline#1#2{\rlap{\smash{\lower.27em\hbox to\wd2{\color{#1}#2}}}}
\def\mhexbox#1#2#3#4{\begingroup\setbox2\hbox{#4}\fboxsep=.08em
  \colorbox{#1}{\vrule height.84em depth.34em width0pt\mhexline{#2}{#3}\box2}\endgroup}
\def\mhexp#1#2{\mhexbox{mhexp#1}{mhexfor}{\leaders\hrule height.06em\hfil}{#2}}
\def\mhexn#1#2{\mhexbox{mhexn#1}{mhexagainst}{\leaders\hbox to.25em{\hss\vrule height.06em width.15em\hss}\hfil}{#2}}
\def\mhexbreak{\penalty50\hskip0pt plus.05em\relax}
\def\mhextab{\hskip2em\relax}
\def\mhexquote{\char34 }
\def\mhexunknown{\rule{.45em}{.7em}}"""
_PLACE = r"\def\mhexplace#1{\begingroup\fboxsep=.08em\fbox{\vrule height.84em depth.34em width0pt #1}\endgroup}"
_UNSETTLED = r"\def\mhexunsettled{\raise.4em\hbox{\footnotesize\color{mhexmute}?}}"


def render_latex(explanation: Mapping[str, Any], *, unit: str = "words", scale: float | None = None) -> str:
    r"""A snippet for `\input`: prediction, highlighted text, scale; it ends with a line break.

    It needs `\usepackage{xcolor}`; its colours and commands are local to its own group. Special tokens and notes are
    not shown; where scores have errors, those of the strongest words are, and a raised question mark stands after a
    word whose sign is not settled. Control characters are black boxes. `unit` is "words" or "tokens", `scale` the
    |score| of full colour (`ink.py`). Raises ValueError on a malformed explanation.
    """
    drawn = highlight(explanation, unit=unit, scale=scale)
    summary = summarise(explanation, drawn)
    parts = [*_opening(explanation), _head(summary)]
    for number, segments in enumerate(drawn.lines):
        if number:
            parts.append(r"\smallskip{\color{mhexline}\hrule height.05em}\smallskip")
        parts.append(_text(segments))
    if any(drawn.scores):
        parts.append(_scale(drawn.full, summary.sides))
    if legend := error_legend([explanation]):
        parts.append(_errors(drawn, legend))
    return "\n".join([*parts, r"\endgroup"]) + "\n"


def escape(text: str) -> str:
    """Text on one line, escaped so that LaTeX shows it unchanged; black boxes for control characters."""
    text = BREAKS.sub(" ", without_controls(text))
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    return _LIGATURES.sub(r"\1{}", escaped)


def _opening(explanation: Mapping[str, Any]) -> Iterable[str]:
    yield r"% Needs \usepackage{xcolor}. XeLaTeX or LuaLaTeX with a font that holds the text's characters is best;"
    yield r"% pdfLaTeX knows some of them only."
    text = explanation["text"] + (explanation["text_pair"] or "")
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in text):
        yield "% The text runs right to left: give it a right-to-left paragraph (babel, bidi=basic), or use a figure."
    yield r"\par\begingroup"
    colours = light_palette()
    names = [("mhexfor", "for"), ("mhexagainst", "against"), ("mhexline", "line")]
    levels = [level_name(sign * level) for sign in (1, -1) for level in range(1, LEVELS + 1)]
    for name, key in [*names, *((f"mhex{level}", level) for level in levels)]:
        yield rf"\definecolor{{{name}}}{{HTML}}{{{colours[key][1:].upper()}}}"
    yield _MACROS
    if explanation.get("place") is not None:
        yield _PLACE
    if "covariance" in explanation:
        yield rf"\definecolor{{mhexmute}}{{HTML}}{{{colours['mute'][1:].upper()}}}"
        yield _UNSETTLED
    yield r"\parindent=0pt \parskip=0pt \rightskip=0pt plus1fil"
    yield r"\baselineskip=1.6em \lineskiplimit=-10em"


def _head(summary: Summary) -> str:
    answers = [rf"\textbf{{{_name(label)}}} {escape(value)}".strip() for label, value in summary.answers]
    if summary.target or summary.foil:
        foil = rf" rather than \textbf{{{_name(summary.foil)}}}" if summary.foil else ""
        answers.append(rf"scores for \textbf{{{_name(summary.target or '')}}}{foil}")
    return r"\leavevmode " + r"\quad ".join(answers) + r"\par"


def _scale(full: float, sides: tuple[str, str]) -> str:
    """The levels, between the score of full colour on either side."""
    number, (up, down) = plain(full), sides
    against = "".join(rf"\mhexn{{{level}}}{{\enspace}}" for level in range(LEVELS, 0, -3))
    in_favour = "".join(rf"\mhexp{{{level}}}{{\enspace}}" for level in range(1, LEVELS + 1, 3))
    return rf"\leavevmode{{\footnotesize {down} $-${number} {against}{in_favour} $+${number} {up}}}\par"


def _errors(drawn: Highlight, legend: tuple[str, str]) -> str:
    """The strongest words with their errors, and what these are."""
    number = number_format(drawn.scores)
    words = [
        rf"{_name(word.text)} ${_math(number(word.score, word.error))}${_mark(word)}"
        for word in drawn.strongest(_STRONGEST)
    ]
    errors, mark = (part.replace("|score|", "$|$score$|$").replace("\u00b1", r"$\pm$") for part in legend)
    explained = rf"{errors}; \mhexunsettled{{}} {mark}"
    return rf"\leavevmode{{\footnotesize {', '.join(words)}" + "\n" + rf"({explained})}}\par"


def _math(number: str) -> str:
    return number.replace("\u00b1", r"\pm")


def _mark(word: Segment) -> str:
    return r"\mhexunsettled{}" if word.unsettled else ""


def _text(segments: Sequence[Segment]) -> str:
    """One paragraph for each line of the text."""
    marks = {owner: _mark(segment) for owner, segment in enumerate(segments) if segment.marked}
    return "\n".join(rf"\leavevmode {_line(clusters, marks)}\par" for clusters in split_lines(segments))


def _name(text: str) -> str:
    """A label, which may be longer than a line."""
    [clusters] = split_lines([Segment(BREAKS.sub(" ", text), 0, len(text), None, 0)])
    return _line(clusters)


def _line(clusters: Sequence[tuple[str, int, int]], marks: Mapping[int, str] = MappingProxyType({})) -> str:
    """Characters of one line, with the places where TeX may break it, and line breaks in the source.

    `marks` stand after the words of some segments.
    """
    written, column = "", 0
    at = since = 0  # since: characters since a line could end
    while at < len(clusters):
        text, owner, level = clusters[at]
        before = clusters[at - 1][0] if since else " "
        if not is_space(before) and (may_break(before, text) or since >= _LONGEST):
            written, since = written + r"\mhexbreak{}", 0
        end = at + 1
        if is_space(text):
            inside = 0 < at < len(clusters) - 1 and not any(is_space(clusters[at + step][0]) for step in (-1, 1))
            if text == " " and inside and len(written) - column > _SOURCE_WIDTH:
                written, column = written + "\n", len(written)
            else:
                written += " " if text == " " and inside else _SPACES.get(text, text)
            since = 0
        elif level:
            while end < len(clusters) and clusters[end][1] == owner and end - at < _LONGEST:
                end += 1
            inner = escape("".join(cluster for cluster, _, _ in clusters[at:end]))
            boxed = "".join(_SPACES.get(character, character) for character in inner)
            name = level_name(level)
            box = r"\mhexplace" if level == PLACE else rf"\mhex{name[0]}{{{name[1:]}}}"
            written, since = written + rf"{box}{{{boxed}}}", since + end - at
            if end == len(clusters) or clusters[end][1] != owner:
                written += marks.get(owner, "")
        else:
            ligature = _LIGATURES.match(written[-1:] + text[0])
            written, since = written + ("{}" if ligature else "") + escape(text), since + 1
        at = end
    return written
