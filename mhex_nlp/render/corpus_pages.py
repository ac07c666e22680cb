# SPDX-License-Identifier: Apache-2.0
"""Pages over a whole corpus: counts and words, a report's index with filters, and its lean pages of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from .controls import beginning_of, without_controls
from .errors import error_legend
from .highlight import highlight
from .html import fill_page, reading_of
from .judged import describe_fit, describe_judgement
from .plain_words import plain_words
from .report_answers import AnswerView, of_errors, slice_numbers, slice_options
from .summary import explained, model_name, number_format, percent, summarise

_SHOWN = 200  # characters of a training text
_RIGHT_VALUES = 30  # of a regression, by which its texts can be filtered
_LINKED = 30  # pages of a group that the index has links to, beside the last


def render_summary(summary: Mapping[str, Any], pages: Sequence[str] = (), *, title: str = "Highlighted texts") -> str:
    """One page: counts, words for and against each class, errors against labels, links to the pages of texts.

    Args:
        summary: as in `summary.json` of a highlight job.
        pages: file names of pages beside it.
        title: of the page.
    """
    trust = describe_judgement(summary["judgement"]) if "judgement" in summary else ()
    view = _summary_view(summary)
    return fill_page("summary.html.j2", *_sheets(view), title=title, pages=addresses_beside(pages), trust=trust, **view)


def addresses_beside(names: Sequence[str]) -> list[tuple[str, Markup]]:
    """Names of files beside a page with their addresses. A name stays a name: it holds no scheme, host or folder."""
    return [(name, Markup(quote(name, safe="", errors="surrogatepass"))) for name in names]


def _summary_view(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of a summary."""
    words = [word for sides in summary["classes"].values() for side in ("for", "against") for word in sides[side]]
    return {
        "facts": _facts(summary),
        "with_errors": any("error" in word for word in words),
        "classes": summary["classes"],
        "number": number_format(value for word in words for value in (word["sum"], word["mean"])),
        "confusion": ordered_confusion(summary),
        "cells": {},
        "example_pages": (),
    }


def ordered_confusion(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    """Rows in the order of the columns, so that right answers stand on the diagonal; then labels that no class has."""
    labels = list(summary["classes"])
    rows = summary["confusion"].items()
    return sorted(rows, key=lambda row: labels.index(row[0]) if row[0] in summary["classes"] else len(labels))


def _sheets(view: Mapping[str, Any]) -> tuple[str, ...]:
    return ("summary.css", "errors.css") if view["with_errors"] else ("summary.css",)


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "rows": "rows",
        "explained": "explained",
        "errors": "not explained",
        **({} if "rows" in summary else {"texts": "texts"}),
        "truncated": "cut at the model's length",
        "windowed": "read in windows",
    }
    facts = []
    if summary["accuracy"] is not None:
        facts.append(("accuracy", f"{percent(summary['accuracy'])} of {summary['labelled']:,} with a label"))
    facts += [(title, f"{summary[name]:,}") for name, title in names.items() if summary.get(name)]
    shares = {"share_on_special_tokens": "of the scores on special tokens", "share_on_punctuation": "on punctuation"}
    return facts + [(title, percent(summary[name])) for name, title in shares.items() if summary[name]]


def render_report_index(
    summary: Mapping[str, Any],
    answers: Mapping[str, Any],
    *,
    title: str,
    method: Mapping[str, Any],
    model: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
    pages: Sequence[str],
    rows: Sequence[Sequence[Any]],
    words: Sequence[str],
    passes: int = 1,
    judged: Mapping[str, Any] | None = None,
    failed: tuple[int, Sequence[tuple[str, str]]] = (0, ()),
) -> str:
    """The index: readable and linked without its script, which filters and sorts the list of texts.

    (Long because of its many arguments.)

    Args:
        summary: as `CorpusSummary.report` makes it.
        answers: as `corpus.report.answers` makes them; `examples` are (number, page) of texts.
        title: of the page.
        method, model: the JSON form of those of the explanations.
        groups: `gold`, `predicted`, `count` and `pages` of the texts with one answer.
        pages: names of all pages.
        rows: for each listed text [number, id, predicted, probability or value, gold, beginning, page, words, length,
            values of columns, if any]; where there are fewer of them than texts, the page says so.
        words: those that rows refer to by number, counted from 1, below 0 where they speak against the target.
        passes: of the model over each text.
        judged: what was measured of the scores on texts like these, in place of what the fit says of itself.
        failed: how many rows could not be explained, and the first of them, by id with the reason.
    """
    values = [{"gold": row[4], "predicted": None} for row in rows if row[2] is None]  # right ones of a regression
    number_of = number_labels(summary, [*groups, *values])
    complete = len(rows) == summary["texts"]
    # The script's list can show the texts of a cell only where it has all of them.
    cells = confusion_cells(groups, number_of if complete else None)
    told_apart = {} if judged is None and method["skill"] is None else dict.fromkeys(("skill", "absolute_skill", "r2"))
    addresses = [address_of(name) for name in pages]
    predicted, gold = ({row[column] for row in rows} for column in (2, 4))
    offered = gold if not values or len(gold) <= _RIGHT_VALUES else set()
    last = max((row[6] for row in rows), default=-1)  # of the pages that the list leads to
    view = AnswerView(addresses, number_of if complete else None).views(answers)
    return fill_page(
        "report_index.html.j2",
        "summary.css",
        "report.css",
        "answers.css",
        script="report.js",
        title=title,
        about=explained({**method, **told_apart}, passes),
        trust=describe_fit(method) if judged is None else describe_judgement(judged),
        model=model_name(model),
        facts=[*of_errors(answers["rates"]), *_facts(summary)],
        confusion=ordered_confusion(summary),
        classes=_columns(summary),
        cells=cells,
        anchors=cell_anchors(groups),
        failed=failed,
        groups=[linked_group(group) for group in groups],
        listed=None if complete else f"{len(rows):,}",
        golds=[(number, label) for label, number in number_of.items() if label in offered],
        predictions=[(number, label) for label, number in number_of.items() if label in predicted],
        slices=slice_options(answers["rates"]),
        data={
            "pages": addresses[: last + 1],
            "labels": [without_controls(label) for label in number_of],
            "words": [without_controls(word) for word in words],
            "rows": [_with_slices(script_row(row, number_of), answers["rates"]) for row in rows],
        },
        **view,
    )


