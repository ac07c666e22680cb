# SPDX-License-Identifier: Apache-2.0
"""Explanations on a terminal: coloured words where colours are, marked words where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from .controls import printable
from .errors import MARK, error_legend
from .highlight import Segment, highlight
from .numbers import plain
from .palette import level_name, light_palette
from .plain_words import as_text, plain_words
from .summary import number_format, summarise

Part = str | tuple[str, str | Style]  # text, and its style
MARKED_FROM = 4  # without colour, units from this |level| on carry their score
_STRONGEST = 5  # words whose scores with errors stand under a coloured text


def render_terminal(
    explanation: dict[str, Any], console: Console | None = None, *, unit: str = "words", scale: float | None = None
) -> None:
    """Print one explanation (JSON form): prediction, highlighted text, scale, notes.

    Positive words are bold, negative ones underlined, whatever the colours; without colours (`NO_COLOR`, a
    pipe) the stronger words carry their score, as in `superb[+0.81]`, or with its error `superb[+0.81 ± 0.11]`. A word
    whose sign is not settled carries `[?]`, or is plain where it is weak. `scale` is the |score| of full colour, by
    default the text's own (`ink.py`). Raises ValueError on a malformed explanation.
    """
    console = console or Console()
    show, system = printer(console), color_system(console)
    drawn = highlight(explanation, unit=unit, scale=scale)
    summary = summarise(explanation, drawn)
    number = number_format(drawn.scores)
    of_errors = error_legend([explanation])
    answers = ", ".join(f"{label} {value}".strip() for label, value in summary.answers)
    target = f" \u00b7 scores for {summary.target}" if summary.target or summary.foil else ""
    foil = f" rather than {summary.foil}" if summary.foil else ""
    show((answers, "bold"), target + foil)
    for line in drawn.lines:
        show(*line_parts(line, number, system))
    if sentences := plain_words(explanation, drawn, beside_notes=True):
        show(as_text(sentences))
    if of_errors and system is not None:
        strongest = drawn.strongest(_STRONGEST)
        words = [f"{word.text} {number(word.score, word.error)}{MARK * word.unsettled}" for word in strongest]
        show(("strongest: ", "dim"), ", ".join(words))
    show(*scale_parts(system, summary.sides, drawn.full))
    if of_errors:
        show((f"{of_errors[0]}; {MARK}: {of_errors[1]}", "dim"))
    show((" \u00b7 ".join(f"{name} {value}" for name, value in summary.facts), "dim"))
    show((f"{summary.explained} {summary.model}", "dim"))
    for note in summary.notes:
        show(("note: ", "bold"), note)


def printer(console: Console) -> Callable[..., None]:
    """Prints a line of parts, without what could command the terminal."""

    def show(*parts: Part) -> None:
        line = Text(overflow="fold")
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(printable(text, console.encoding), style)
        console.print(line, highlight=False, soft_wrap=False)

    return show


def color_system(console: Console) -> str | None:
    """The colours of a terminal, none where it has none or wants none."""
    return None if console.no_color else console.color_system


def line_parts(line: Sequence[Segment], number: Callable[..., str], system: str | None) -> list[Part]:
    """A text, in colours or marks."""
    return [_part(segment, number, system) for segment in line] or [("(no text)", "dim")]


def scale_parts(
    system: str | None, sides: tuple[str, str] = ("for", "against"), full: float = 0.0, marks: str | None = None
) -> list[Part]:
    """What colours mean, and the score at which they are full; or marks, those of words by default."""
    up, down = sides
    if system is None:
        does = "speaks for it, [-] against it" if up == "for" else f"{up} it, [-] {down} it"
        return [(f"scale: {marks or f'[+] {does}; the strongest words are marked'}", "dim")]
    parts: list[Part] = [("scale: ", "dim"), (up, level_style(8, system)), " ", (down, level_style(-8, system)), " "]
    return [*parts, (f"full colour at \u00b1{plain(full)}", "dim")] if full else parts


def _part(segment: Segment, number: Callable[..., str], system: str | None) -> Part:
    strong = abs(segment.level) >= MARKED_FROM
    if segment.place is not None:
        return f"[{segment.text}|{segment.place}]", Style(bold=True)
    if segment.score is None or segment.level == 0 or segment.unsettled and not strong:
        return segment.text  # which says nothing of a sign
    score = f"[{number(segment.score, segment.error)}]" if system is None and strong else ""
    return segment.text + score + MARK * segment.marked, level_style(segment.level, system)


def level_style(level: int, system: str | None) -> Style:
    """The style of a level, which tells its sign without colours as well."""
    sign = Style(bold=level > 0, underline=level < 0)
    if system is None:
        return sign
    if system in ("standard", "windows"):
        # Sixteen colours are too few for a scale: the stronger words alone, in two that black is readable on.
        if abs(level) < MARKED_FROM:
            return sign
        return sign + Style(color="black", bgcolor="bright_cyan" if level > 0 else "bright_yellow")
    # The light scale has its own text colour, so it is readable on any terminal background.
    palette = light_palette()
    return sign + Style(color=palette["fg"], bgcolor=palette[level_name(level)])
