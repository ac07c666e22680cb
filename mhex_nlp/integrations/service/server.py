# SPDX-License-Identifier: Apache-2.0
"""A service as a process: its address, its logs, and its end."""

from __future__ import annotations

import errno
import math
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import uvicorn

from .app import create_app
from .logs import json_logs, log
from .served import load_served
from .settings import ServiceSettings

_BACKLOG = 2048
_GRACE = 5  # seconds beyond a request's own for its answer to be written


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    settings: ServiceSettings | None = None,
    logs: TextIO | None = None,
    **options: Any,
) -> None:
    """Serves the model of a folder until the process gets SIGTERM or SIGINT, and finishes what was taken.

    Args:
        model: a folder with a model of torch or of ONNX Runtime, or a name on the hub.
        host, port: the address; port 0 takes a free one, which the log names.
        settings: the limits.
        logs: where lines of JSON go; standard error by default.
        options: as `MhexExplainer.from_pretrained` takes them.

    Raises:
        OSError, ValueError: a port in use or out of range, an unknown host, a model that cannot be served.
    """
    settings = settings or ServiceSettings()
    with _bound(host, port) as listening, json_logs(logs or sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what they tell is in the answers
        app = create_app(load_served(model, **options), settings)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            backlog=_BACKLOG,
            timeout_graceful_shutdown=math.ceil(settings.timeout) + _GRACE,
        )
        log("serving", host=host, port=listening.getsockname()[1])
        with _signals_ignored():
            try:
                uvicorn.Server(config).run(sockets=[listening])
            except OSError as error:  # another process bound the address while the model was read
                raise _taken(error, host, port) from error
        log("stopped")


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at the address, before the model is read: a port in use is told at once."""
    if not 0 <= port <= 65_535:
        raise ValueError(f"port must be between 0 and 65,535, got {port}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ValueError(f"host must be an address of this machine, got {host!r}: {error.strerror}.") from error
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError as error:
            raise _taken(error, host, port) from error
        yield listening


def _taken(error: OSError, host: str, port: int) -> OSError:
    if error.errno == errno.EADDRINUSE:
        return OSError(f"port {port} of {host} is in use: give another --port, or stop what listens there.")
    return OSError(f"cannot listen at port {port} of {host}: {error.strerror}.")


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """uvicorn raises a signal that stopped it once more at the end, which here has had its effect."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