def _with_slices(row: list[Any], rates: Mapping[str, Any]) -> list[Any]:
    return [*row[:9], slice_numbers(row[9], rates)] if len(row) > 9 else row


def _columns(summary: Mapping[str, Any]) -> list[str]:
    """Classes that are predicted or labelled: a model may have hundreds of others."""
    met = {*summary["confusion"], *(label for row in summary["confusion"].values() for label in row)}
    return [label for label in summary["classes"] if label in met]


def cell_anchors(groups: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The cells of the confusion that pages of texts lead back to."""
    return {
        (group["gold"], group["predicted"]): f"g{group['index']}"
        for group in groups
        if group["gold"] is not None and group["predicted"] is not None
    }


def linked_group(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group with the addresses of its first pages and the last one, by their numbers; the others follow in turn."""
    pages = [(number, address_of(name)) for number, name in enumerate(group["pages"], start=1)]
    return {**group, "pages": pages if len(pages) <= _LINKED + 1 else [*pages[:_LINKED], pages[-1]]}


def number_labels(summary: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Numbers for the script: any string may be a label, also "" and one that a form would change."""
    labels = list(summary["classes"])
    labels += sorted({group[name] for group in groups for name in ("gold", "predicted")} - {None, *labels})
    return {label: index for index, label in enumerate(labels)}


def confusion_cells(
    groups: Sequence[Mapping[str, Any]], number_of: Mapping[str, int] | None
) -> dict[tuple[str, str], tuple[str, tuple[int, int] | None]]:
    """Where the cells of the confusion table lead: a page, and with the script the list of texts."""
    return {
        (gold, predicted): (
            address_of(group["pages"][0]),
            (number_of[gold], number_of[predicted]) if number_of else None,
        )
        for group in groups
        if (gold := group["gold"]) is not None and (predicted := group["predicted"]) is not None
    }


def script_row(row: Sequence[Any], number_of: Mapping[str, int]) -> list[Any]:
    """A row of the list with the numbers of its labels."""
    number, id_, predicted, value, gold, beginning, *rest = row
    labels = number_of.get(predicted), number_of.get(gold)
    return [number, without_controls(id_), labels[0], value, labels[1], without_controls(beginning), *rest]


def render_report_page(
    entries: Sequence[Mapping[str, Any]],
    *,
    title: str,
    gold: str | None,
    predicted: str | None,
    number: int,
    previous: str | None,
    following: str | None,
    unit: str = "words",
    scale: float | None = None,
    group: int | None = None,
) -> str:
    """Page `number`, from 1, of the texts of one answer; `previous` and `following` are the files of its neighbours.

    Each of `entries` has an `explanation` (JSON form), its `number` in the input, its `gold` label or `None`, and where
    training texts are known those `near` to it (`text`, `label`, `similarity`, `same`, words that are `shared`);
    `scale` is the |score| of full colour in all of them; `group` is the number of that answer, whose cell in the index
    the page leads to.
    """
    cards = [_lean_card(entry, unit, scale) for entry in entries]
    return fill_page(
        "report_page.html.j2",
        "report.css",
        title=title,
        script="words.js",
        cards=cards,
        group=group,
        told=dict.fromkeys((card["summary"].explained, card["summary"].model) for card in cards),
        of_errors=error_legend(entry["explanation"] for entry in entries),
        gold=gold,
        predicted=predicted,
        number=number,
        previous=previous,
        following=following,
        **reading_of([entry["explanation"] for entry in entries], scale),
    )


def _lean_card(entry: Mapping[str, Any], unit: str, scale: float | None) -> dict[str, Any]:
    explanation = entry["explanation"]
    drawn = highlight(explanation, unit=unit, scale=scale)
    near = entry.get("near", ())
    summary, gold, prediction = summarise(explanation, drawn), entry.get("gold"), explanation["prediction"]
    return {
        "id": explanation["id"],
        "number": entry["number"],
        "lines": drawn.lines,
        "plain": plain_words(explanation, drawn, beside_notes=True),
        "score": number_format(drawn.scores),
        "summary": summary,
        "facts": [fact for fact in summary.facts if fact[1] != "0%"],
        "gold": gold,
        "near": [
            {**one, "text": beginning_of(one["text"][:800], _SHOWN), "similarity": f"{one['similarity']:.3f}"}
            for one in near
        ],
        "near_labels": ", ".join(f"{count} {label}" for label, count in Counter(of["label"] for of in near).items()),
        "wrong": gold is not None and prediction.get("label") is not None and gold != prediction["label"],
    }


def address_of(name: str) -> Markup:
    """The address of a file below the index."""
    return Markup(quote(name))
