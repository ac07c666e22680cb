# SPDX-License-Identifier: Apache-2.0
"""Fits: their seconds, how much of them is masked forward passes, and their memory, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import BertConfig

from mhex_nlp import fit_equivalent_matrices
from mhex_nlp.evaluation.benchmark.cost import Meter
from mhex_nlp.models.perturbed import PerturbedModel
from mhex_nlp.training.fitting.ridge import RidgeStream

from ..common import MINILM, be_quiet
from .measuring import GIGABYTE, Figure
from .models import BERT_BASE, Settings, layout_of, make_models, sentences, tokenizer_of_minilm

FITS = ((300, 20.0), (1500, 120.0))  # sentences, and the seconds that are aimed at
RATIO, MEMORY = 1.4, 1.6
REPEATS, LONG = 3, 90.0  # of a fit, while all together take fewer seconds than the second


def fits(settings: Settings) -> Iterator[Figure]:
    """Fits of MiniLM: seconds, their ratio to those of the masked passes, memory."""
    for count, target in FITS[:1] if settings.smoke else FITS:
        texts = 24 if settings.smoke else count
        made = [_alone(measure_fit, settings, texts)]
        while len(made) < REPEATS and sum(fit["seconds"] for fit in made) < LONG and not settings.smoke:
            made.append(_alone(measure_fit, settings, texts))
        what = f"fit of {count:,} sentences"
        ratios = [fit["seconds"] / fit["masked_seconds"] for fit in made]
        seconds, memory = ([fit[name] for fit in made] for name in ("seconds", "bytes"))
        ends = (min(ratios), max(ratios)) if len(made) > 1 else None
        share = f"{made[0]['features']:,} features; all fits lie in the interval"
        yield Figure(what, MINILM, round(float(np.median(seconds)), 1), None, len(made), target, unit="s")
        yield Figure(
            f"{what}, whole / masked passes", MINILM, float(np.median(ratios)), ends, len(made), RATIO, note=share
        )
        yield Figure(f"memory of a {what}", MINILM, max(memory) / GIGABYTE, None, len(made), unit="GB")


def equations(settings: Settings) -> Iterator[Figure]:
    """What the equations of a model as wide and deep as BERT-base hold at most, no depth thinned."""
    layout = layout_of(BertConfig(num_hidden_layers=2, hidden_size=16) if settings.smoke else BertConfig())
    measured = _alone(measure_equations, settings, layout.parts)
    what = f"memory of a fit of {layout.features:,} features, with more rows than features"
    note = f"random rows, {measured['seconds']:.0f} s with one solution"
    yield Figure(what, BERT_BASE, measured["bytes"] / GIGABYTE, None, 1, MEMORY, unit="GB", note=note)


def _alone(measure: Callable[..., dict[str, Any]], settings: Settings, *arguments: Any) -> dict[str, Any]:
    """Called in a new process, whose memory tells of nothing else; in this one where it is a matter of seconds."""
    if settings.smoke:
        return measure(settings, *arguments)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_start, initargs=(settings,)) as pool:
        return pool.submit(measure, settings, *arguments).result()


def _start(settings: Settings) -> None:
    be_quiet()
    if settings.threads:
        torch.set_num_threads(settings.threads)


def measure_fit(settings: Settings, texts: int) -> dict[str, Any]:
    """One fit: its seconds, those within masked passes, bytes beyond the model, and features read."""
    models, run, masked = make_models(MINILM, settings), PerturbedModel.run, 0.0
    models.heads.drop_readout()
    tokenizer, chosen = tokenizer_of_minilm(), sentences(texts)

    def timed(*arguments: Any, **options: Any) -> Any:
        nonlocal masked
        start = time.perf_counter()
        try:
            return run(*arguments, **options)
        finally:
            masked += time.perf_counter() - start

    with mock.patch.object(PerturbedModel, "run", timed), Meter(models.heads) as meter, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on few texts judged
        fit_equivalent_matrices(models.heads, tokenizer, chosen, progress=False)
    features = layout_of(models.plain.config).features
    return {"seconds": meter.seconds, "masked_seconds": masked, "bytes": meter.peak_bytes, "features": features}


def measure_equations(settings: Settings, parts: tuple[int, ...]) -> dict[str, Any]:
    """Rows of a regression gathered, a few more than there are features, and solved once: seconds and bytes."""
    draw, features = torch.Generator().manual_seed(0), sum(parts)
    tiny = make_models(MINILM, Settings(smoke=True)).heads  # the meter wants a model
    with Meter(tiny) as meter:
        stream = RidgeStream(parts, targets=2)
        for _ in range(0, features + 1, 5):  # as many as a text has with eight masks
            stream.add(torch.randn(5, features, generator=draw), torch.randn(5, 2, generator=draw))
        stream.solve(1.0)
    return {"seconds": meter.seconds, "bytes": meter.peak_bytes}
