# SPDX-License-Identifier: Apache-2.0
"""What stands around every request: its id, its time, its line in the log, and an answer whatever goes wrong."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Collection
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .logs import log
from .metrics import ServiceMetrics
from .requests import RefusedError

FACTS = "mhex"  # key of the scope: what is logged and counted of a request
GONE = 499  # the status, as nginx calls it, of a client that did not wait for its answer
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


def error_body(code: str, sentence: str) -> dict[str, Any]:
    """The JSON of a refusal."""
    return {"error": {"code": code, "message": sentence}}


class Watched:
    """Wraps an application: ids, times, log lines, counters; a refusal or a failure becomes an answer in JSON.

    Args:
        app: the application.
        metrics: counts.
        paths: those that are known; any other is logged as "other", for it may be anything.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, paths: Collection[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, name = time.perf_counter(), 0, uuid.uuid4().hex
        facts: dict[str, Any] = {}
        scope[FACTS] = facts

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_HEADERS, (b"x-request-id", name.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        except ClientDisconnect:
            status = GONE
        except Exception as error:
            log("failed", level=logging.ERROR, error=error, id=name)
            if not status:
                await answer_error(
                    send_watched, RefusedError(500, "failed", f"the request failed; the log tells of it by {name}.")
                )
            status = 500
        finally:
            self._note(scope, name, status, time.perf_counter() - start, facts)

    def _note(self, scope: Scope, name: str, status: int, seconds: float, facts: dict[str, Any]) -> None:
        path = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.request(path, status)
        if code := facts.get("refused"):
            self._metrics.refused(code)
        elif status == 200 and "texts" in facts:
            self._metrics.answered(facts["explain"], facts["texts"], seconds)
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        quiet = path != "/predict" and status == 200  # probes and scrapes, every few seconds
        log(
            "request",
            level=logging.DEBUG if quiet else logging.INFO,
            id=name,
            method=method,
            path=path,
            status=status,
            ms=round(1000 * seconds, 1),
            **facts,
        )


async def answer_error(send: Send, refused: RefusedError) -> None:
    """Answers with a refusal."""
    body = json.dumps(error_body(refused.code, refused.sentence)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
