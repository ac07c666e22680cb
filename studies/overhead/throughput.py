# SPDX-License-Identifier: Apache-2.0
"""Whole data sets: texts a second of `highlight_dataset`, beside a bare loop and transformers' pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from mhex_nlp import MhexExplainer

from ..common import MINILM, Run, ratio, timed_rounds
from ..highlighting import BARE_BATCH_TOKENS, PIPELINE_BATCHES, Contestants, best
from .measuring import Figure
from .models import Settings, make_models, sentences, tokenizer_of_minilm

TEXTS = 552  # all of the embedded corpus


def throughput(settings: Settings) -> Iterator[Figure]:
    """Ours to each of the others, the whole way from texts to a Parquet file."""
    models, tokenizer = make_models(MINILM, settings), tokenizer_of_minilm()
    texts = sentences(16 if settings.smoke else TEXTS)
    them = Contestants(MhexExplainer(models.heads, tokenizer), models.plain)
    sizes, budgets = ((8,), (512,)) if settings.smoke else (PIPELINE_BATCHES, BARE_BATCH_TOKENS)
    some = texts[: len(texts) // 2]
    size = best({size: partial(them.classify, some, size) for size in sizes})
    tokens = best({tokens: partial(them.forward, them.batches(some, tokens)) for tokens in budgets})
    runs: dict[Any, Run] = {
        "ours": partial(them.highlight, texts),
        "loop": partial(them.forward, them.batches(texts, tokens)),
        "pipeline": partial(them.classify, texts, size),
    }
    rounds = dict.fromkeys(runs, 2 if settings.smoke else 9) | {"pipeline": 2 if settings.smoke else 5}
    seconds = timed_rounds(runs, rounds, device=settings.device)
    rows = {
        "loop": (f"highlight_dataset to Parquet / bare loop, {tokens:,} tokens a batch, ready tokenised", 0.93),
        "pipeline": (f"highlight_dataset to Parquet / pipeline, batches of {size}", 2.0),
    }
    for name, (what, target) in rows.items():
        compared = ratio(seconds[name], seconds["ours"])
        interval = tuple(compared["interval95"])
        yield Figure(what, models.name, compared["ratio"], interval, rounds[name], target, at_least=True)
