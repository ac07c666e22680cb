# SPDX-License-Identifier: Apache-2.0
"""One page over a data set: entities by type with the words that decide them, and mistakes against gold tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from .corpus_pages import addresses_beside
from .errors import is_settled
from .highlight import to_levels
from .html import fill_page
from .judged import describe_fit, describe_judgement
from .summary import explained, model_name, number_format, percent

_NONE = "no entity"


def render_entity_report(report: Mapping[str, Any], pages: Sequence[str] = (), *, title: str = "Entities") -> str:
    """One HTML page, without a script: counts, confusions, words for and against each type, mistakes.

    Args:
        report: `texts`, `entities`, `without`, `truncated`, `windowed` and perhaps `errors`, counts; `gold`, None or
            `texts`, `entities`, `precision`, `recall`, `f1`; `confusion` of gold types against predicted ones, "" for
            no entity; `types`, each with `entities`, `own` and `rest` (mean scores) and the words `for`, `against`
            and `own_words`; `mistakes` and `mistakes_counted`; `model`, `method`, `passes`, perhaps `judgement`.
        pages: file names of pages beside it, which `examples` of words and mistakes refer to by number.
        title: of the page.
    """
    addresses = addresses_beside(pages)
    types, mistakes = report["types"], report["mistakes"]
    words = [word for sides in types.values() for side in ("for", "against", "own_words") for word in sides[side]]
    counted = sorted(report["mistakes_counted"].items())
    method = report["method"]
    told_apart = dict.fromkeys(("skill", "absolute_skill", "r2"))
    return fill_page(
        "entity_report.html.j2",
        "summary.css",
        "errors.css",
        "places.css",
        "entity_report.css",
        title=title,
        about=explained({**method, **told_apart}, report["passes"]),
        trust=describe_judgement(report["judgement"]) if report.get("judgement") else describe_fit(method),
        model=model_name(report["model"]),
        facts=_facts(report),
        **_confusion(report["confusion"], list(types)),
        types=types,
        with_errors=any("error" in word for word in words),
        number=number_format(value for word in words for value in (word["sum"], word["mean"])),
        mean=number_format(value for sides in types.values() for value in (sides["own"], sides["rest"])),
        mistakes=[_mistake(mistake, [address for _, address in addresses]) for mistake in mistakes],
        counted=counted,
        listed=f"{len(mistakes):,}" if len(mistakes) < sum(count for _, count in counted) else None,
        pages=addresses,
        addresses=[address for _, address in addresses],
    )


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "texts": "texts",
        "entities": "entities explained",
        "without": "texts without an entity",
        "errors": "not explained",
        "truncated": "cut at the model's length",
        "windowed": "read in windows",
    }
    facts = [(title, f"{report[name]:,}") for name, title in names.items() if name in report]
    gold = report["gold"]
    if gold is not None:
        facts += [(name, percent(gold[name])) for name in ("precision", "recall")]
        facts.append(("F1", f"{percent(gold['f1'])} of {gold['entities']:,} tagged in {gold['texts']:,} texts"))
    return facts


def _confusion(confusion: Mapping[str, Mapping[str, int]], types: Sequence[str]) -> dict[str, Any]:
    """Rows and columns in the order of the types, then those that no explanation has, and last what is no entity."""
    labels = {label for gold, row in confusion.items() for label in (gold, *row)}
    order = [*types, *sorted(labels - {*types, ""}), ""]
    columns = {label: label or _NONE for label in order}
    rows = [
        (columns[gold], {columns[label]: count for label, count in confusion[gold].items()})
        for gold in order
        if gold in confusion
    ]
    return {"confusion": rows, "columns": list(columns.values())}


def _mistake(mistake: Mapping[str, Any], addresses: Sequence[Markup]) -> dict[str, Any]:
    text, start, end = mistake["text"], mistake["start"], mistake["end"]
    if not 0 <= start <= end <= len(text):
        raise ValueError(f"a mistake spans [{start}, {end}), expected a span of its text of {len(text)} characters.")
    scores = [word["score"] for word in mistake["words"]]
    number = number_format(scores)
    page = mistake.get("page")
    return {
        "kind": mistake["kind"],
        "gold": mistake["gold"],
        "predicted": mistake["predicted"],
        "tag": mistake["predicted"] or mistake["gold"],
        "before": text[:start],
        "inside": text[start:end],
        "after": text[end:],
        "number": mistake["number"],
        "address": None if page is None or not addresses else addresses[page] + f"#t{mistake['number']}",
        "words": [
            {
                "text": word["word"],
                "level": level,
                "number": number(word["score"], word.get("error")),
                "unsettled": bool(level) and not is_settled(word["score"], word.get("error")),
            }
            for word, level in zip(mistake["words"], to_levels(scores), strict=True)
        ],
    }
