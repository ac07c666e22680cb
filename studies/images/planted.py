# SPDX-License-Identifier: Apache-2.0
"""Planted patterns: does the map find what alone decides the class, with the right sign, and one of two patterns?"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from mhex_nlp.evaluation.metrics.images import pointing_game, precision_at

from .data import Images, cifar, planted, planted_twice
from .measuring import Settings, compared, fitted, share
from .models import KINDS, predictions, trained_model

TWICE = 200  # images with two patterns
TEST_SEED = 100


@functools.cache
def backgrounds(settings: Settings) -> tuple[Images, Images]:
    """CIFAR's, training and test."""
    return cifar(settings.data / "cifar10_test_jpg.tar", 60 if settings.smoke else None)


def units(settings: Settings) -> list[tuple[str, int]]:
    """The network and seed of each piece of work."""
    return [(kind, seed) for seed in range(settings.seeds) for kind in KINDS]


def measure(settings: Settings, kind: str, seed: int) -> dict[str, Any]:
    """One network of one seed: its accuracy, the comparison, and the two patterns with a foil."""
    training, test = backgrounds(settings)
    options = {"epochs": 1} if settings.smoke else {}
    data, tested = planted(training, seed), planted(test, TEST_SEED + seed)
    folder = settings.work / f"planted-{kind}-{seed}"
    model = trained_model(kind, data, seed, folder, **options)
    said = predictions(model, tested)
    network = fitted(model, data, settings, seed)
    judged = tested.take(np.flatnonzero((tested.labels > 0) & ((said == tested.labels) | settings.smoke)))
    judged = judged.take(np.arange(min(settings.images, len(judged))))
    comparison, _ = compared(network, judged, settings, seed, ("blur",))
    return {
        "accuracy": float((said == tested.labels).mean()),
        "comparison": comparison,
        "found": _found(network, tested, said == tested.labels),
        "twice": _twice(network, test, seed, settings),
    }


def _found(network: Any, data: Images, right: Any) -> dict[str, Any]:
    """Of all test images with a pattern that are predicted rightly: is the map positive and best where it is?"""
    chosen = data.take(np.flatnonzero((data.labels > 0) & right))
    if not len(chosen):
        return {}
    maps = network.maps(chosen, chosen.labels)
    assert chosen.regions is not None
    inside = np.array([one[region].sum() for one, region in zip(maps, chosen.regions, strict=True)])
    return {
        "best four": share(precision_at(list(maps), list(chosen.regions))),
        "best": share(pointing_game(list(maps), list(chosen.regions))),
        "positive": share(inside > 0),
    }


def _twice(network: Any, test: Images, seed: int, settings: Settings) -> dict[str, Any]:
    """Of images with two patterns, for the first rather than the second: signs, and the best and the worst cell."""
    both, others, other_regions = planted_twice(test, TEST_SEED + seed)
    count = min(TWICE, len(both))
    rows = np.arange(count)
    some = both.take(rows)
    maps = network.maps(some, some.labels, others[rows])
    assert some.regions is not None
    pairs = list(zip(maps, some.regions, other_regions[rows], strict=True))
    return {
        "positive on the target": share([one[region].sum() > 0 for one, region, _ in pairs]),
        "negative on the foil": share([one[region].sum() < 0 for one, _, region in pairs]),
        "best cell in the target": share(pointing_game(list(maps), list(some.regions))),
        "worst cell in the foil": share(pointing_game(list(-maps), list(other_regions[rows]))),
    }
