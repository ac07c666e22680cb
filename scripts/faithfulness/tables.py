# SPDX-License-Identifier: Apache-2.0
"""The study's figures as Markdown, between two marker comments of a page that is otherwise written by hand."""

from __future__ import annotations

from typing import Any

from . import settings

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
Figure = dict[str, Any]


def into_page(page: str, body: str) -> str:
    """The page with `body` between its markers; at its end, markers included, where it has none.

    Raises:
        ValueError: one marker without the other, or in the wrong order.
    """
    block = f"{BEGIN}\n\n{body.strip()}\n\n{END}"
    if BEGIN not in page and END not in page:
        return f"{page.rstrip()}\n\n{block}\n"
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have {BEGIN} before {END}, got one without the other.")
    return before + block + after


def render(report: dict[str, Any]) -> str:
    """All tables there are figures for."""
    if not report["models"]:
        return "No figures yet."
    lines = [
        f"{report['model']} with heads; {report['machine']}. Made by `scripts/study_faithfulness.py`. Means with 95 % "
        "bootstrap intervals over (text, seed) pairs, n of them; differences (Δ) are paired.",
        "",
        *_models(report["models"]),
    ]
    for data, found in report["A"].items():
        for removal, table in found.items():
            title = {"mask": "by [MASK]", "deletion": "by deletion, on the same scores"}[removal]
            lines += ["", f"### A. {settings.NAMES[data]}: top tokens removed {title}", "", *_table_a(table)]
    for data, found in report["B"].items():
        lines += ["", f"### B. {settings.NAMES[data]}: agreement with Shapley values", "", *_table_b(found)]
    if report["C"]:
        lines += ["", "### C. Parameter randomisation", "", *_table_c(report["C"])]
    if report["D"]:
        lines += ["", "### D. Plausibility: words of the Stanford Sentiment Treebank", "", *_table_d(report["D"])]
    if report["E"]:
        lines += ["", "### E. Cost", "", *_table_e(report["E"])]
    return "\n".join(lines)


def span(figure: Figure | None, digits: int = 3, signed: bool = False) -> str:
    """0.463 [0.402, 0.523], or a dash."""
    if figure is None:
        return "–"
    form = f"{'+' if signed else ''}.{digits}f"
    low, high = figure["interval95"]
    return f"{figure['mean']:{form}} [{low:{form}}, {high:{form}}]"


def grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _models(models: dict[str, Any]) -> list[str]:
    rows = []
    for name, one in models.items():
        data, _, seed = name.rpartition("-")
        low, high = one["skill_interval"]
        skill = f"{one['skill']:.3f} [{low:.3f}, {high:.3f}]"
        accuracy = f"{one['accuracy']:.3f} (n = {one['test_texts']:,})"
        rows.append(
            [settings.NAMES[data], seed, accuracy, skill, f"{one['fit_texts']:,}", f"{one['fit_seconds']:.0f} s"]
        )
    return grid(["data", "seed", "accuracy", "skill of the fit", "texts of the fit", "time of the fit"], rows)


def _short(method: str) -> str:
    return {"integrated_gradients": "integrated gradients", "mhex_fitted": "MHEX, fitted"}[method]


def _pairs(row: dict[str, Any]) -> str:
    seeds = row["seeds"]
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _table_a(table: dict[str, Any]) -> list[str]:
    arrows = {"comprehensiveness": "↑", "sufficiency": "↓"}
    head = ["scores"]
    for name, arrow in arrows.items():
        head += [f"{name} {arrow}", *(f"Δ to {_short(rival)}" for rival in settings.RIVALS)]
    rows = []
    for method, row in table.items():
        cells = [settings.LABELS[method]]
        for name in arrows:
            cells += [span(row[name])]
            cells += [span(row.get(f"{name} - {rival}"), signed=True) for rival in settings.RIVALS]
        rows.append([*cells, f"{row['comprehensiveness']['n']} ({_pairs(row)})"])
    return grid([*head, "n"], rows)


