# SPDX-License-Identifier: Apache-2.0
"""Units of work: scores, what removing top tokens does, who agrees with them, what they follow, what they cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from mhex_nlp import MhexExplainer
from mhex_nlp.evaluation.benchmark.cost import Meter
from mhex_nlp.evaluation.benchmark.measures import unit_marks
from mhex_nlp.evaluation.benchmark.methods import available_methods
from mhex_nlp.evaluation.metrics.perturbation import comprehensiveness, sufficiency
from mhex_nlp.evaluation.metrics.plausibility import auprc
from mhex_nlp.evaluation.metrics.randomisation import parameter_randomisation
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.evaluation.text_values import TextValues, perturb

from ..common import ratio, timed_rounds, write_json
from . import data as corpus
from . import settings, store
from .models import Case

DIGITS = 6
AGGREGATIONS = {"mhex_fitted": "fitted", "mhex_supervised": "mean"}


def variants(method: str) -> list[str]:
    """The names under which the scores of a method lie: one for each draw of "random"."""
    return [f"random-{draw}" for draw in range(settings.RANDOM_DRAWS)] if method == "random" else [method]


def targets_of(case: Case, texts: Sequence[TextValues]) -> list[int]:
    """The class the model predicts for each text, all texts run together."""
    case.values["mask"].fill(texts, [np.ones((1, text.n), dtype=bool) for text in texts])
    return [text.predicted() for text in texts]


def score(
    case: Case, variant: str, texts: Sequence[TextValues], targets: Sequence[int], group: str = "scores"
) -> list[np.ndarray]:
    """The scores of one method, a row of (n_i,) for each text; `perturb` refuses wrong shapes and infinite ones."""

    def make() -> store.Columns:
        if variant == "shapley":
            return _reference(texts, targets)
        method, start = _method(case, variant), time.perf_counter()
        rows = method.explain(texts, targets)
        seconds = time.perf_counter() - start
        return {**store.pack(rows), "seconds": np.asarray(seconds)}

    return store.unpack(case.unit(variant, group, len(texts), make))[: len(texts)]


def measure(case: Case, variant: str, texts: Sequence[TextValues], targets: Sequence[int], removal: str) -> None:
    """What removing top tokens does, by the scores on disk."""

    def make() -> store.Columns:
        return removed(texts, case.scores(variant)[: len(texts)], targets)

    case.unit(variant, removal, len(texts), make)


def removed(texts: Sequence[TextValues], scores: Sequence[np.ndarray], targets: Sequence[int]) -> store.Columns:
    """(B,) comprehensiveness and sufficiency; ERASER bins, divided by their number."""
    outputs = perturb(texts, scores, targets)
    return {
        "comprehensiveness": np.round(comprehensiveness(outputs.full, outputs.without), DIGITS),
        "sufficiency": np.round(sufficiency(outputs.full, outputs.only), DIGITS),
    }


def plausibility(case: Case, variant: str, gold: Sequence[tuple[TextValues, int, np.ndarray]]) -> None:
    """AUPRC of one method's scores for each gold text, with the share of marked tokens."""
    texts, classes, marks = zip(*gold, strict=True)

    def make() -> store.Columns:
        agreement = auprc(score(case, variant, texts, classes, "gold"), [mark.astype(int) for mark in marks])
        shares = [mark.mean() for mark in marks]
        return {"auprc": np.round(agreement, DIGITS), "share": np.round(shares, DIGITS)}

    case.unit(variant, "auprc", len(texts), make)


def gold_texts(case: Case, count: int) -> list[tuple[TextValues, int, np.ndarray]]:
    """The first `count` treebank sentences, shuffled by the seed, that the model classifies as people do.

    Returns:
        the text; its class, gold and predicted alike; (n,) bool, which of its tokens people marked. A sentence of a
        single token, or with a marked word that has no token of its own or was cut off, is passed over.
    """
    sentences = list(corpus.read_gold(case.corpora))
    order = np.random.default_rng(case.seed).permutation(len(sentences))
    gold: list[tuple[TextValues, int, np.ndarray]] = []
    for start in range(0, len(order), 64):
        rows = [sentences[index] for index in order[start : start + 64]]
        texts = [case.values["mask"].of(row.text) for row in rows]
        for row, text, target in zip(rows, texts, targets_of(case, texts), strict=True):
            try:
                mark = unit_marks(text, row.spans, "gold")
            except ValueError:
                continue
            if text.n > 1 and target == row.label:
                gold.append((text, target, mark))
        if len(gold) >= count:
            break
    return gold[:count]


