# SPDX-License-Identifier: Apache-2.0
"""Explanations on a terminal: coloured words where colours are, marked words where they are not."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from .controls import without_controls
from .highlight import Segment, highlight
from .palette import level_name, light_palette
from .summary import number_format, summarise

MARKED_FROM = 4  # without colour, units from this |level| on carry their score

_BREAKS = re.compile("[\r\u2028\u2029]")


def render_terminal(explanation: dict[str, Any], console: Console | None = None, *, unit: str = "words") -> None:
    """Print one explanation (JSON form): prediction, highlighted text, legend, notes.

    Positive words are bold, negative ones underlined, whatever the colours; without colours (`NO_COLOR`, a
    pipe) the stronger words carry their score, as in `superb[+0.81]`. Raises ValueError on a malformed
    explanation.
    """
    console = console or Console()
    drawn = highlight(explanation, unit=unit)
    told = summarise(explanation, drawn.special_share, drawn.hidden_share)
    scores = [segment.score for line in drawn.lines for segment in line if segment.score is not None]
    number = number_format(scores)
    coloured = console.color_system is not None and not console.no_color

    def show(*parts: str | tuple[str, str | Style]) -> None:
        line = Text(overflow="fold")
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(printable(text, console.encoding), style)
        console.print(line, highlight=False, soft_wrap=False)

    answers = ", ".join(f"{label} {value}".strip() for label, value in told.answers)
    about = f" \u00b7 scores for {explanation['target']['label']}" if told.target or told.foil else ""
    against = f" rather than {told.foil}" if told.foil else ""
    show((answers, "bold"), (about + against, ""))
    for line in drawn.lines:
        show(*(_part(segment, number, console, coloured) for segment in line) if line else [("(no text)", "dim")])
    if coloured:
        example = [Segment(name, 0, 0, 0.0, level) for name, level in (("for", 8), ("against", -8))]
        show(("scale: ", "dim"), *_spaced([_part(segment, number, console, True) for segment in example]))
    else:
        show(("scale: [+] speaks for it, [-] against it; the strongest words are marked", "dim"))
    show((" \u00b7 ".join(f"{name} {value}" for name, value in told.facts), "dim"))
    show((f"{told.explained} {told.model}", "dim"))
    for note in told.notes:
        show(("note: ", "bold"), note)


def _part(segment: Segment, number: Any, console: Console, coloured: bool) -> str | tuple[str, str | Style]:
    if segment.score is None or segment.level == 0:
        return segment.text
    style = Style(bold=segment.level > 0, underline=segment.level < 0)
    if coloured:
        return segment.text, style + _colours(segment.level, console.color_system)
    mark = f"[{number(segment.score)}]" if abs(segment.level) >= MARKED_FROM else ""
    return segment.text + mark, style


def _colours(level: int, system: str | None) -> Style:
    if system in ("standard", "windows"):
        # Sixteen colours hold no scale: only the stronger words, in two colours that black is readable on.
        if abs(level) < MARKED_FROM:
            return Style()
        return Style(color="black", bgcolor="bright_cyan" if level > 0 else "bright_yellow")
    # The light scale with its own text colour reads on any terminal background.
    palette = light_palette()
    return Style(color=palette["fg"], bgcolor=palette[level_name(level)])


def _spaced(parts: list[str | tuple[str, str | Style]]) -> list[str | tuple[str, str | Style]]:
    return [item for part in parts for item in (part, " ")]


def printable(text: str, encoding: str) -> str:
    """`text` without what would steer the terminal, in characters that `encoding` has."""
    text = _BREAKS.sub(" ", without_controls(text))
    if encoding.lower().replace("-", "").startswith("utf"):
        return text
    return text.encode(encoding, "replace").decode(encoding)
