# SPDX-License-Identifier: Apache-2.0
"""The figure of an evaluation: comprehensiveness and sufficiency of every method with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .measures import MEASURES
from .methods import MHEX_METHODS
from .results import EvaluationReport, MethodResult

_MHEX, _OTHER, _RANDOM = "#0072B2", "#4D4D4D", "#D55E00"  # Okabe and Ito: distinct to colour-blind readers too
_SHOWN = ("comprehensiveness", "sufficiency")


def draw(report: EvaluationReport, stem: Path) -> list[Path]:
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
