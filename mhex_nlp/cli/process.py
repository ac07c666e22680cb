# SPDX-License-Identifier: Apache-2.0
"""What a verb sets for the whole process, put back afterwards, since `main` may be called in a program of others."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .say import say


@contextmanager
def process_kept() -> Iterator[None]:
    """Shows warnings as one line; puts back how they are shown, the environment and the state of random numbers."""
    environment, shown, python = dict(os.environ), warnings.showwarning, random.getstate()
    numpy, torch = (sys.modules.get(name) for name in ("numpy", "torch"))
    numpy_state = numpy and numpy.random.get_state()
    torch_state = torch and torch.random.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        warnings.showwarning = shown
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        if torch is not None:
            torch.random.set_rng_state(torch_state)


@contextmanager
def quiet_libraries(errors_only: bool = True) -> Iterator[None]:
    """Keeps transformers and datasets from drawing progress bars, and transformers from logging less than errors."""
    import datasets
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    data_bars = not datasets.are_progress_bars_disabled()
    try:
        if errors_only:
            logging.set_verbosity_error()
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if data_bars:
            datasets.enable_progress_bars()


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """A warning as one line on stderr."""
    say(f"warning: {message}", error=True)
