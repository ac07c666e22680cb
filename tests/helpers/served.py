# SPDX-License-Identifier: Apache-2.0
"""Services to ask: a real uvicorn in a thread, or `mhex serve` as a process, over a tiny model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.families import train_heads
from helpers.tiny import tiny_mhex, tiny_tokenizer
from mhex_nlp import MhexExplainer

JSON_TYPE = {"Content-Type": "application/json"}


def make_explainer(**options: Any) -> MhexExplainer:
    """Of a tiny model with the classes negative and positive."""
    return MhexExplainer(train_heads(tiny_mhex(gate=False).eval()), tiny_tokenizer(), **options)


class Gate:
    """An explainer that can be held: while it is, calls wait."""

    task = "sequence_classification"

    def __init__(self, explainer: MhexExplainer) -> None:
        self._explainer, self._free = explainer, threading.Event()
        self._free.set()
        self.calls: list[list[str]] = []
        self.tokenise = explainer.tokenise

    def __call__(self, texts: Any, *pairs: Any, **options: Any) -> Any:
        self._pass([texts] if isinstance(texts, str) else texts)
        return self._explainer(texts, *pairs, **options)

    def predict(self, items: Any) -> Any:
        self._pass([item.text for item in items])
        return self._explainer.predict(items)

    def _pass(self, texts: list[str]) -> None:
        self.calls.append(list(texts))
        assert self._free.wait(30)

    @contextmanager
    def held(self) -> Iterator[None]:
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of an application that uvicorn serves in a thread, and stops at the end as on a signal."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def serving(model: Path, log: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`mhex serve` as a process of its own, with its port; it is killed at the end where it still runs."""
    command = [sys.executable, "-m", "mhex_nlp", "serve", "--model", str(model), "--port", "0", *options]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=variables)
        try:
            wait_until(lambda: process.poll() is not None or any(e["event"] == "serving" for e in events(log)))
            yield process, next(e["port"] for e in events(log) if e["event"] == "serving")
        finally:
            process.kill()
            process.wait()


def events(log: Path) -> list[dict[str, Any]]:
    """The lines of JSON in a log, without what libraries print on their own."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


def wait_until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    """Returns when something holds; AssertionError where it does not within the time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
