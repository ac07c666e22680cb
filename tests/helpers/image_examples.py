# SPDX-License-Identifier: Apache-2.0
"""Image explanations in JSON form with scores that are made up, and a drawn picture to lay them over."""

from __future__ import annotations

import copy
from typing import Any

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 120, 80
# The model sees the square in the middle: 20 columns of pixels at both sides are cut off.
SCORES = [
    [0.0, 0.1, 0.0, 0.0, 0.0],
    [0.2, 1.0, 0.5, 0.0, 0.0],
    [0.0, 0.4, 0.0, 0.0, -0.1],
    [0.0, 0.0, -0.1, -0.3, -0.6],
    [0.0, 0.0, 0.0, -0.5, 0.0],
]
EXAMPLE: dict[str, Any] = {
    "schema": "mhex-image-explanation/1.1",
    "kind": "image",
    "id": "7",
    "image": {"width": WIDTH, "height": HEIGHT, "sha256": "0" * 64, "name": None},
    "grid": {"rows": 5, "cols": 5, "x0": 20.0, "y0": 0.0, "dx": 16.0, "dy": 16.0},
    "prediction": {
        "label": "cat",
        "id": 0,
        "probability": 0.9,
        "probabilities": {"cat": 0.9, "dog": 0.08, "cup": 0.02},
    },
    "target": {"label": "cat", "id": 0},
    "foil": None,
    "scores": SCORES,
    "sum": 0.6,
    "base_value": -0.25,
    "empty": {"label": "dog", "id": 1, "probability": 0.5},
    "p_empty": 0.3,
    "method": {
        "name": "mhex",
        "fitted": True,
        "removal": "mean",
        "contrast": "centred",
        "skill": 0.42,
        "skill_interval": [0.38, 0.46],
        "attainable": 0.56,
        "trusted": True,
    },
    "model": {"name": "tiny-resnet", "revision": None},
    "library": "mhex_nlp 0.1.0",
    "notes": [],
}


def image_example(**changes: Any) -> dict[str, Any]:
    """`EXAMPLE` with some of its values replaced; `method` changes what it names alone."""
    form = copy.deepcopy(EXAMPLE)
    form["method"].update(changes.pop("method", {}))
    form.update(changes)
    return form


def scaled(factor: float) -> list[list[float]]:
    return [[factor * score for score in row] for row in SCORES]


CLASSES = image_example(
    classes=["cat", "dog", "cup"],
    class_scores=[scaled(1), scaled(-2), scaled(0.5)],
    layers=[scaled(0.25), scaled(0.75)],
    foil={"label": "dog", "id": 1},
)
UNTRUSTED = image_example(
    method={"skill": 0.09, "skill_interval": [0.05, 0.13], "trusted": False},
    notes=["An empty image is a cat to the model already."],
    grid={"rows": 5, "cols": 5, "x0": 0.0, "y0": -20.0, "dx": 24.0, "dy": 24.0},
)


def drawn_picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A picture with edges and smooth parts, the same each time."""
    red = Image.linear_gradient("L").resize((width, height))
    picture = Image.merge(
        "RGB", (red, red.transpose(Image.Transpose.ROTATE_180), Image.radial_gradient("L").resize(red.size))
    )
    ImageDraw.Draw(picture).ellipse((width // 4, height // 4, width // 2, height // 2), fill=(240, 220, 40))
    return picture


def hostile(attack: str) -> dict[str, Any]:
    """An explanation with a string wherever there may be one."""
    return image_example(
        id=attack,
        image={"width": WIDTH, "height": HEIGHT, "sha256": attack, "name": attack},
        prediction={"label": attack, "id": 0, "probability": 0.9, "probabilities": {attack: 0.9, attack + "2": 0.1}},
        target={"label": attack, "id": 0},
        foil={"label": attack + "2", "id": 1},
        empty={"label": attack, "id": 1, "probability": 0.5},
        classes=[attack, attack + "2"],
        class_scores=[scaled(1), scaled(-1)],
        method={"name": attack, "removal": attack, "contrast": attack},
        model={"name": attack, "revision": attack},
        library=attack,
        notes=[attack],
    )
