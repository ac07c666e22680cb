# SPDX-License-Identifier: Apache-2.0
"""Units of work: what removing top tokens does, who agrees with the scores, what they follow, what they cost."""

from __future__ import annotations

import functools
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
from mhex_nlp.evaluation.metrics.ranking import rank_agreement
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.evaluation.model_values import TextValues, perturb

from ..common import ratio, timed_rounds, write_json
from . import data as corpus
from . import settings
from .models import Case, Columns, draw_texts

AGGREGATIONS = {"mhex_fitted": "fitted", "mhex_supervised": "mean"}


def targets_of(case: Case, texts: Sequence[TextValues]) -> list[int]:
    """The class the model predicts for each text, all texts run together."""
    case.values["mask"].fill(texts, [np.ones((1, text.n), dtype=bool) for text in texts])
    return [text.predicted() for text in texts]


def measure(case: Case, table: str, method: str, count: int) -> Columns:
    """(B,) figures of one method's scores for table A, B or D, averaged over the draws of "random"."""
    if table == "D":
        texts, targets, marks = zip(*gold_texts(case, count), strict=True)
    else:
        texts, marks = draw_texts(case, count), ()
        targets = targets_of(case, texts)
    if method == "shapley":
        return _reference(texts, targets)
    draws = []
    for draw in range(settings.RANDOM_DRAWS if method == "random" else 1):
        explanation_method, start = _method(case, method, draw), time.perf_counter()
        scores = explanation_method.explain(texts, targets)
        columns = {"seconds": np.asarray(time.perf_counter() - start)}
        if table == "D":
            columns |= {"auprc": auprc(scores, marks), "share": np.asarray([mark.mean() for mark in marks])}
        else:
            columns |= removed(texts, scores, targets)
        if table == "A" and method in settings.METHODS_DELETION:
            by_deletion = removed(draw_texts(case, count, "deletion"), scores, targets)
            columns |= {f"deletion {name}": values for name, values in by_deletion.items()}
        if table == "B":
            columns["spearman"] = rank_agreement(scores, shapley_rows(case)[:count])
        draws.append(columns)
    return {name: np.mean([columns[name] for columns in draws], axis=0) for name in draws[0]}


def removed(texts: Sequence[TextValues], scores: Sequence[np.ndarray], targets: Sequence[int]) -> Columns:
    """(B,) comprehensiveness and sufficiency; ERASER bins, divided by their number."""
    outputs = perturb(texts, scores, targets)
    return {
        "comprehensiveness": comprehensiveness(outputs.full, outputs.without),
        "sufficiency": sufficiency(outputs.full, outputs.only),
    }


def shapley_rows(case: Case) -> list[np.ndarray]:
    """The reference Shapley values on disk, (n_i,) for each text."""
    reference = case.load("B", "shapley")
    return np.split(reference["values"], np.cumsum(reference["lengths"])[:-1]) if reference else []


def _reference(texts: Sequence[TextValues], targets: Sequence[int]) -> Columns:
    """Shapley values of the centred logit, with their figures and the split-half reliability of each text's."""
    start, estimates = time.perf_counter(), []
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        game = text.value(target, output="centred")
        estimates.append(sampled_shapley(game, text.n, permutations=settings.PERMUTATIONS, seed=index))
    seconds, rows = time.perf_counter() - start, [estimate.values for estimate in estimates]
    return {
        "values": np.concatenate(rows),
        "lengths": np.asarray([len(row) for row in rows]),
        "reliability": np.asarray([estimate.reliability for estimate in estimates]),
        "corrected": np.asarray([estimate.corrected for estimate in estimates]),
        "seconds": np.asarray(seconds),
        "spearman": rank_agreement(rows, rows),
        **removed(texts, rows, targets),
    }


def _method(case: Case, name: str, draw: int) -> Any:
    """The `AttributionMethod` behind a name."""
    budgets = dict([settings.BUDGETS[name]]) if name in settings.BUDGETS else {}
    explainer = case.explainer if name.startswith("mhex") else None
    (method,) = available_methods(case.values["mask"], explainer, [name], seed=1000 * case.seed + draw, **budgets)
    return method


@functools.cache  # all methods are asked about the same ones
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
    texts = [text.item.text for text in draw_texts(case, count)]
    for method, aggregation in AGGREGATIONS.items():
        explainer = MhexExplainer(case.model, case.tokenizer, aggregation=aggregation, max_length=case.max_length)
        for part in settings.RANDOMISED:

            def make(explainer: MhexExplainer = explainer, part: str = part) -> Columns:
                return {"spearman": parameter_randomisation(explainer, texts, part, settings.RANDOMISATIONS)}

            case.unit("C", f"{method}-{part}", count, make)


def cost(case: Case) -> None:
    """Milliseconds of a plain forward pass and of one with attributions, in turn; rows the explainer runs."""
    path = case.folder / "cost.json"
    if path.is_file():
        return
    items = [text.item for text in draw_texts(case, settings.COST_TEXTS)]
    texts = [item.text for item in items]
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
