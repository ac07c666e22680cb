# SPDX-License-Identifier: Apache-2.0
"""Units of work of tables A, B and D: scores of a method, what removing their top tokens does, and who agrees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp.evaluation.benchmark.measures import unit_marks
from mhex_nlp.evaluation.benchmark.methods import available_methods
from mhex_nlp.evaluation.metrics.perturbation import comprehensiveness, sufficiency
from mhex_nlp.evaluation.metrics.plausibility import auprc
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.evaluation.text_values import TextValues, perturb

from . import data as corpus
from . import settings, store
from .models import Case


def variants(method: str) -> list[str]:
    """The names under which the scores of a method lie: one for each draw of "random"."""
    return [f"random-{draw}" for draw in range(settings.RANDOM_DRAWS)] if method == "random" else [method]


def place(case: Case, variant: str, group: str = "scores") -> tuple[Path, str]:
    """Where a unit lies, and what it depends on: the model, and what a setting says of the method."""
    _, budget = settings.BUDGETS.get(variant, ("", ""))
    return case.folder / group / f"{variant}.npz", f"{case.made_of(variant)} {budget}".strip()


def scores(case: Case, variant: str, group: str = "scores") -> list[np.ndarray]:
    """The rows on disk; none where the unit was not begun, or was made of another model."""
    return store.unpack(store.load(*place(case, variant, group)))


def score(
    case: Case, variant: str, texts: Sequence[TextValues], targets: Sequence[int], group: str = "scores"
) -> list[np.ndarray]:
    """The scores of one method, a row of (n_i,) for each text; `measure` refuses wrong shapes and infinite ones."""

    def make() -> store.Columns:
        if variant == "shapley":
            return _reference(texts, targets)
        method, start = _method(case, variant), time.perf_counter()
        rows = method.explain(texts, targets)
        seconds = time.perf_counter() - start
        return {**store.pack(rows), "seconds": np.asarray(seconds)}

    return store.unpack(store.unit(*place(case, variant, group), len(texts), make))[: len(texts)]


def measure(case: Case, variant: str, texts: Sequence[TextValues], targets: Sequence[int], removal: str) -> None:
    """Comprehensiveness and sufficiency of each text by the scores on disk; ERASER bins, divided by their number."""

    def make() -> store.Columns:
        removed = perturb(texts, scores(case, variant)[: len(texts)], targets)
        return {
            "comprehensiveness": np.round(comprehensiveness(removed.full, removed.without, "bins"), store.DIGITS),
            "sufficiency": np.round(sufficiency(removed.full, removed.only, "bins"), store.DIGITS),
        }

    store.unit(*place(case, variant, removal), len(texts), make)


def plausibility(case: Case, variant: str, chosen: tuple[list[TextValues], list[int], list[np.ndarray]]) -> None:
    """AUPRC of one method's scores for each gold text, with the share of marked tokens."""
    texts, classes, marks = chosen

    def make() -> store.Columns:
        agreement = auprc(score(case, variant, texts, classes, "gold"), [mark.astype(int) for mark in marks])
        shares = [mark.mean() for mark in marks]
        return {"auprc": np.round(agreement, store.DIGITS), "share": np.round(shares, store.DIGITS)}

    store.unit(*place(case, variant, "auprc"), len(texts), make)


def gold_texts(case: Case, count: int) -> tuple[list[TextValues], list[int], list[np.ndarray]]:
    """The first `count` treebank sentences, shuffled by the seed, that the model classifies as people do.

    Returns:
        texts; their class, gold and predicted alike; (n_i,) bool, which of their tokens people marked. A sentence of a
        single token, or with a marked word that has no token of its own or was cut off, is passed over.
    """
    gold, values = corpus.read_gold(case.corpora), case.values()
    order = np.random.default_rng(case.seed).permutation(len(gold)).tolist()
    texts: list[TextValues] = []
    classes, marks = [], []
    for start in range(0, len(order), 64):
        rows = [gold[index] for index in order[start : start + 64]]
        batch = [values.of(row.text) for row in rows]
        for row, text, target in zip(rows, batch, targets_of(case, batch), strict=True):
            try:
                mark = unit_marks(text, row.spans, "gold")
            except ValueError:
                continue
            if text.n > 1 and target == row.label and len(texts) < count:
                texts.append(text), classes.append(target), marks.append(mark)
        if len(texts) == count:
            break
    return texts, classes, marks


def targets_of(case: Case, texts: Sequence[TextValues]) -> list[int]:
    """The class the model predicts for each text, all texts run together."""
    case.values().fill(texts, [np.ones((1, text.n), dtype=bool) for text in texts])
    return [text.predicted() for text in texts]


def _method(case: Case, variant: str) -> Any:
    """The `AttributionMethod` behind a name."""
    name, _, draw = variant.partition("-")
    budgets = dict([settings.BUDGETS[name]]) if name in settings.BUDGETS else {}
    seed = 1000 * case.seed + int(draw or 0)
    explainer = case.explainer if name.startswith("mhex") else None
    (method,) = available_methods(case.values(), explainer, [name], seed=seed, **budgets)
    return method


def _reference(texts: Sequence[TextValues], targets: Sequence[int]) -> store.Columns:
    """Shapley values of the centred logit, with the split-half reliability of each text's."""
    start, values = time.perf_counter(), []
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        game = text.value(target, output="centred")
        values.append(sampled_shapley(game, text.n, permutations=settings.PERMUTATIONS, seed=index))
    return {
        **store.pack([each.values for each in values]),
        "reliability": np.asarray([each.reliability for each in values]),
        "corrected": np.asarray([each.corrected for each in values]),
        "seconds": np.asarray(time.perf_counter() - start),
    }
