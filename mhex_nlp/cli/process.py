# SPDX-License-Identifier: Apache-2.0
"""What a verb sets for the whole process, put back afterwards, since `main` may be called in a program of others."""

from __future__ import annotations

import logging
import os
import random
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .say import say


@contextmanager
def process_kept() -> Iterator[None]:
    """Shows warnings as one line, and what libraries log without control characters, which names of files may hold.

    Puts back how they are shown, the environment and the state of random numbers.
    """
    environment, shown, python = dict(os.environ), warnings.showwarning, random.getstate()
    numpy, torch = (sys.modules.get(name) for name in ("numpy", "torch"))
    numpy_state = numpy and numpy.random.get_state()
    torch_state = torch and torch.random.get_rng_state()
    record_of = logging.getLogRecordFactory()
    try:
        logging.setLogRecordFactory(lambda *args, **kwargs: _printable_record(record_of(*args, **kwargs)))
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        logging.setLogRecordFactory(record_of)
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
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    data_bars = not datasets.are_progress_bars_disabled()
    try:
        if errors_only:
            transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        datasets.disable_progress_bars()
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        if data_bars:
            datasets.enable_progress_bars()


def _printable_record(record: logging.LogRecord) -> logging.LogRecord:
    """The message as `say` would print it, and without the colours that a library gave it."""
    from ..render.controls import printable

    try:
        message = record.getMessage()
    except (TypeError, ValueError):  # a library's own slip, which logging reports
        return record
    record.msg, record.args = printable(re.sub(r"\x1b\[[0-9;]*m", "", message), "utf-8"), None
    return record


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """A warning as one line on stderr."""
    say(f"warning: {message}", error=True)
