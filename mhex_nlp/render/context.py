# SPDX-License-Identifier: Apache-2.0
"""What parts of an answer rest on, of all that a language model read: a page, a notebook fragment, words for both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .controls import beginning_of
from .errors import DEVIATION, NOT_SETTLED, is_settled
from .highlight import to_levels
from .html import fill_fragment, fill_page
from .numbers import plain
from .picks import Tone, group_name, pick_rules
from .summary import model_name, number_format

SCHEMA = "mhex-context/1.0"
LINKS = 3  # the strongest units named beside each part of an answer
_PANEL = 5  # those in the panel of what is picked
_PICKABLE = 200  # units; of more, only the parts of the answer are picked
_CELLS = 6_000  # of the table of all scores, at most
_SHORT = 90  # characters of a unit or part where it is named
_SHEETS = ("places.css", "context.css")
_PRIORS = {"attention": "the mean of the model's attention", "fit": "a fit", "none": "no prior"}
_PLURALS = {"sentence": "sentences", "word": "words", "token": "tokens"}


@dataclass(frozen=True)
class Link:
    """What one unit adds to the log-probability of one part of the answer, in nats."""

    unit: int
    span: int
    score: float
    error: float | None
    level: int  # on the scale of its part of the answer
    number: str

    @property
    def unsettled(self) -> bool:
        """Whether its sign is not settled."""
        return not is_settled(self.score, self.error)

    @property
    def marked(self) -> bool:
        """Whether a display that draws its sign must say that it is not settled."""
        return self.level != 0 and self.unsettled


@dataclass(frozen=True)
class Context:
    """A checked document: its links by part of the answer, and by unit."""

    document: Mapping[str, Any]
    by_span: tuple[tuple[Link, ...], ...]

    @property
    def units(self) -> Sequence[Mapping[str, Any]]:
        """The parts of the prompt that have scores."""
        units: Sequence[Mapping[str, Any]] = self.document["units"]
        return units

    @property
    def spans(self) -> Sequence[Mapping[str, Any]]:
        """The parts of the answer."""
        spans: Sequence[Mapping[str, Any]] = self.document["spans"]
        return spans

    def of_unit(self, unit: int) -> list[Link]:
        """The links of one unit, one a part of the answer."""
        return [links[unit] for links in self.by_span]


def strongest(links: Sequence[Link], count: int) -> list[Link]:
    """Those with the largest magnitudes above 0; ties in reading order."""
    return sorted((link for link in links if link.score), key=lambda link: -abs(link.score))[:count]


def read_context(document: Mapping[str, Any]) -> Context:
    """The links of a document (JSON form). Raises ValueError where it is malformed."""
    schema = document.get("schema")
    if schema != SCHEMA:
        raise ValueError(f"document has schema {schema!r}, expected {SCHEMA!r}.")
    missing = [key for key in ("prompt", "continuation", "units", "spans", "budget", "passes") if key not in document]
    if missing:
        raise ValueError(f"document lacks {', '.join(missing)}; expected the full {SCHEMA} form.")
    for name, whole in (("units", document["prompt"]), ("spans", document["continuation"])):
        reached = 0
        for index, part in enumerate(document[name]):
            if not reached <= part["start"] <= part["end"] <= len(whole):
                raise ValueError(
                    f"{name}[{index}] spans [{part['start']}, {part['end']}), expected one after the last."
                )
            reached = part["end"]
    count = len(document["units"])
    rows = []
    for index, span in enumerate(document["spans"]):
        errors = span["errors"] if span["errors"] is not None else [None] * count
        if len(span["scores"]) != count or len(errors) != count:
            raise ValueError(f"spans[{index}] has {len(span['scores'])} scores, expected {count}, one a unit.")
        if not all(map(math.isfinite, (*span["scores"], *(error or 0.0 for error in errors)))):
            raise ValueError(f"spans[{index}] has a score or an error that is not a finite number.")
        number = number_format(span["scores"])
        cells = zip(span["scores"], errors, to_levels(span["scores"]), strict=True)
        rows.append(tuple(Link(unit, index, *cell, number(*cell[:2])) for unit, cell in enumerate(cells)))
    return Context(document, tuple(rows))


def render_context_page(document: Mapping[str, Any], *, title: str = "What the answer rests on") -> str:
    """One HTML page: no request, no script, its style allowed by hash.

    Picking a part of the answer colours what it rests on in the prompt; picking a part of the prompt colours what rests
    on it in the answer. Raises ValueError on a malformed document.
    """
    card = _card(read_context(document), "g0")
    legend = legend_of(card["context"])
    return fill_page("context_page.html.j2", *_SHEETS, title=title, card=card, rules=card["rules"], of_errors=legend)


def render_context_fragment(document: Mapping[str, Any]) -> str:
    """The same for notebooks: a `<div class="mhex">` with its own style and no script."""
    card = _card(read_context(document), group_name(document))
    legend = legend_of(card["context"])
    return fill_fragment("context_fragment.html.j2", *_SHEETS, card=card, rules=card["rules"], of_errors=legend)


def describe_budget(document: Mapping[str, Any]) -> str:
    """How the scores came about, in sentences."""
    prior = document.get("prior", "none")
    prior = _PRIORS.get(prior, prior)
    if not document["budget"]:
        return f"No ablation was run (budget 0): the scores are the prior alone, {prior}. None of them was measured."
    start = "" if prior == _PRIORS["none"] else f", starting from {prior}"
    sentences = (
        f"Scores say what each {kind_of(document)} adds to the log-probability, in nats: estimated from "
        f"{document['budget']:,} ablations, with {document['passes']:,} passes of the model in all{start}."
    )
    held_out = [span["lds"] for span in document["spans"] if span["lds"] is not None]
    if held_out:
        least, most = f"{min(held_out):.2f}", f"{max(held_out):.2f}"
        lds = least if least == most else f"{least} to {most}"
        sentences += (
            f" On ablations that were held out, they rank what the model says with a correlation (LDS) of {lds}."
        )
    return sentences


def kind_of(document: Mapping[str, Any], plural: bool = False) -> str:
    """What the units are."""
    kinds = {unit["kind"] for unit in document["units"]}
    kind = str(kinds.pop()) if len(kinds) == 1 else "part"
    return _PLURALS.get(kind, f"{kind}s") if plural else kind


def count_parts(document: Mapping[str, Any]) -> str:
    """How much of the answer rests on how much."""
    spans, units = len(document["spans"]), len(document["units"])
    parts = "1 part" if spans == 1 else f"{spans:,} parts"
    return f"{parts} of the answer, {units:,} {kind_of(document, units != 1)} of context"


def span_facts(span: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of one part of the answer as a whole."""
    facts = [("log-probability", plain(span["log_probability"]))]
    if span["empty_log_probability"] is not None:
        facts.append(("without the context", plain(span["empty_log_probability"])))
    if span["lds"] is not None:
        facts.append(("held-out LDS", f"{span['lds']:.2f}"))
    return facts


