# SPDX-License-Identifier: Apache-2.0
"""The figures of the study as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mhex_nlp.models.fit_record import IMAGES, trusted_from

from ..common import cell, grid, mean_interval, span
from .accuracy import DATA, HEADS, hits_of
from .models import KINDS

SHOWN = {
    "paired_skill": "paired skill",
    "insertion": "insertion ↑",
    "deletion": "deletion ↓",
    "spearman_shapley": "ρ to Shapley",
}
_AGAINST = {
    "paired_skill": "skill - MHEX's",
    "insertion": "insertion - MHEX's",
    "deletion": "deletion - MHEX's",
}
IN_REGION = {"pointing": "best cell", "precision": "best four", "energy": "energy"}
OURS = "mhex_fitted"
Units = Mapping[str, Any]


def table(report: Mapping[str, Any]) -> list[str]:
    """The page's part, by group, of what is measured so far."""
    settings, groups = report["settings"], report["groups"]
    lines = [
        f"{report['machine']}; networks of up to {settings['seeds']} seeds, fits of {settings['fitted_on']:,} images x "
        f"8 masks without labels, maps of {settings['images']} test images; made by `studies/images`. Means over seeds "
        "with the lowest and the highest in brackets. Methods but MHEX get the one scale that suits their paired "
        "skill best.",
    ]
    parts = {"planted": _planted, "pneumonia": _pneumonia, "real": _real, "accuracy": _accuracy, "cost": _cost}
    for name, part in parts.items():
        if groups.get(name):
            lines += ["", *part(groups[name])]
    return lines


def _planted(units: Units) -> Iterator[str]:
    yield "**Planted patterns**: of all test images with a pattern that are predicted rightly, the share in which"
    yield ""
    rows = []
    for kind, of_kind in _by_kind(units):
        found = {key: _over([unit["found"][key]["mean"] for unit in of_kind]) for key in of_kind[0]["found"]}
        twice = {key: _over([unit["twice"][key]["mean"] for unit in of_kind]) for key in of_kind[0]["twice"]}
        rows.append([kind, _over([unit["accuracy"] for unit in of_kind]), *found.values(), *twice.values()])
    head = ["best four cells inside", "best cell inside", "positive inside"]
    twice_head = [f"two patterns: {name}" for name in next(iter(units.values()))["twice"]]
    yield from grid(["", "accuracy", *head, *twice_head], rows)
    yield from _comparisons(units, {**SHOWN, **IN_REGION})


def _pneumonia(units: Units) -> Iterator[str]:
    for kind, of_kind in _by_kind(units):
        empty = [unit["comparison"]["results"][0]["empty_is_prediction"] for unit in of_kind]
        yield (
            f"**PneumoniaMNIST, {kind}**: test accuracy {_over([unit['accuracy'] for unit in of_kind])}; an empty "
            f"image is predicted as the image is in {_over(empty)} of the cases."
        )
        yield ""
    yield from _comparisons(units, SHOWN)
    yield ""
    yield "What the fitted map has more in insertion and deletion, with 2 standard errors over the images of all seeds:"
    yield ""
    rows = []
    for kind, of_kind in _by_kind(units):
        for how in of_kind[0]["against"]:
            for name in of_kind[0]["against"][how]:
                gaps = [unit["against"][how][name] for unit in of_kind]
                rows.append(
                    [kind, how, name, *(_pooled([gap[key] for gap in gaps]) for key in ("insertion", "deletion"))]
                )
    yield from grid(["", "judged by", "less", "insertion", "deletion"], rows)


def _real(units: Units) -> Iterator[str]:
    for name, unit in units.items():
        fit = unit["fit"]
        best = "" if fit["attainable"] is None else f", {fit['attainable']:.3f} attainable"
        yield (
            f"**{name}** ({unit.get('machine', 'same machine')}): fitted on {fit['texts']:,} photographs in "
            f"{fit['seconds']:.0f} s; paired skill "
            f"{span(fit['skill'], fit['skill_interval'])}{best}: {'trusted' if fit['trusted'] else 'not trusted'}."
        )
        for number, result in enumerate(unit["comparison"]["results"]):
            judged = f"judged by {result['removal']}{'' if number else ', by which was fitted'}"
            yield ""
            yield f"{name}, {unit['comparison']['images']} images, {judged}, with 95 % intervals over them:"
            yield ""
            rows = []
            for method in result["methods"]:
                ours, figures = method["name"] == OURS, method["figures"]
                cells = [_with_ends(figures[key]) for key in SHOWN]
                gaps = ["" if ours else _with_ends(method["differences"][key], signed=True) for key in _AGAINST]
                rows.append([f"**{method['label']}**" if ours else method["label"], *cells, *gaps])
            shapley = _with_ends(result["shapley_skill"])
            rows.append(["Shapley values, the reference", shapley, *[""] * (len(rows[0]) - 2)])
            yield from grid(["", *SHOWN.values(), *_AGAINST.values()], rows)