def _table_b(found: dict[str, Any]) -> list[str]:
    truth = found["reference"]
    lines = [
        f"Reference: Shapley values of the centred logit, {settings.PERMUTATIONS} antithetic permutations, seed "
        f"{found['seed']}, {truth['texts']} texts; split-half reliability {span(truth['reliability'])}, by "
        f"Spearman-Brown {span(truth['corrected'])}. Seconds a text are those of this run, on a machine that may have "
        "been shared.",
        "",
    ]
    head = ["scores", "Spearman to Shapley ↑", *(f"Δ to {_short(rival)}" for rival in settings.RIVALS)]
    rows = []
    for method, row in found["methods"].items():
        cells = [settings.LABELS[method], "1 (itself)" if method == "shapley" else span(row["spearman"])]
        differences = [span(row.get(f"spearman - {rival}"), signed=True) for rival in settings.RIVALS]
        cells += ["–"] * len(differences) if method == "shapley" else differences
        for name in ("comprehensiveness", "sufficiency"):
            cells += [span(row[name]), span(row.get(f"{name} - mhex_fitted"), signed=True)]
        rows.append([*cells, f"{found['seconds_per_text'].get(method, 0):.3f}", str(row["spearman"]["n"])])
    head += ["comprehensiveness ↑", "Δ to MHEX, fitted", "sufficiency ↓", "Δ to MHEX, fitted", "seconds a text", "n"]
    return [*lines, *grid(head, rows)]


def _table_c(report: dict[str, Any]) -> list[str]:
    lines = [
        "Mean signed Spearman between the scores and those after one part was drawn anew, content tokens, the same "
        "class; interval over texts, in brackets the mean of each draw. Near 0 is what is wanted.",
        "",
    ]
    rows = []
    for data, found in report.items():
        for method, parts in found.items():
            cells = [settings.NAMES[data], settings.LABELS[method]]
            for part in settings.RANDOMISED:
                one = parts.get(part)
                each = f" ({', '.join(f'{value:+.2f}' for value in one['each'])})" if one else ""
                cells.append(span(one, signed=True) + each)
            rows.append([*cells, str(max(one["n"] for one in parts.values()))])
    return [*lines, *grid(["data", "scores", *settings.RANDOMISED.values(), "n"], rows)]


def _table_d(found: dict[str, Any]) -> list[str]:
    share = "" if found["marked_share"] is None else f" They are {span(found['marked_share'])} of the tokens."
    lines = [
        "AUPRC against the words that people, shown the word alone, put on the side of the sentence; sentences that "
        f"the SST-2 models classify as people do, scores for that class.{share}",
        "",
    ]
    head = ["scores", "AUPRC ↑", *(f"Δ to {_short(rival)}" for rival in settings.RIVALS), "n"]
    rows = []
    for method, row in found["methods"].items():
        differences = [span(row.get(f"auprc - {rival}"), signed=True) for rival in settings.RIVALS]
        rows.append([settings.LABELS[method], span(row["auprc"]), *differences, f"{row['auprc']['n']} ({_pairs(row)})"])
    return [*lines, *grid(head, rows)]


def _table_e(report: dict[str, Any]) -> list[str]:
    rows = []
    for data, one in report.items():
        low, high = one["interval95"]
        rows.append(
            [
                settings.NAMES[data],
                f"{one['plain_ms']:.2f} ms",
                f"{one['attributions_ms']:.2f} ms",
                f"{one['ratio']:.3f} [{low:.3f}, {high:.3f}]",
                f"{one['explainer_ms']:.2f} ms",
                f"{one['forward_passes']:g}",
                f"{one['texts']} texts × {one['rounds']} rounds",
            ]
        )
    head = ["data", "plain forward, a text", "with attributions", "ratio", "whole explainer", "forward passes", "n"]
    return ["Medians of rounds in random order; the ratio's interval over rounds.", "", *grid(head, rows)]
