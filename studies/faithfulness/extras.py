# SPDX-License-Identifier: Apache-2.0
"""Units of work of tables C (parameter randomisation) and E (cost)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from mhex_nlp import MhexExplainer
from mhex_nlp.evaluation.benchmark.cost import Meter
from mhex_nlp.evaluation.metrics.randomisation import parameter_randomisation
from mhex_nlp.inputs.batching import token_batches

from ..common import ratio, timed_rounds, write_json
from . import settings, store
from .models import Case

AGGREGATIONS = {"mhex_fitted": "fitted", "mhex_supervised": "mean"}


def randomisation_place(case: Case, method: str, part: str) -> tuple[Path, str]:
    return case.folder / "randomisation" / f"{method}-{part}.npz", case.made_of(method)


def randomise(case: Case, count: int) -> None:
    """(R, B) signed Spearman of both maps, for each part drawn anew."""
    texts = [text.item.text for text in case.texts(count)]
    for method, aggregation in AGGREGATIONS.items():
        for part in settings.RANDOMISED:

            def make(aggregation: str = aggregation, part: str = part) -> store.Columns:
                explainer = MhexExplainer(
                    case.model, case.tokenizer, aggregation=aggregation, max_length=case.max_length
                )
                agreement = parameter_randomisation(explainer, texts, part, settings.RANDOMISATIONS)
                return {"spearman": np.round(agreement, store.DIGITS)}

            store.unit(*randomisation_place(case, method, part), count, make)


def cost(case: Case) -> None:
    """Milliseconds of a plain forward pass and of one with attributions, in turn; rows the explainer runs."""
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
