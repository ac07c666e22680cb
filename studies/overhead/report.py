# SPDX-License-Identifier: Apache-2.0
"""The figures as a table, targets beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common import grid, span
from .measuring import Figure

HEAD = ("", "model", "measured", "target", "", "")


def table(report: Mapping[str, Any]) -> list[str]:
    """The page's part: what was measured on, and a row a figure."""
    settings = report["settings"]
    rows = [_row(figure) for group in report["groups"].values() for figure in map(read_figure, group["figures"])]
    minutes = sum(group["seconds"] for group in report["groups"].values()) / 60
    return [
        f"{report['machine']}; {settings['device']}, {settings['dtype']}, attention implementation "
        f"{settings['attention']}, seed 0. Ratios of seconds, or of bytes beyond the weights, to the plain model "
        "in the same run and over the same weights: medians of paired rounds in random order (n), with 95 % bootstrap "
        "intervals of the median. A target is reached by the median. Fitted matrices are random ones of the layout "
        "of a fit, for the cost does not depend on how good they are; a batch's shortest text has three quarters of "
        f"the tokens of its longest. Took {minutes:.0f} minutes; made by `studies/overhead`.",
        "",
        *grid(HEAD, rows),
    ]


def read_figure(values: Mapping[str, Any]) -> Figure:
    """A figure from its JSON form."""
    interval = values["interval"]
    return Figure(**{**values, "interval": None if interval is None else tuple(interval)})


def _row(figure: Figure) -> list[str]:
    measured = "not measured"
    if figure.value is not None:
        measured = f"{figure.value:.3f}" if figure.interval is None else span(figure.value, figure.interval)
        measured = f"{measured}{figure.unit and ' '}{figure.unit}, n = {figure.rounds}"
    target = ""
    if figure.target is not None:
        target = f"{'≥' if figure.at_least else '≤'} {figure.target:g}{figure.unit and ' '}{figure.unit}"
    reached = {None: "", True: "reached", False: "not reached"}[figure.reached]
    return [figure.what, figure.model, measured, target, reached, figure.note]
