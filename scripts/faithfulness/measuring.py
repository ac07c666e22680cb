# SPDX-License-Identifier: Apache-2.0
"""Units of work of tables A and B: scores of a method, and what removing their top tokens does; kept a chunk at a time.

A unit that is on disk is not done again; one that is there for fewer texts is continued.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp.evaluation.benchmark.methods import available_methods
from mhex_nlp.evaluation.metrics.perturbation import comprehensiveness, sufficiency
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.evaluation.text_values import TextValues, perturb

from . import settings, store
from .models import Case

CHUNK = 30  # texts between two writes
DIGITS = 6


def variants(method: str) -> list[str]:
    """The names under which the scores of a method lie: one for each draw of "random"."""
    return [f"random-{draw}" for draw in range(settings.RANDOM_DRAWS)] if method == "random" else [method]


def score_path(case: Case, variant: str, group: str = "scores") -> Path:
    return case.folder / group / f"{variant}.npz"


def made_of(case: Case, variant: str) -> str:
    """What the scores under this name depend on: the model, and what a setting says of the method."""
    _, budget = settings.BUDGETS.get(variant, ("", ""))
    return f"{case.made_of(variant)} {budget}".strip()


def method(case: Case, variant: str) -> Any:
    """The `AttributionMethod` behind a name."""
    name, _, draw = variant.partition("-")
    budgets = dict([settings.BUDGETS[name]]) if name in settings.BUDGETS else {}
    seed = 1000 * case.seed + int(draw or 0)
    explainer = case.explainer if name.startswith("mhex") else None
    (found,) = available_methods(case.values(), explainer, [name], seed=seed, **budgets)
    return found


def score(case: Case, variant: str, texts: Sequence[TextValues], targets: Sequence[int], group: str = "scores") -> None:
    """The scores of one method, a row of (n_i,) for each text.

    Raises:
        ValueError: a method that gives another number of scores, or scores that are not finite.
    """
    path, origin = score_path(case, variant, group), made_of(case, variant)
    columns = store.load(path, origin)
    rows = store.unpack(columns)
    if len(rows) >= len(texts):
        return
    seconds, one, begin = float(columns.get("seconds", 0.0)), method(case, variant), time.perf_counter()
    # random draws depend on a text's place in the call, so all of them are drawn at once
    chunk = len(texts) if variant.startswith("random") else CHUNK
    while len(rows) < len(texts):
        place = slice(0 if chunk == len(texts) else len(rows), min(len(rows) + chunk, len(texts)))
        start = time.perf_counter()
        found = one.explain(texts[place], targets[place])
        seconds += time.perf_counter() - start
        for text, row in zip(texts[place], found, strict=True):
            if np.shape(row) != (text.n,) or not np.isfinite(row).all():
                raise ValueError(
                    f"{variant} must give {text.n} finite scores for {text.item.text[:40]!r}, got {row!r}."
                )
        rows = rows[: place.start] + [np.asarray(row, dtype=float) for row in found]
        store.save(path, origin, **store.pack(rows), seconds=np.asarray(seconds))
    _say(case, variant, group, len(rows), begin)


def measure(case: Case, variant: str, texts: Sequence[TextValues], targets: Sequence[int], removal: str) -> None:
    """Comprehensiveness and sufficiency of each text by the scores on disk; ERASER bins, divided by their number."""
    path, origin = score_path(case, variant, removal), made_of(case, variant)
    columns = store.load(path, origin)
    done = len(columns.get("comprehensiveness", ()))
    if done >= len(texts):
        return
    rows, begin = scores(case, variant), time.perf_counter()
    kept = {name: columns.get(name, np.empty(0)) for name in ("comprehensiveness", "sufficiency")}
    for start in range(done, len(texts), 4 * CHUNK):
        place = slice(start, min(start + 4 * CHUNK, len(texts)))
        found = perturb(texts[place], rows[place], targets[place])
        for name, values in (
            ("comprehensiveness", comprehensiveness(found.full, found.without, "bins")),
            ("sufficiency", sufficiency(found.full, found.only, "bins")),
        ):
            kept[name] = np.concatenate([kept[name], np.round(values, DIGITS)])
        store.save(path, origin, **kept)
    _say(case, variant, f"{removal} removal", len(texts), begin)


def reference(case: Case, texts: Sequence[TextValues], targets: Sequence[int]) -> None:
    """Shapley values of the centred logit, with the split-half reliability of each text's."""
    path, origin = score_path(case, "shapley"), made_of(case, "shapley")
    columns = store.load(path, origin)
    rows = store.unpack(columns)
    if len(rows) >= len(texts):
        return
    seconds, begin = float(columns.get("seconds", 0.0)), time.perf_counter()
    trust = {name: list(columns.get(name, ())) for name in ("reliability", "corrected")}
    for index in range(len(rows), len(texts)):
        start, text = time.perf_counter(), texts[index]
        value = text.value(targets[index], output="centred")
        found = sampled_shapley(value, text.n, permutations=settings.PERMUTATIONS, seed=index)
        seconds += time.perf_counter() - start
        rows.append(found.values)
        trust["reliability"].append(found.reliability)
        trust["corrected"].append(found.corrected)
        store.save(path, origin, **store.pack(rows), **trust, seconds=np.asarray(seconds))
    _say(case, "shapley", "scores", len(rows), begin)
    print(f"{case.name} shapley: reliability {np.mean(trust['reliability']):.3f}", end=", ")
    print(f"Spearman-Brown {np.mean(trust['corrected']):.3f}", flush=True)


def targets_of(case: Case, texts: Sequence[TextValues]) -> list[int]:
    """The class the model predicts for each text, all texts run together."""
    case.values().fill(texts, [np.ones((1, text.n), dtype=bool) for text in texts])
    return [text.predicted() for text in texts]


def scores(case: Case, variant: str, group: str = "scores") -> list[np.ndarray]:
    """The rows on disk; none where the unit was not begun, or was made of another model."""
    return store.unpack(store.load(score_path(case, variant, group), made_of(case, variant)))


def _say(case: Case, variant: str, what: str, count: int, begin: float) -> None:
    print(f"{case.name} {variant} {what}: {count} texts, {time.perf_counter() - begin:.1f} s", flush=True)
