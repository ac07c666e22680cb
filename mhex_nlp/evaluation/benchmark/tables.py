# SPDX-License-Identifier: Apache-2.0
"""An evaluation as files: tables to read, JSON to compute with, a figure to show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ...inputs.folders import check_replaced, read_object
from ..intervals import Interval
from .measures import MEASURES, PLAUSIBILITY, Measure
from .methods import MHEX_METHODS
from .results import SCHEMA, EvaluationReport, MethodResult

_MHEX, _OTHER, _RANDOM = "#0072B2", "#4D4D4D", "#D55E00"  # Okabe and Ito: distinct to colour-blind readers too
_SHOWN = ("comprehensiveness", "sufficiency")


def write_evaluation(report: EvaluationReport, directory: str | PathLike[str]) -> list[Path]:
    """Writes `evaluation.md`, `.json`, `.png` and `.svg` to `directory`, not a file; the paths written."""
    folder = Path(directory)
    write_so_far(report, folder)
    paths = [folder / "evaluation.md", folder / "evaluation.json"]
    return [*paths, *_draw(report, folder / "evaluation")]


def write_so_far(report: EvaluationReport, directory: str | PathLike[str]) -> None:
    """Writes page and JSON of a comparison that is under way."""
    folder = check_output(directory)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.md").write_text("\n\n".join(_page(report)) + "\n", "utf-8")
    content = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "evaluation.json").write_text(content + "\n", "utf-8")


def check_output(directory: str | PathLike[str]) -> Path:
    """`directory` as a path; ValueError where files that are no evaluation would be replaced, or links followed."""
    folder = Path(directory)
    names = [f"evaluation.{kind}" for kind in ("json", "md", "png", "svg")]
    check_replaced(folder, names, read_object(folder / names[0]).get("schema") == SCHEMA)
    return folder


def summary_table(report: EvaluationReport) -> list[str]:
    """The main figures of every method as lines of a Markdown table, best comprehensiveness first."""
    return _table(report, [*(key for key in MEASURES if key not in PLAUSIBILITY), *report.own_measures])


def _measure(report: EvaluationReport, key: str) -> Measure:
    """A figure of ours, or of the caller's."""
    if key in MEASURES:
        return MEASURES[key]
    title, better, digits = report.own_measures[key]
    return Measure(title, "higher" if better == "higher" else "lower", digits)


def _page(report: EvaluationReport) -> Iterator[str]:
    """The paragraphs of the page, tables among them."""
    yield f"# Explanations of {report.model} compared"
    yield from _setting(report)
    yield "![Comprehensiveness and sufficiency of each method](evaluation.png)"
    yield "## Faithfulness"
    yield "\n".join(summary_table(report))
    if report.plausibility_texts:
        yield "## Plausibility"
        yield (
            f"Against what people marked in {report.plausibility_texts} texts: AUPRC of the scores; token F1 (macro) "
            "and IoU F1 (macro, spans that overlap by half) of as many top units as people mark on average (ERASER). "
            "It says nothing about the model."
        )
        yield "\n".join(_table(report, list(PLAUSIBILITY)))
    if report.compared_with is not None and len(report.methods) > 1:
        best = report.method(report.compared_with)
        yield f"## Differences to {best.label}"
        yield f"Method less {best.label} on the same texts; an interval without 0 tells them apart."
        yield "\n".join(_table(report, [*MEASURES, *report.own_measures], differences=True))
    yield from _cost(report)
    if report.notes:
        yield "## Left out"
        yield "\n".join(f"- {note}" for note in report.notes)


def _setting(report: EvaluationReport) -> Iterator[str]:
    left = f"; {report.left_out} more have a single one and were left out" if report.left_out else ""
    cut = f"; {report.cut} were cut at what the model takes" if report.cut else ""
    removed = {
        "mask": "replaced by the mask token",
        "deletion": "deleted",
        "attention": "hidden by the attention mask",
    }[report.removal]
    yield (
        f"{report.texts} texts of at least two {report.unit}{left}{cut}. Every method explains the {report.explained}; "
        f"{report.unit} are {removed}, template tokens always stay."
    )
    yield (
        "Comprehensiveness and sufficiency: what the probability of the predicted class loses without the top 1, 5, "
        "10, 20, 50 % of the units, and with them alone, mean over the five (ERASER). AOPC 10–90 %: without the top "
        "10, 20, ... 90 %, mean over the nine. Log-odds: ln of the probability without the top 20 % over the full one. "
        "Average drop: percent of the probability lost with the top 20 % alone."
    )
    if report.reliability is not None:
        yield (
            f"Spearman ρ is to Shapley values from {report.reference_permutations} antithetic permutations, whose "
            f"split-half reliability is {figure_cell(MEASURES['spearman_shapley'], report.reliability)}: no method can "
            "be expected above its square root."
        )
    yield (
        f"Brackets: 95 % bootstrap intervals over the texts ({report.bootstrap_draws} draws). "
        f"Random: mean of {report.random_seeds} seeds. Seed {report.seed}."
    )


