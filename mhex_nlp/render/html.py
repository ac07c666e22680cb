# SPDX-License-Identifier: Apache-2.0
"""Explanations as one self-contained HTML page, or as a fragment for notebooks."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .controls import DIRECTIONS, REPLACEMENT, UNHOLDABLE
from .highlight import find_units, highlight, layer_sums, to_levels, unit_scores
from .palette import level_name
from .summary import number_format, percent, summarise

CLASSES_SHOWN = 12
WORDS_PER_CLASS = 3
_BAR_STEP, _BAR_WIDTH, _BARS_HEIGHT = 24, 14, 60  # SVG units of the layer strip


def render_page(
    explanations: Iterable[dict[str, Any]], *, title: str = "Highlighted texts", unit: str = "words"
) -> str:
    """One HTML page of all `explanations` (JSON form): no request, its style and script allowed by hash.

    The script tells of the word that is pointed at or reached by keyboard; without it, titles do.

    `unit` is "words" or "tokens". Raises ValueError on a malformed explanation or a non-finite score.
    """
    cards = [_card(explanation, unit) for explanation in explanations]
    return fill_page("page.html.j2", title=title, script="words.js", cards=cards)


def fill_page(template: str, *styles: str, title: str, script: str | None = None, **values: Any) -> str:
    """A page of `templates`, made of values alone; `styles` are sheets beside those of every page.

    `script` is one file of `templates`, which stands at the end of the page and is allowed by its hash.
    """
    style = _style("highlight.css", "page.css", *styles)
    code = None if script is None else _script(script)
    page = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            style=Markup(style),
            style_hash=_csp_hash(style),
            script=None if code is None else Markup(code),
            script_hash=None if code is None else _csp_hash(code),
            **values,
        )
    )
    return _holdable(page)


def render_fragment(explanation: dict[str, Any], *, unit: str = "words") -> str:
    """A `<div class="mhex">` for notebooks, with its own style scoped under that class and no script."""
    return fill_fragment("fragment.html.j2", card=_card(explanation, unit))


def fill_fragment(template: str, *styles: str, **values: Any) -> str:
    """As `fill_page`, for what stands in a notebook: its sheets besides `styles` are those of every fragment."""
    style = Markup(_style("highlight.css", "notebook.css", *styles))
    return _holdable(_environment().get_template(template).render(style=style, **values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mhex_nlp.render"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_bidi_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` itself sees to it that nothing in a script element can end it
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    environment.filters["tone"] = _tone
    environment.filters["minus"] = lambda number: number.replace("-", "\u2212")
    return environment


@cache
def _style(*names: str) -> str:
    """The style sheets joined, without comments and spare white space."""
    folder = resources.files("mhex_nlp.render") / "templates"
    css = "".join((folder / name).read_text(encoding="utf-8") for name in names)
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"\s+", " ", css)
    return re.sub(r" ?([{};,]) ?", r"\1", css).replace(": ", ":").replace(";}", "}").strip()


@cache
def _script(name: str) -> str:
    """A script without its comment lines and indentation."""
    code = (resources.files("mhex_nlp.render") / "templates" / name).read_text(encoding="utf-8")
    lines = [line.strip() for line in code.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _csp_hash(style: str) -> str:
    # Markup: base64 may hold "+", which escaping leaves, and nothing that HTML reads.
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _holdable(html: str) -> str:
    # A bare return would become a newline in the parser; as a reference it stays one code point of the text.
    return UNHOLDABLE.sub(REPLACEMENT, html).replace("\r", "&#13;")


def _without_bidi_controls(value: Any) -> Any:
    # A stray U+2069 closes the isolation that <bdi> opens, so values other than the text itself go without these.
    if isinstance(value, str) and not isinstance(value, Markup):
        return DIRECTIONS.sub(REPLACEMENT, value)
    return value


def _tone(level: int) -> str:
    """Class of a level: p1..p10 for, n1..n10 against, z0 neither."""
    return level_name(level) if level else "z0"


def _card(explanation: Mapping[str, Any], unit: str) -> dict[str, Any]:
    drawn = highlight(explanation, unit=unit)
    tokens = explanation["tokens"]
    scores = [segment.score for line in drawn.lines for segment in line if segment.score is not None]
    number = number_format([*scores, *(token["score"] for token in tokens)])
    return {
        "id": explanation.get("id", ""),
        "lines": drawn.lines,
        "summary": summarise(explanation, drawn.special_share, drawn.hidden_share),
        "target": explanation["target"]["label"],
        "number": number,
        "tokens": [
            {"piece": token["piece"], "span": _span(token), "score": number(token["score"])} for token in tokens
        ],
        "layers": _layers(layer_sums(explanation)),
        "library": explanation.get("library", ""),
        **_classes(explanation, unit),
    }


def _span(token: Mapping[str, Any]) -> str:
    if token["start"] is None:
        return "special" if token["special"] else "\u2013"
    text = "pair " if token["sequence"] == 1 else ""
    return f"{text}{token['start']}\u2013{token['end']}"


def _layers(sums: list[tuple[float, float]]) -> dict[str, Any] | None:
    """Geometry of the layer strip: one bar up and one down per depth, around a common zero line."""
    if not sums:
        return None
    number = number_format(score for pair in sums for score in pair)
    highest, lowest = max(up for up, _ in sums), min(down for _, down in sums)
    # Divided by the larger first: their difference may be beyond what a float holds.
    largest = max(highest, -lowest) or 1.0
    height = _BARS_HEIGHT / (highest / largest - lowest / largest or 1.0)
    zero = round(2 + highest / largest * height, 1)
    bars = []
    for depth, (up, down) in enumerate(sums):
        left = depth * _BAR_STEP + (_BAR_STEP - _BAR_WIDTH) // 2
        shape = f"M{left} {zero}h{_BAR_WIDTH}v{{:.1f}}h-{_BAR_WIDTH}z"
        bars.append(
            {
                "up": number(up).replace("-", "\u2212"),
                "down": number(down).replace("-", "\u2212"),
                "up_path": shape.format(-up / largest * height),
                "down_path": shape.format(-down / largest * height),
                "middle": depth * _BAR_STEP + _BAR_STEP // 2,
                "named": len(sums) <= 12 or depth in (0, len(sums) - 1),
            }
        )
    return {"bars": bars, "zero": zero, "width": len(sums) * _BAR_STEP}


def _classes(explanation: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Rows of the class table, highest sum first; one scale of levels for all classes."""
    labels = explanation.get("classes")
    if not labels:
        return {"classes": None, "more_classes": 0}
    tokens = explanation["tokens"]
    texts = (explanation["text"], explanation["text_pair"] or "")
    units = find_units(explanation, unit)
    per_class = [unit_scores(units, [token["scores"][index] for token in tokens]) for index in range(len(labels))]
    sums = [sum(token["scores"][index] for token in tokens) for index in range(len(labels))]
    largest = max((abs(score) for scores in per_class for score in scores), default=0.0)
    number = number_format([largest, *sums])
    probabilities = explanation["prediction"].get("probabilities") or {}
    rows = []
    for index in sorted(range(len(labels)), key=lambda i: -sums[i])[:CLASSES_SHOWN]:
        scores = per_class[index]
        best = sorted((i for i in range(len(units)) if scores[i] > 0), key=lambda i: -scores[i])[:WORDS_PER_CLASS]
        levels = to_levels(scores, largest)
        label = labels[index]
        words = [
            {
                "text": texts[units[i].sequence][units[i].start : units[i].end],
                "level": levels[i],
                "score": number(scores[i]),
            }
            for i in best
        ]
        share = percent(probabilities[label]) if label in probabilities else ""
        rows.append({"label": label, "probability": share, "sum": number(sums[index]), "words": words})
    return {"classes": rows, "more_classes": len(labels) - len(rows)}
