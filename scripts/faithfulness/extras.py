# SPDX-License-Identifier: Apache-2.0
"""Units of work of tables C (parameter randomisation), D (plausibility) and E (cost)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from mhex_nlp import MhexExplainer
from mhex_nlp.evaluation.bootstrap import bootstrap, percentile_interval
from mhex_nlp.evaluation.metrics.plausibility import auprc, rationale_mask
from mhex_nlp.evaluation.metrics.randomisation import parameter_randomisation
from mhex_nlp.evaluation.text_values import TextValues
from mhex_nlp.inputs.batching import token_batches

from . import data as corpus
from . import measuring, settings, store
from .models import Case

AGGREGATIONS = {"mhex_fitted": "fitted", "mhex_supervised": "mean"}


def randomisation_path(case: Case, method: str, part: str) -> Path:
    return case.folder / "randomisation" / f"{method}-{part}.npz"


def randomise(case: Case, count: int) -> None:
    """(R, B) signed Spearman of both maps, for each part drawn anew."""
    for method, aggregation in AGGREGATIONS.items():
        for part in settings.RANDOMISED:
            path, origin = randomisation_path(case, method, part), case.made_of(method)
            known = store.load(path, origin).get("spearman")
            if known is not None and known.shape[1] >= count:
                continue
            start = time.perf_counter()
            explainer = MhexExplainer(case.model, case.tokenizer, aggregation=aggregation, max_length=case.max_length)
            texts = [text.item.text for text in case.texts(count)]
            found = parameter_randomisation(explainer, texts, part, settings.RANDOMISATIONS)
            store.save(path, origin, spearman=np.round(found, measuring.DIGITS))
            seconds = time.perf_counter() - start
            print(f"{case.name} {method}, {part} randomised: {found.mean():+.3f}, {seconds:.1f} s", flush=True)


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
        for row, text, target in zip(rows, batch, measuring.targets_of(case, batch), strict=True):
            try:
                mask = rationale_mask(row.text, [(token.start, token.end) for token in text.tokens], row.spans)
            except ValueError:
                continue
            if text.n > 1 and target == row.label and len(texts) < count:
                texts.append(text), classes.append(target)
                marks.append(np.asarray([mask[list(unit)].any() for unit in text.units]))
        if len(texts) == count:
            break
    return texts, classes, marks


def plausibility(case: Case, variant: str, chosen: tuple[list[TextValues], list[int], list[np.ndarray]]) -> None:
    """AUPRC of one method's scores for each gold text, with the share of marked tokens."""
    texts, classes, marks = chosen
    path, origin = measuring.score_path(case, variant, "auprc"), measuring.made_of(case, variant)
    if len(store.load(path, origin).get("auprc", ())) >= len(texts):
        return
    measuring.score(case, variant, texts, classes, "gold")
    rows = measuring.scores(case, variant, "gold")[: len(texts)]
    found = np.round(auprc(rows, [mark.astype(int) for mark in marks]), measuring.DIGITS)
    store.save(path, origin, auprc=found, share=np.round([mark.mean() for mark in marks], measuring.DIGITS))
    print(f"{case.name} {variant} AUPRC: {found.mean():.3f}", flush=True)


def cost(case: Case) -> None:
    """Seconds of a plain forward pass and of one with attributions, in turn; forward passes the explainer makes."""
    path = case.folder / "cost.json"
    if path.is_file():
        return
    texts = [text.item.text for text in case.texts(settings.COST_TEXTS)]
    plain = AutoModelForSequenceClassification.from_pretrained(
        case.folder / "fitted", num_labels=case.model.config.num_labels, trust_remote_code=False
    ).eval()
    encoded = [case.tokenizer(text, truncation=True, max_length=case.max_length) for text in texts]
    batches = [
        case.tokenizer.pad([encoded[index] for index in batch], return_tensors="pt")
        for batch in token_batches([len(each["input_ids"]) for each in encoded], settings.BATCH_TOKENS)
    ]

    def run(model: Any, **options: Any) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in batches:
                model(**batch, **options)
        return (time.perf_counter() - start) / len(texts)

    runs = {
        "plain": lambda: run(plain),
        # as the explainer calls it
        "attributions": lambda: run(case.model, output_attributions=True, output_head_logits=False, return_dict=True),
    }
    generator = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(settings.COST_ROUNDS + 2):
        for name in generator.permutation(list(runs)):
            seconds = runs[name]()
            if turn >= 2:  # the first two warm up
                times[name].append(seconds)
    rows = 0

    def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        nonlocal rows
        rows += len(kwargs["input_ids"])

    hook = case.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        start = time.perf_counter()
        case.explainer(texts)
        whole = (time.perf_counter() - start) / len(texts)
    finally:
        hook.remove()
    if rows != len(texts):
        raise RuntimeError(f"the explainer must make one forward pass a text, it made {rows} for {len(texts)} texts.")
    ratios = np.asarray(times["attributions"]) / np.asarray(times["plain"])
    low, high = percentile_interval(bootstrap(ratios, lambda samples: np.median(samples, axis=1), 4000, generator))
    record = {
        "texts": len(texts),
        "rounds": settings.COST_ROUNDS,
        "forward_passes": rows / len(texts),
        "plain_ms": round(1000 * float(np.median(times["plain"])), 3),
        "attributions_ms": round(1000 * float(np.median(times["attributions"])), 3),
        "explainer_ms": round(1000 * whole, 3),
        "ratio": round(float(np.median(ratios)), 4),
        "interval95": [round(low, 4), round(high, 4)],
    }
    store.write_whole(path, lambda partial: partial.write_text(json.dumps(record, indent=1) + "\n", "utf-8"))
    print(f"{case.name} cost: ratio {record['ratio']:.3f} {record['interval95']}", flush=True)