def randomise(case: Case, count: int) -> None:
    """(R, B) signed Spearman of both maps, for each part drawn anew."""
    texts = [text.item.text for text in case.texts(count)]
    for method, aggregation in AGGREGATIONS.items():
        explainer = MhexExplainer(case.model, case.tokenizer, aggregation=aggregation, max_length=case.max_length)
        for part in settings.RANDOMISED:

            def make(explainer: MhexExplainer = explainer, part: str = part) -> store.Columns:
                agreement = parameter_randomisation(explainer, texts, part, settings.RANDOMISATIONS)
                return {"spearman": np.round(agreement, DIGITS)}

            case.unit(f"{method}-{part}", "randomisation", count, make)


def cost(case: Case) -> None:
    """Milliseconds of a plain forward pass and of one with attributions, in turn; rows the explainer runs."""
    path = case.folder / "cost.json"
    if path.is_file():
        return
    drawn = case.texts(settings.COST_TEXTS)
    texts, items = [text.item.text for text in drawn], [text.item for text in drawn]
    batches = [inputs for _, inputs in case.values["mask"].batches(items)]
    plain = AutoModelForSequenceClassification.from_pretrained(
        case.folder / "fitted", num_labels=case.model.config.num_labels, trust_remote_code=False
    ).eval()

    def run(model: Any, **options: Any) -> None:
        with torch.inference_mode():
            for batch in batches:
                model(**batch, **options)

    runs = {
        "plain": lambda: run(plain),
        # as the explainer calls it
        "attributions": lambda: run(case.model, output_attributions=True, output_head_logits=False, return_dict=True),
    }
    seconds = timed_rounds(runs, dict.fromkeys(runs, settings.COST_ROUNDS), warm_up=2)
    with Meter(case.model) as meter:
        case.explainer(texts)
    if meter.rows != len(texts):
        raise RuntimeError(f"the explainer must make one forward pass a text, it made {meter.rows} for {len(texts)}.")
    record = {
        "texts": len(texts),
        "rounds": settings.COST_ROUNDS,
        "forward_passes": meter.rows / len(texts),
        **{f"{name}_ms": round(1000 * float(np.median(values)) / len(texts), 3) for name, values in seconds.items()},
        "explainer_ms": round(1000 * meter.seconds / len(texts), 3),
        **ratio(seconds["attributions"], seconds["plain"]),
    }
    write_json(path, record)
    print(f"{case.name} cost: ratio {record['ratio']:.3f} {record['interval95']}", flush=True)


def _method(case: Case, variant: str) -> Any:
    """The `AttributionMethod` behind a name."""
    name, _, draw = variant.partition("-")
    budgets = dict([settings.BUDGETS[name]]) if name in settings.BUDGETS else {}
    seed = 1000 * case.seed + int(draw or 0)
    explainer = case.explainer if name.startswith("mhex") else None
    (method,) = available_methods(case.values["mask"], explainer, [name], seed=seed, **budgets)
    return method


def _reference(texts: Sequence[TextValues], targets: Sequence[int]) -> store.Columns:
    """Shapley values of the centred logit, with the split-half reliability of each text's."""
    start, estimates = time.perf_counter(), []
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        game = text.value(target, output="centred")
        estimates.append(sampled_shapley(game, text.n, permutations=settings.PERMUTATIONS, seed=index))
    return {
        **store.pack([estimate.values for estimate in estimates]),
        "reliability": np.asarray([estimate.reliability for estimate in estimates]),
        "corrected": np.asarray([estimate.corrected for estimate in estimates]),
        "seconds": np.asarray(time.perf_counter() - start),
    }
