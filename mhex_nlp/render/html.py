# SPDX-License-Identifier: Apache-2.0
"""Explanations as one self-contained HTML page, or as a fragment for notebooks."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .controls import DIRECTIONS, REPLACEMENT, UNHOLDABLE
from .errors import error_legend
from .highlight import Highlight, depths_of, highlight, layer_sums, to_levels, unit_scores
from .ink import describe_scale
from .palette import level_name, read_template
from .plain_words import plain_words
from .summary import number_format, percent, sides_of, summarise

CLASSES_SHOWN = 12
WORDS_PER_CLASS = 3
# In notebooks our rules outweigh those of the host: each `:not` of two ids, which no element has, counts as two ids.
_ROOT, _HEAVY_ROOT = ".mhex", ".mhex:not(#i#i)"
_BAR_STEP, _BAR_WIDTH, _BARS_HEIGHT = 24, 14, 60  # SVG units of the layer strip


def render_page(
    explanations: Iterable[dict[str, Any]],
    *,
    title: str = "Highlighted texts",
    unit: str = "words",
    scale: float | None = None,
) -> str:
    """One HTML page of all `explanations` (JSON form): no request, its style and script allowed by hash.

    The script describes the word that is pointed at or reached by keyboard; without it, titles do.

    `unit` is "words" or "tokens", `scale` the |score| of full colour, by default each text's own (`ink.py`). Raises
    ValueError on a malformed explanation or a non-finite score.
    """
    documents = list(explanations)
    cards = [card_of(explanation, unit, scale) for explanation in documents]
    styles = sheets_of_places(documents)
    legend = error_legend(documents)
    reading = reading_of(documents, scale)
    return fill_page("page.html.j2", *styles, title=title, script="words.js", cards=cards, of_errors=legend, **reading)


def reading_of(explanations: Iterable[Mapping[str, Any]], scale: float | None = None) -> dict[str, Any]:
    """What a legend says of colours: what the two sides do, and which scale they have."""
    sides = {sides_of(explanation) for explanation in explanations}
    return {"values": sides == {("raises", "lowers")}, "scale": describe_scale(scale)}


def fill_page(
    template: str,
    *styles: str,
    title: str,
    rules: str = "",
    script: str | None = None,
    of_errors: tuple[str, str] | None = None,
    images: bool = False,
    **values: Any,
) -> str:
    """A page of `templates`, made of values alone; `styles` are sheets beside those of every page, `rules` further CSS.

    `of_errors` is the `error_legend` of its explanations; `script` is one file of `templates`, which stands at the end
    of the page and is allowed by its hash. With `images`, so are images that stand in the page as data.
    """
    style = _style("highlight.css", "page.css", *styles, *_sheets_of(of_errors)) + rules
    code = "" if script is None else _script(script)
    return _filled(
        template,
        title=title,
        style=Markup(style),
        style_hash=_csp_hash(style),
        script=Markup(code),
        script_hash=_csp_hash(code),
        of_errors=of_errors,
        images=images,
        **values,
    )


def render_fragment(
    *explanations: dict[str, Any], unit: str = "words", scale: float | None = None, more: int = 0
) -> str:
    """A `<div class="mhex">` for notebooks and pages, with its own style scoped under that class and no script.

    It has a card for each explanation, and says how many `more` there are; `unit` and `scale` as in `render_page`.
    """
    styles, legend = sheets_of_places(explanations), error_legend(explanations)
    cards, reading = [card_of(one, unit, scale) for one in explanations], reading_of(explanations, scale)
    return fill_fragment("fragment.html.j2", *styles, cards=cards, more=more, of_errors=legend, **reading)


def fill_fragment(
    template: str, *styles: str, rules: str = "", of_errors: tuple[str, str] | None = None, **values: Any
) -> str:
    """The same for notebooks. The host's style sheet stays out."""
    sheets = "reset.css", "highlight.css", "notebook.css", *styles, *_sheets_of(of_errors)
    style = (_style(*sheets) + rules).replace(_ROOT, _HEAVY_ROOT)
    return _filled(template, style=Markup(style), of_errors=of_errors, **values)


