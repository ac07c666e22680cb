# SPDX-License-Identifier: Apache-2.0
"""Highlights of a few texts as they change during training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Afterwards every random state is what it was before.

    big_bird seeds numpy in each forward pass, so torch's generator alone is not enough.
    """
    python, numpy = random.getstate(), np.random.get_state()
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def check_highlights(model: Any, tokenizer: Any, texts: Sequence[str]) -> None:
    """Refuses at once what `write_highlights` would refuse later on: a text without any token, a slow tokenizer."""
    from ..explain.explainer import MhexExplainer
    from ..inputs.texts import repair_surrogates

    MhexExplainer(model, tokenizer).tokenise([repair_surrogates(text) for text in texts], name="texts")


def write_highlights(model: Any, tokenizer: Any, texts: Sequence[str], directory: Path, step: int) -> list[Path]:
    """Explains `texts` into `step-000120.html` and `step-000120.jsonl` in `directory`; training goes on as if not.

    Returns the two files.
    """
    from ..corpus.jsonl import write_jsonl
    from ..explain.explainer import MhexExplainer
    from ..render import render_page

    with untouched(model):
        explanations = MhexExplainer(model, tokenizer)(list(texts), layers=True)
    directory.mkdir(parents=True, exist_ok=True)
    page = render_page([explanation.to_dict() for explanation in explanations], title=f"Step {step}")
    files = [directory / f"step-{step:06d}.{kind}" for kind in ("html", "jsonl")]
    files[0].write_text(page, "utf-8")
    write_jsonl(explanations, files[1])
    return files
