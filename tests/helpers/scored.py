# SPDX-License-Identifier: Apache-2.0
"""Scores of any method, made by hand."""

from __future__ import annotations

from mhex_nlp import ScoredText


def hostile(attack: str) -> ScoredText:
    cut = len(attack) // 2
    names = {"label": attack, "target": attack, "foil": attack, "probability": 0.5}
    return ScoredText(attack, [(0, 0, 0.1), (0, cut, 0.5), (cut, len(attack), -0.25)], attack, **names)