def _cost(report: EvaluationReport) -> Iterator[str]:
    yield "## Cost"
    yield (
        f"Of explaining all texts in one go ({report.machine}): rows are texts or variants of them that went through "
        "the model; a gradient's backward pass is not among them. Memory is the peak above what was held before."
    )
    rows = [
        [
            row.label,
            f"{1000 * row.cost.seconds_per_text:.2f}",
            f"{row.cost.rows_per_text:.0f}",
            f"{row.cost.peak_mib:.0f}",
        ]
        for row in report.ranked()
    ]
    yield "\n".join(table_lines(["scores", "ms a text", "rows a text", "peak MiB"], rows))


def _table(report: EvaluationReport, keys: Sequence[str], differences: bool = False) -> list[str]:
    """The figures of each method, or its differences where it has any."""
    intervals = [(row.label, row.differences if differences else row.figures) for row in report.ranked()]
    shown = [key for key in keys if any(key in row for _, row in intervals)]
    measures = {key: _measure(report, key) for key in shown}
    head = ["scores", *(f"{measure.title} {measure.arrow}" for measure in measures.values())]
    rows = [
        [label, *(figure_cell(measure, row[key], differences) for key, measure in measures.items())]
        for label, row in intervals
        if row
    ]
    return table_lines(head, rows)


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table with columns of even width, so that it reads on a terminal as well."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    rule = "|".join("-" * (width + 2) for width in widths)
    return [f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]


def figure_cell(measure: Measure, interval: Interval, signed: bool = False) -> str:
    """A figure with its interval, to the decimals of its measure."""
    form = f"{'+' if signed else ''}.{measure.digits}f"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _draw(report: EvaluationReport, stem: Path) -> list[Path]:
    """Writes `stem`.png and .svg, the same bytes for the same figures; the paths written.

    Best comprehensiveness first in both panels, MHEX in blue and bold, random as a dashed line.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    methods = report.ranked()
    chance = next((method for method in methods if method.name == "random"), None)
    rows = [method for method in methods if method is not chance] or methods
    style = {"svg.hashsalt": "mhex", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 10}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(9.2, 1.75 + 0.34 * len(rows)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, key in zip(panels, _SHOWN, strict=True):
            _panel(axes, rows, chance, key)
        panels[0].set_yticks(range(len(rows)), [method.label for method in rows])
        panels[0].set_ylim(len(rows) - 0.4, -0.6)
        for label, method in zip(panels[0].get_yticklabels(), rows, strict=True):
            if method.name in MHEX_METHODS:
                label.set_color(_MHEX)
                label.set_fontweight("bold")
        figure.suptitle(
            f"{report.model}: {report.texts} texts, {report.unit} removed by {report.removal}, 95 % intervals",
            fontsize=10,
            color="#222222",
        )
        png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
        figure.savefig(png, dpi=160, facecolor="white", metadata={"Software": None})
        figure.savefig(svg, facecolor="white", metadata={"Date": None})
    return [png, svg]


def _panel(axes: Any, rows: list[MethodResult], chance: MethodResult | None, key: str) -> None:
    measure = MEASURES[key]
    for position, method in enumerate(rows):
        interval = method.figures[key]
        is_mhex = method.name in MHEX_METHODS
        colour, width, marker, size = (_MHEX, 2.4, "D", 6.5) if is_mhex else (_OTHER, 1.4, "o", 5.5)
        axes.plot([interval.low, interval.high], [position, position], color=colour, linewidth=width, zorder=2)
        axes.plot([interval.value], [position], marker, color=colour, markersize=size, zorder=3)
    if chance is not None:
        level = chance.figures[key].value
        axes.axvline(level, color=_RANDOM, linestyle="--", linewidth=1.3, zorder=1)
        axes.annotate(
            "random",
            (level, 0),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            color=_RANDOM,
            fontsize=8.5,
        )
    better = "→" if measure.better == "higher" else "←"
    axes.set_xlabel(f"{measure.title} ({better} {measure.better} is better)")
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