def sheets_of_places(explanations: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The sheet for places, where one is explained."""
    return ("places.css",) if any(explanation.get("place") for explanation in explanations) else ()


def _sheets_of(of_errors: tuple[str, str] | None) -> tuple[str, ...]:
    return () if of_errors is None else ("errors.css",)


def _filled(template: str, **values: Any) -> str:
    html = _environment().get_template(template).render(**values)
    # A bare return would become a newline in the parser; as a reference it stays one code point of the text.
    return UNHOLDABLE.sub(REPLACEMENT, html).replace("\r", "&#13;")


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
    # `tojson` escapes what could end a script element.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    environment.filters["tone"] = level_name
    environment.filters["thousands"] = "{:,}".format
    environment.filters["minus"] = lambda number: number.replace("-", "\u2212")
    return environment


@cache
def _style(*names: str) -> str:
    """The style sheets joined, without comments and spare white space."""
    css = "".join(read_template(name) for name in names)
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"\s+", " ", css)
    return re.sub(r" ?([{};,]) ?", r"\1", css).replace(": ", ":").replace(";}", "}").strip()


@cache
def _script(name: str) -> str:
    """A script without its comment lines and indentation."""
    lines = [line.strip() for line in read_template(name).splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _csp_hash(content: str) -> str:
    # Base64 may hold "+", which HTML escaping leaves, and no other character that it changes.
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _without_bidi_controls(value: Any) -> Any:
    # A stray U+2069 closes the isolation that <bdi> opens, so these are kept only in the text itself.
    if isinstance(value, str) and not isinstance(value, Markup):
        return DIRECTIONS.sub(REPLACEMENT, value)
    return value


def card_of(explanation: Mapping[str, Any], unit: str, scale: float | None = None) -> dict[str, Any]:
    """What the template of a card shows."""
    drawn = highlight(explanation, unit=unit, scale=scale)
    tokens, sums = explanation["tokens"], layer_sums(explanation)
    number = number_format([*drawn.scores, *(token["score"] for token in tokens)])
    return {
        "id": explanation.get("id", ""),
        "lines": drawn.lines,
        "captions": (),
        "summary": summarise(explanation, drawn),
        "plain": plain_words(explanation, drawn, beside_notes=True),
        "number": number,
        "tokens": [
            {"piece": token["piece"], "span": _span(token), "score": number(token["score"], token.get("error"))}
            for token in tokens
        ],
        "layers": layer_strip(sums, depths_of(explanation, len(sums))),
        "library": explanation.get("library", ""),
        **_classes(explanation, drawn),
    }


def _span(token: Mapping[str, Any]) -> str:
    if token["start"] is None:
        return "special" if token["special"] else "\u2013"
    text = "pair " if token["sequence"] == 1 else ""
    return f"{text}{token['start']}\u2013{token['end']}"


def layer_strip(sums: list[tuple[float, float]], depths: Sequence[int] = ()) -> dict[str, Any] | None:
    """Geometry of the layer strip: one bar up and one down per depth, around a common zero line."""
    if not sums:
        return None
    number = number_format(score for pair in sums for score in pair)
    highest, lowest = max(up for up, _ in sums), min(down for _, down in sums)
    # Divided by the larger first: their difference may be beyond what a float holds.
    largest = max(highest, -lowest) or 1.0
    height = _BARS_HEIGHT / (highest / largest - lowest / largest or 1.0)
    zero = round(2 + highest / largest * height, 1)

    def bar(index: int, score: float) -> str:
        left = index * _BAR_STEP + (_BAR_STEP - _BAR_WIDTH) // 2
        return f"M{left} {zero}h{_BAR_WIDTH}v{-score / largest * height:.1f}h-{_BAR_WIDTH}z"

    bars = [
        {
            "depth": depths[index] if depths else index + 1,
            "up": number(up),
            "down": number(down),
            "up_path": bar(index, up),
            "down_path": bar(index, down),
            "middle": index * _BAR_STEP + _BAR_STEP // 2,
            "named": len(sums) <= 12 or index in (0, len(sums) - 1),
        }
        for index, (up, down) in enumerate(sums)
    ]
    return {"bars": bars, "zero": zero, "width": len(sums) * _BAR_STEP}


def _classes(explanation: Mapping[str, Any], drawn: Highlight) -> dict[str, Any]:
    """Rows of the class table, highest sum first; one scale of levels for all classes."""
    labels = explanation.get("classes")
    if not labels:
        return {"classes": None, "more_classes": 0}
    units = drawn.segments
    per_class = [[token["scores"][index] for token in explanation["tokens"]] for index in range(len(labels))]
    sums = [sum(scores) for scores in per_class]
    scores_of_units = [unit_scores(units, scores) for scores in per_class]
    largest = max((abs(score) for scores in scores_of_units for score in scores), default=0.0)
    number, full = number_format([largest, *sums]), max(largest, drawn.full)
    probabilities = explanation["prediction"].get("probabilities") or {}
    rows = []
    for index in sorted(range(len(labels)), key=lambda i: -sums[i])[:CLASSES_SHOWN]:
        scores, label = scores_of_units[index], labels[index]
        scored = sorted(zip(units, scores, to_levels(scores, full), strict=True), key=lambda item: -item[1])
        rows.append(
            {
                "label": label,
                "probability": percent(probabilities[label]) if label in probabilities else "",
                "sum": number(sums[index]),
                "words": [
                    {"text": unit.text, "level": level, "score": number(score)}
                    for unit, score, level in scored[:WORDS_PER_CLASS]
                    if score > 0
                ],
            }
        )
    return {"classes": rows, "more_classes": len(labels) - len(rows)}
