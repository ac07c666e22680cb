# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several rooms share."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from helpers.browser import ARGUMENTS

# How fast examples are drawn says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def saved_explainer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The explainer of a fitted tiny classifier, and the folder with its model and tokenizer."""
    from helpers.families import train_heads
    from helpers.tiny import random_texts, tiny_mhex, tiny_tokenizer
    from mhex_nlp import MhexExplainer, fit_equivalent_matrices

    model, tokenizer = train_heads(tiny_mhex(gate=False).eval()), tiny_tokenizer()
    fit_equivalent_matrices(model, tokenizer, random_texts(80), held_out=0.4, progress=False)
    folder = tmp_path_factory.mktemp("fitted")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return MhexExplainer.from_pretrained(str(folder)), folder


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Nothing is unplugged here, and hundreds of jobs would wait some 10 ms for each file.

    Tests of what is on the disk when a process ends put calls of their own in its place.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def collector_passes_over_what_stays() -> None:
    """Modules and caches stay to the end: the garbage collector need not look at all they hold in each of its rounds.

    A comparison alone collects once a method, which takes a third of a second where transformers is loaded.
    """
    gc.collect()
    gc.freeze()
