# SPDX-License-Identifier: Apache-2.0
"""The words and numbers around a map over a picture, shared by the page, the terminal and the figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .image_map import ImageMap, Region
from .summary import answers_of, is_prediction, model_name, number_format, others_of, percent

READING = (
    "The map shows what the model used for its answer. It does not show where something, such as a disease, is or is "
    "not."
)
EXPERIMENTAL = "Explanations of images are experimental."
_REMOVAL = {
    "mean": "parts of the image painted over with the mean colour",
    "blur": "parts of the image blurred",
    "attention": "patches of the image dropped",
}
_CONTRAST = {"centred": "against the mean of the classes", "foil": "against the foil"}


def summarise_image(form: Mapping[str, Any], drawn: ImageMap) -> dict[str, Any]:
    """What stands around a map, as plain strings, by name."""
    prediction, target, foil = form["prediction"], form["target"], form["foil"]
    return {
        "answers": answers_of(prediction),
        "others": others_of(prediction),
        "target": target["label"],
        "foil": None if foil is None else foil["label"],
        "other_target": foil is not None or not is_prediction(prediction, target),
        "facts": _facts(form, drawn),
        "trust": _trust(form["method"]),
        "trusted": form["method"].get("trusted"),
        "notes": tuple(form.get("notes", ())),
        "about": _about(form["method"]),
        "model": model_name(form["model"]),
        "library": form.get("library") or "",
        "name": form["image"].get("name") or (f"#{form['id']}" if form.get("id") else ""),
    }


def _facts(form: Mapping[str, Any], drawn: ImageMap) -> list[tuple[str, str]]:
    total, base, grid = form["sum"], form["base_value"], drawn.grid
    number = number_format((total, base))
    facts = [("base value", number(base)), ("sum of scores", number(total)), ("logit explained", number(base + total))]
    if (hidden := drawn.hidden_share) >= 0.0005:
        facts.append(("on padding around the picture", percent(hidden)))
    if unseen := grid.unseen_share:
        facts.append(("of the picture not seen", percent(unseen)))
    empty = form.get("empty")
    if empty:
        facts.append(("on an empty image", f"{empty['label']} {percent(empty['probability'])}"))
    if empty and empty["id"] != form["target"]["id"] and form.get("p_empty") is not None:
        facts.append((f"{form['target']['label']} on an empty image", percent(form["p_empty"])))
    return [*facts, ("picture", f"{grid.width:,} \u00d7 {grid.height:,}"), ("cells", f"{grid.rows} \u00d7 {grid.cols}")]


def _trust(method: Mapping[str, Any]) -> str:
    """How well the scores predict what the model does, as the fit measured it, in a sentence."""
    skill, attainable = method.get("skill"), method.get("attainable")
    if skill is None:
        return "How far these scores can be trusted was not measured."
    interval = method.get("skill_interval")
    within = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    best = "" if attainable is None else f" (attainable by any scores of cells: {attainable:.2f})"
    verdict = " That is too little: do not trust this map." if method.get("trusted") is False else ""
    return f"Paired skill {skill:.2f}{within}{best}, on images that the fit held out.{verdict}"


def _about(method: Mapping[str, Any]) -> str:
    parts = [str(method.get("name") or "scores of cells")]
    if method.get("fitted"):
        parts.append("fitted equivalent matrices")
    if method.get("contrast") in _CONTRAST:
        parts.append(_CONTRAST[method["contrast"]])
    if removal := method.get("removal"):
        parts.append(_REMOVAL.get(removal, str(removal)))
    return f"Explains the model itself: {', '.join(parts)}."


def region_words(region: Region) -> str:
    """How many cells a region has, and where."""
    return f"{region.where}, {len(region.cells)} {'cell' if len(region.cells) == 1 else 'cells'}"


def in_words(form: Mapping[str, Any], drawn: ImageMap) -> str:
    """The map for those who do not see it: its best regions with their places and sums."""
    grid = drawn.grid
    size = f"a picture of {grid.width:,} by {grid.height:,} pixels in {grid.rows} by {grid.cols} cells"
    target, foil = form["target"]["label"], form["foil"]
    rather = f" rather than {foil['label']}" if foil else ""
    if not drawn.largest:
        return f"Map over {size}: no cell speaks for or against {target}{rather}."
    sums = number_format(region.score for region in drawn.regions)
    parts = []
    for sign, side in ((1, "for"), (-1, "against")):
        regions = [region for region in drawn.regions if region.score * sign > 0][:3]
        named = "; ".join(f"{region_words(region)}, sum {sums(region.score)}" for region in regions)
        parts.append(f"Speaks {side} {target}{rather}: {named or 'no region'}.")
    return f"Map over {size}. {' '.join(parts)}"


def layer_sums_of(layers: Sequence[Sequence[Sequence[float]]] | None) -> list[tuple[float, float]]:
    """Per depth, the sums of positive and of negative scores; empty without layers."""
    cells = [[score for row in depth for score in row] for depth in layers or ()]
    return [(math.fsum(s for s in depth if s > 0), math.fsum(s for s in depth if s < 0)) for depth in cells]
