# SPDX-License-Identifier: Apache-2.0
"""What a report's index says at its top: where the model is wrong, why, which words drive it, what else changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from .controls import beginning_of
from .importance import importance_figure
from .numbers import plain
from .summary import model_name, number_format, percent

LENGTHS = ("1 to 5", "6 to 10", "11 to 20", "21 to 50", "51 to 100", "101 to 200", "201 to 500", "over 500")
LENGTH_STEPS = (1, 6, 11, 21, 51, 101, 201, 501)  # the least words of each
CERTAINTIES = ("below 50%", "50 to 60%", "60 to 70%", "70 to 80%", "80 to 90%", "90 to 95%", "95 to 99%", "99% and up")
CERTAINTY_STEPS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
SURE = 0.9  # from this probability on a wrong prediction is a sure one
OTHER = "other values"  # of a column, beyond those told apart
_NEAR = 160  # characters of a training text
_DIGIT = 1e-6  # the last that the list keeps of a probability

Filter = dict[str, Any]


class AnswerView:
    """Makes what the template `answers.html.j2` shows.

    Args:
        addresses: of all pages, by number.
        number_of: the numbers of labels for the script, or None where its list lacks some of the texts.
    """

    def __init__(self, addresses: Sequence[Markup], number_of: Mapping[str, int] | None) -> None:
        self.addresses, self.number_of = addresses, number_of

    def views(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the template, by name."""
        rates, changes = answers["rates"], answers["changes"]
        return {
            "findings": [self._finding(finding, rates) for finding in answers["findings"]],
            "error_tables": self._error_tables(rates) if rates["labelled"] else [],
            "topics": [
                {**self._rate(row, {}, name=row["word"]), "usual": percent(row["usual"])} for row in answers["topics"]
            ],
            "confused": [self._cell(cell) for cell in answers["confused"]],
            "effects": self._effects(answers["effects"]),
            "spurious": [self._spurious(row) for row in answers["spurious"]],
            "notes": [{**row, "share": percent(row["share"]), **self._examples(row)} for row in answers["notes"]],
            "near": self._near(answers.get("near")),
            "changes": None if changes is None else self._changes(changes),
        }

    def _link(self, row: Mapping[str, Any], wanted: Filter) -> dict[str, Any]:
        """Where the name of a row leads: to the list with a filter, without scripts to the first of its wrong texts."""
        examples = self._examples(row)["examples"]
        filters = {} if self.number_of is None else {name: value for name, value in wanted.items() if value is not None}
        return {"address": examples[0][0] if examples else None, "filter": filters}

    def _label(self, label: str) -> int | None:
        return None if self.number_of is None else self.number_of.get(label)

    def _examples(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {"examples": [(self.addresses[page] + f"#t{number}", number) for number, page in row["examples"]]}

    def _rate(self, row: Mapping[str, Any], wanted: Filter, name: str) -> dict[str, Any]:
        rate = row["rate"]
        if "off" in row:
            return self._off(row, wanted, name)
        return {
            "name": name,
            "texts": row["labelled"],
            "wrong": row["wrong"],
            "sure": row["sure"],
            "rate": "" if rate is None else percent(rate),
            "bar": round(100 * (rate or 0.0), 1),
            "interval": f"{percent(row['low'])} to {percent(row['high'])}",
            **self._link(row, {**wanted, "answer": "wrong"}),
            **self._examples(row),
        }

    def _off(self, row: Mapping[str, Any], wanted: Filter, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "texts": row["labelled"],
            "off": plain(row["off"]),
            "interval": f"{plain(row['low'])} to {plain(row['high'])}",
            **self._link(row, wanted),
            **self._examples(row),
        }

    def _error_tables(self, rates: Mapping[str, Any]) -> list[dict[str, Any]]:
        tables: list[dict[str, Any]] = [
            {
                "title": "By label",
                "head": "label",
                "rows": [self._rate(row, {"gold": self._label(row["label"])}, row["label"]) for row in rates["labels"]],
            },
            {
                "title": "By prediction",
                "head": "predicted",
                "rows": [
                    self._rate(row, {"predicted": self._label(row["label"])}, row["label"])
                    for row in rates["predicted"]
                ],
            },
            {
                "title": "By length",
                "head": "words",
                "rows": [self._rate(row, of_length(row["step"]), LENGTHS[row["step"]]) for row in rates["lengths"]],
            },
            {
                "title": "By certainty",
                "head": "probability",
                "rows": [
                    self._rate(row, _of_certainty(row["step"]), CERTAINTIES[row["step"]])
                    for row in rates["certainties"]
                ],
            },
        ]
        for column, of_column in enumerate(rates["slices"]):
            rows = [
                self._rate(row, {f"s{column}": number}, row["value"]) for number, row in enumerate(of_column["rows"])
            ]
            tables.append({"title": f"By {of_column['name']}", "head": of_column["name"], "rows": rows})
        for table in tables:
            table["off"] = "off" in rates
            table["rows"] = [row for row in table["rows"] if row["texts"]]
        return [table for table in tables if table["rows"]]

    def _finding(self, finding: Mapping[str, Any], rates: Mapping[str, Any]) -> dict[str, Any]:
        kind = finding["kind"]
        usual = percent(finding.get("usual", rates["rate"] or 0.0)) if "off" not in rates else plain(rates["off"])
        if kind == "sure":
            wanted = {"answer": "wrong", "from": SURE}
            return {"kind": kind, "texts": finding["texts"], "examples": [], **self._link({"examples": []}, wanted)}
        if kind == "near":
            return {**finding, **self._examples(finding)}
        if kind == "spurious":
            wanted = {"word": finding["word"], "answer": "wrong"}
            view = {**self._spurious(finding), **self._link(finding, wanted)}
            return {**view, "kind": kind, "row": finding["row"]}
        wanted, name = {}, ""
        if kind in ("label", "crossed"):
            name, wanted = finding["label"], {"gold": self._label(finding["label"])}
        if kind in ("length", "crossed", "length_off"):
            wanted |= of_length(finding["step"])
        if kind in ("slice", "slice_off"):
            name, wanted = finding["value"], {f"s{finding['column']}": finding["row"]}
        if kind == "topic":
            name = finding["word"]
        view = {"kind": kind, "usual": usual, "row": finding.get("row"), **self._rate(finding, wanted, name)}
        if kind == "topic":  # the list knows the strongest words of a text alone: the table has links to its texts
            view |= {"address": Markup(f"#topic-{finding['row']}"), "filter": {}}
        if kind in ("slice", "slice_off"):
            view["column"] = rates["slices"][finding["column"]]["name"]
        return {**view, "length": LENGTHS[finding["step"]] if "step" in finding else None}

    def _cell(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {"gold": self._label(cell["gold"]), "predicted": self._label(cell["predicted"])}
        words = [
            {
                **word,
                "evidence": percent(word["evidence"]),
                "rightly": percent(word["right"] / word["of"]) if word["of"] else "",
                **self._examples(word),
            }
            for word in cell["words"]
        ]
        return {**cell, "words": words, **self._link(cell["words"][0] if words else {"examples": []}, wanted)}

    def _effects(self, effects: Mapping[str, Any]) -> list[dict[str, Any]]:
        sides = [words[side] for words in effects.values() for side in ("for", "against")]
        number = number_format(word["effect"] for side in sides for word in side)
        return [
            {
                **{name: words[name] for name in ("texts", "minimum", "words")},
                "label": label,
                "k": f"{words['k']:.3g}",
                "figure": importance_figure(words),
                "sides": [
                    (name, tone, [self._effect(word, number) for word in words[side]])
                    for name, tone, side in (("raise it", "p", "for"), ("lower it", "n", "against"))
                ],
            }
            for label, words in effects.items()
        ]

    def _effect(self, word: Mapping[str, Any], number: Any) -> dict[str, Any]:
        return {
            **{name: word[name] for name in ("word", "texts", "folded")},
            "effect": number(word["effect"]),
            "mean": number(word["mean"]),
            "interval": f"{number(word['low'])} to {number(word['high'])}",
            "share": percent(word["share"]),
            **(self._examples(word) if "examples" in word else {"examples": []}),
        }

    def _spurious(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **{name: row[name] for name in ("word", "towards", "texts")},
            **{name: percent(row[name]) for name in ("gold", "expected", "error", "evidence")},
            "interval": f"{percent(row['low'])} to {percent(row['high'])}",
            "lift": "" if row["lift"] is None else f"{row['lift']:.3g}",
            "disagreement": f"{row['disagreement']:+.3f}",
            **self._examples(row),
        }

    def _near(self, near: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if near is None:
            return None
        rows = [
            {**row, "text": beginning_of(row["text"][:800], _NEAR), **self._examples(row)} for row in near["suspects"]
        ]
        return {**{name: near[name] for name in ("texts", "count", "mistakes")}, "rows": rows}

    def _changes(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        facts = [
            ("predictions changed", f"{changes['changed']:,} of {changes['texts']:,}"),
            ("right before, wrong now", f"{changes['broken']:,}"),
            ("wrong before, right now", f"{changes['fixed']:,}"),
            ("texts only in this run", f"{changes['only_here']:,}"),
            ("texts only in the other", f"{changes['only_there']:,}"),
        ]
        facts = facts[:1] + [fact for fact in facts[1:] if fact[1] != "0"]
        if changes["labelled"]:
            before, now = (percent(changes[name] / changes["labelled"]) for name in ("right_before", "right"))
            facts.insert(0, ("accuracy, before and now", f"{before}, {now}"))
        return {
            "model": model_name(changes["model"]),
            "facts": facts,
            "moves": changes["moves"],
            "effects": self._effects(changes["words"]),
            "listed": [
                {
                    **entry,
                    "text": beginning_of(entry["text"][:400], 160),
                    "before_share": _chance(entry["before_probability"]),
                    "now_share": _chance(entry["now_probability"]),
                    "address": self.addresses[entry["place"][1]] + f"#t{entry['place'][0]}",
                }
                for entry in changes["listed"]
            ],
        }


def of_errors(rates: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The fact of a regression that stands at the top, where right values are known."""
    if "off" not in rates:
        return []
    return [("mean absolute error", f"{plain(rates['off'])} of {rates['labelled']:,} with a label")]


def of_length(step: int) -> Filter:
    """The filter of the texts of one step of length."""
    return {"least": LENGTH_STEPS[step], "most": LENGTH_STEPS[step + 1] - 1 if step + 1 < len(LENGTH_STEPS) else None}


def _of_certainty(step: int) -> Filter:
    following = CERTAINTY_STEPS[step + 1 : step + 2]
    return {"from": CERTAINTY_STEPS[step], "to": round(following[0] - _DIGIT, 6) if following else None}


def _chance(probability: float | None) -> str:
    return "" if probability is None else percent(probability)


def slice_options(rates: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """For each column its name and the values that the list can be filtered by."""
    return [(column["name"], [row["value"] for row in column["rows"]]) for column in rates["slices"]]


def slice_numbers(values: Iterable[str], rates: Mapping[str, Any]) -> list[int]:
    """The rows in which a text's values are shown, as the list refers to them."""
    numbers = []
    for value, column in zip(values, rates["slices"], strict=True):
        shown = column["value_of"].get(value, column["value_of"].get(OTHER, OTHER))
        numbers.append(next(n for n, row in enumerate(column["rows"]) if row["value"] == shown))
    return numbers
