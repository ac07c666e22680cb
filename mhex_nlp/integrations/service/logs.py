# SPDX-License-Identifier: Apache-2.0
"""Logs as one JSON object a line, which never hold a text, nor what was made of one.

Sentences of errors may quote what a request sent, so of exceptions only the type and the lines of code are logged.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

LOGGER = logging.getLogger("mhex_nlp.service")
_LOGGERS = ("mhex_nlp.service", "uvicorn", "asyncio")
_FRAMES = 12


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Logs an event with its fields, which are numbers and names of our own."""
    LOGGER.log(level, event, extra={"fields": {**fields, **({} if error is None else _described(error))}})


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, and the fields of `log`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; of an exception of other loggers the type and the lines of code, and never its sentence."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        ours = record.name == LOGGER.name
        # what other loggers say may hold parts of a request; their own words are in the format alone
        line |= {"event": record.getMessage()} if ours else {"event": "library", "logger": record.name}
        if not ours:
            line["message"] = str(record.msg)[:200]
        if record.exc_info and record.exc_info[1] is not None:
            line |= _described(record.exc_info[1])
        return json.dumps({**line, **getattr(record, "fields", {})})


@contextmanager
def json_logs(stream: TextIO) -> Iterator[None]:
    """Logs of the service and its libraries to a stream, as JSON; how they were logged before is put back."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    kept = []
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        kept.append((logger, logger.level, logger.propagate, logger.handlers[:]))
        logger.handlers[:], logger.propagate = [handler], False
        logger.setLevel(logging.INFO if logger is LOGGER else logging.WARNING)
    try:
        yield
    finally:
        for logger, level, propagate, handlers in kept:
            logger.setLevel(level)
            logger.handlers[:], logger.propagate = handlers, propagate


def _described(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return {"error": type(error).__name__, "at": [f"{one.filename}:{one.lineno} {one.name}" for one in frames]}