def _with_ends(figure: Mapping[str, float], signed: bool = False) -> str:
    return span(figure["value"], (figure["low"], figure["high"]), signed=signed)


def _accuracy(units: Units) -> Iterator[str]:
    yield "**Accuracy with heads**: same weights at the start, same order, same steps; differences with 95 % intervals."
    yield ""
    rows = []
    for data in DATA:
        for kind in KINDS:
            of_kind = [unit for key, unit in units.items() if key.startswith(f"{data}/{kind}/")]
            if not of_kind:
                continue
            ways = [_over([unit["runs"][way]["accuracy"] for unit in of_kind]) for way in HEADS]
            hits = {
                way: np.mean([hits_of(unit["runs"][way], unit["test"]) for unit in of_kind], axis=0) for way in HEADS
            }
            gaps = [cell(mean_interval(hits[way] - hits["plain"]), signed=True) for way in list(HEADS)[1:]]
            rows.append([data, kind, *ways, *gaps])
    yield from grid(["", "", *HEADS, *(f"{way} - plain" for way in list(HEADS)[1:])], rows)


def _cost(units: Units) -> Iterator[str]:
    yield "**Cost**: medians of paired rounds with 95 % intervals; from pixel values, and from the picture."
    yield ""
    rows = []
    for shape, unit in units.items():
        for batch in (key for key in unit if key.startswith("batch ")):
            figures = unit[batch]
            ratios = [figures[key] for key in ("map / plain", "explained / predicted")]
            shown = [span(one["ratio"], one["interval95"]) for one in ratios]
            rows.append([shape, batch, f"{1000 * figures['plain']:.0f} ms", *shown])
    yield from grid(["", "", "plain pass", "map / plain pass", "explained / predicted picture"], rows)


def _comparisons(units: Units, shown: Mapping[str, str]) -> Iterator[str]:
    """The fits of each network, and a table of methods for each removal."""
    for kind, of_kind in _by_kind(units):
        fits = [unit["comparison"]["fit"] for unit in of_kind]
        skills = "; ".join(f"{span(fit['skill'], fit['skill_interval'])}, {fit['attainable']:.3f}" for fit in fits)
        trusted = sum(fit["skill_interval"][0] > trusted_from(IMAGES) for fit in fits)
        yield ""
        yield f"{kind}, paired skill of each fit on what it held out, and the attainable: {skills}. Trusted: {trusted}."
        for number, first in enumerate(of_kind[0]["comparison"]["results"]):
            results = [unit["comparison"]["results"][number] for unit in of_kind]
            yield ""
            yield f"{kind}, judged by {first['removal']}{'' if number else ', by which was fitted'}:"
            yield ""
            rows = []
            for method in first["methods"]:
                figures = [_method(result, method["name"])["figures"] for result in results]
                cells = [_over([one[key]["value"] for one in figures]) for key in shown if key in figures[0]]
                rows.append([f"**{method['label']}**" if method["name"] == OURS else method["label"], *cells])
            if first["shapley_skill"] is not None:
                ceiling = _over([result["shapley_skill"]["value"] for result in results])
                rows.append(["Shapley values, the reference", ceiling, *[""] * (len(rows[0]) - 2)])
            keys = [title for key, title in shown.items() if key in first["methods"][0]["figures"]]
            yield from grid(["", *keys], rows)


def _by_kind(units: Units) -> list[tuple[str, list[Any]]]:
    kinds = dict.fromkeys(key.split("/")[0] for key in units)
    of_kind = {kind: [unit for key, unit in units.items() if key.split("/")[0] == kind] for kind in kinds}
    return [(f"{kind}, {len(some)} seed{'s' * (len(some) > 1)}", some) for kind, some in of_kind.items()]


def _method(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(method for method in result["methods"] if method["name"] == name)


def _over(values: Sequence[float]) -> str:
    """0.91 [0.90, 0.93], over seeds; a single one as it is."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return span(float(np.mean(values)), (min(values), max(values)))


def _pooled(gaps: Sequence[Mapping[str, float]]) -> str:
    """+0.123 ± 0.010: the mean over seeds, and two standard errors of it, images of other seeds being others."""
    error = float(np.sqrt(np.sum(np.square([gap["se"] for gap in gaps])))) / len(gaps)
    return f"{np.mean([gap['mean'] for gap in gaps]):+.3f} ± {2 * error:.3f}"
