# SPDX-License-Identifier: Apache-2.0
"""Passes after `torch.compile`: of one text by a graph for texts of any length, of batches by one for their shape."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from ..common import MINILM, Run
from .measuring import PLAIN, Figure, Target, compare
from .models import Settings, batch_of, make_models
from .passes import BATCHES, FITTED, ONE_TEXT, TEXTS, again, call


def compiled(settings: Settings) -> Iterator[Figure]:
    """Fitted attributions of a compiled model beside the compiled plain model, and beside the one that is not."""
    models = make_models(MINILM, settings)
    backend = "eager" if settings.smoke else "inductor"
    for texts, tokens, target in ((1, ONE_TEXT, 1.10), *BATCHES[:3]):
        shape = f"one text of {tokens} tokens" if texts == 1 else f"{texts} × {tokens} tokens"
        inputs = batch_of(*settings.shape(texts, tokens), models.plain)
        torch.compiler.reset()
        how: dict[str, Any] = {"dynamic": texts == 1, "backend": backend}
        passes: dict[str, Run] = {
            PLAIN: partial(call, torch.compile(models.plain, **how), inputs),
            "fitted": partial(call, torch.compile(models.heads, **how), inputs, **FITTED),
        }
        for run in passes.values():
            run()  # compiles
        passes["not compiled"] = partial(call, models.plain, inputs)
        if texts == 1:
            passes = {name: partial(again, settings.shape(TEXTS, tokens)[0], run) for name, run in passes.items()}
        rows = {"fitted": Target(f"fitted attributions / plain, both compiled, {shape}", target)}
        yield from compare(passes, rows, MINILM, settings)
        passes[PLAIN] = passes.pop("not compiled")
        rows = {"fitted": Target(f"fitted attributions, compiled / plain, not compiled, {shape}")}
        yield from compare(passes, rows, MINILM, settings)