def shortened(text: str) -> str:
    """The beginning of a text on one line."""
    return beginning_of(text, _SHORT)


def legend_of(context: Context) -> tuple[str, str] | None:
    """What errors are and what the mark of a score says; None where there is no error."""
    if all(span["errors"] is None for span in context.spans):
        return None
    return DEVIATION, NOT_SETTLED


def _card(context: Context, group: str) -> dict[str, Any]:
    document, spans, units = context.document, context.spans, context.units
    both_ways = len(spans) > 1 and len(units) <= _PICKABLE
    picks = [_tones(links, range(len(spans), len(spans) + len(units))) for links in context.by_span]
    panels = [_span_panel(context, index) for index in range(len(spans))]
    if both_ways:
        of_units = [context.of_unit(unit) for unit in range(len(units))]
        picks += [_tones(links, range(len(spans))) for links in of_units]
        panels += [_unit_panel(context, unit) for unit in range(len(units))]
    return {
        "context": context,
        "id": document.get("id", ""),
        "group": group,
        "title": count_parts(document),
        "written": "The model wrote this answer." if document.get("generated") else "This answer was given.",
        "answer": _parts(document["continuation"], spans, 0, [f"A{n + 1}" for n in range(len(spans))], True),
        "prompt": _parts(
            document["prompt"],
            units,
            len(spans),
            [str(n + 1) if kind_of(document) == "sentence" else "" for n in range(len(units))],
            both_ways,
            [_title(context, unit) for unit in range(len(units))],
        ),
        "both_ways": both_ways,
        "kinds": kind_of(document, True),
        "panels": panels,
        "matrix": _matrix(context),
        "about": describe_budget(document),
        "model": model_name(document["model"]),
        "library": document.get("library", ""),
        "notes": document.get("notes", ()),
        "rules": pick_rules(group, picks),
    }


def _tones(links: Sequence[Link], atoms: Any) -> dict[int, Tone]:
    return {atom: (link.level, link.marked) for atom, link in zip(atoms, links, strict=True)}


def _parts(
    text: str,
    places: Sequence[Mapping[str, Any]],
    first: int,
    names: Sequence[str],
    pickable: bool,
    titles: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """A text in parts: places with their number, counted from `first`, and what lies between them."""
    parts: list[dict[str, Any]] = []
    reached = 0
    for index, place in enumerate(places):
        parts.append({"text": text[reached : place["start"]], "number": None})
        parts.append(
            {
                "text": text[place["start"] : place["end"]],
                "number": first + index,
                "name": names[index],
                "pick": pickable,
                "title": titles[index] if titles else "",
            }
        )
        reached = place["end"]
    parts.append({"text": text[reached:], "number": None})
    return [part for part in parts if part["text"]]


def _title(context: Context, unit: int) -> str:
    return ", ".join(f"A{link.span + 1} {link.number}" for link in context.of_unit(unit)).replace("-", "\u2212")


def _span_panel(context: Context, index: int) -> dict[str, Any]:
    span = context.spans[index]
    links = strongest(context.by_span[index], _PANEL)
    return {
        "name": f"A{index + 1}",
        "text": shortened(span["text"]),
        "facts": span_facts(span),
        "says": "rests on",
        "links": [(link, str(link.unit + 1), shortened(context.units[link.unit]["text"])) for link in links],
        "row": [(link, str(link.unit + 1), shortened(context.units[link.unit]["text"])) for link in links[:LINKS]],
    }


def _unit_panel(context: Context, unit: int) -> dict[str, Any]:
    links = strongest(context.of_unit(unit), _PANEL)
    return {
        "name": str(unit + 1),
        "text": shortened(context.units[unit]["text"]),
        "facts": [],
        "says": "feeds",
        "links": [(link, f"A{link.span + 1}", shortened(context.spans[link.span]["text"])) for link in links],
    }


def _matrix(context: Context) -> dict[str, Any]:
    """The table of all scores, or of the units with the largest where there are too many, in reading order."""
    count = max(1, _CELLS // max(1, len(context.spans)))
    units = range(len(context.units))
    largest = sorted(units, key=lambda unit: -max((abs(link.level) for link in context.of_unit(unit)), default=0))
    kept = sorted(largest[:count])
    return {
        "rows": [(unit + 1, shortened(context.units[unit]["text"]), context.of_unit(unit)) for unit in kept],
        "left_out": len(units) - len(kept),
    }
