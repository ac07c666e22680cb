# SPDX-License-Identifier: Apache-2.0
"""Resident memory over many streamed texts, each with words that were never seen before."""

from __future__ import annotations

import gc
import random
import string
import time
from collections.abc import Iterator

import psutil
import pytest

from helpers.attack import record, rounds
from helpers.families import train_heads
from helpers.tiny import tiny_mhex, tiny_tokenizer
from mhex_nlp import MhexExplainer
from mhex_nlp.inputs import segmentation

pytestmark = pytest.mark.slow
FULL = 100_000


def made_up(count: int, seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    for _ in range(count):
        yield " ".join("".join(draw.choices(string.ascii_lowercase, k=7)) for _ in range(3)) + "."


@pytest.mark.timeout(900)
def test_memory_stays_flat_with_a_language() -> None:
    """From a tenth of the texts on: spaCy keeps every string it is given, so its pipelines are made anew in time."""
    explainer = MhexExplainer(train_heads(tiny_mhex(gate=False).eval()), tiny_tokenizer(), language="en")
    count, start, process = rounds(FULL), time.perf_counter(), psutil.Process()
    early = largest = 0
    for number, explanation in enumerate(explainer.stream(made_up(count, seed=1)), 1):
        assert len(explanation.words()) == 4
        if number % 100 == 0:
            explanation.sentences(language="en")
        if number == count // 10:
            gc.collect()
            early = process.memory_info().rss
        if number % 5_000 == 0 or number == count:
            largest = max(largest, len(segmentation._PIPELINES["en"][0].vocab.strings))
    gc.collect()
    growth = process.memory_info().rss / early
    assert largest < 2 * segmentation._STRINGS
    # a small share of the texts is over before a pipeline was made anew even once
    assert growth <= 1.05, f"resident memory grew by {growth - 1:.1%} from text {count // 10} to {count}"
    seconds = round(time.perf_counter() - start, 1)
    record("resident memory, language en", tried=count, wrong=0, growth=round(growth, 3), seconds=seconds)
