# SPDX-License-Identifier: Apache-2.0
"""The application: `POST /predict`, `/healthz`, `/readyz`, `/metrics`, `/openapi.json`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..._version import __version__
from ...explain.json_form import dumps
from ...render import render_page
from .accept import HTML, chosen_type
from .batching import BatchingQueue, QueueFullError
from .bodies import read_body
from .metrics import ServiceMetrics
from .openapi import PREDICT, describe
from .requests import PredictRequest, RefusedError, check_request, explain_of, parse
from .served import Answer, ServedModel
from .settings import ServiceSettings
from .watching import FACTS, Watched, error_body

PATHS = ("/predict", "/healthz", "/readyz", "/metrics", "/openapi.json")


class Service:
    """What the paths of one application share.

    Args:
        served: the model.
        settings: its limits.
    """

    def __init__(self, served: ServedModel, settings: ServiceSettings) -> None:
        self.served, self.settings, self.metrics = served, settings, ServiceMetrics()
        self.queue = BatchingQueue(served.answers, settings, self.metrics.batch)
        self.metrics.watch_waiting(lambda: self.queue.waiting)
        self.in_flight = 0
        self._writers = ThreadPoolExecutor(1, "mhex-writer")  # pages and JSON, while the model goes on

    async def predict(self, request: Request) -> Response:
        """Answers one request.

        Raises:
            RefusedError: which says why not.
            ClientDisconnect: nobody waits for the answer.
        """
        start = time.monotonic()
        self.in_flight += 1
        try:
            return await self._predict(request, start)
        finally:
            self.in_flight -= 1

    async def _predict(self, request: Request, start: float) -> Response:
        facts = request.scope[FACTS]
        full = self.in_flight > 2 * self.settings.max_waiting  # bodies that come slowly must not fill the memory
        try:
            async with asyncio.timeout(self.settings.timeout):
                body = await read_body(request, self.settings.max_bytes, keep=not full)
        except TimeoutError as error:
            raise RefusedError(
                408, "slow", f"the request must be there within {self.settings.timeout:g} seconds."
            ) from error
        if full:
            raise _too_many()
        explain = explain_of(request.query_params.multi_items())
        kind = chosen_type(request.headers.get("accept"), explain)
        query = check_request(parse(body), explain, self.settings)
        facts |= {"explain": explain, "texts": len(query.texts), "characters": sum(map(len, query.texts))}
        answers = await self._answers(request, query, start)
        loop = asyncio.get_running_loop()
        content = await loop.run_in_executor(self._writers, self._written, answers, kind)
        return Response(content, media_type=kind)

    async def _answers(self, request: Request, query: PredictRequest, start: float) -> list[Answer]:
        """What the model says, or no more than the reason why it says nothing."""
        try:
            future = asyncio.wrap_future(self.queue.submit(query))
        except QueueFullError:
            raise _too_many() from None
        except RuntimeError:
            raise RefusedError(503, "stopping", "the service is stopping.") from None
        left = max(0.0, start + self.settings.timeout - time.monotonic())
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            both: set[asyncio.Future[Any]] = {future, gone}
            await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
            if gone.done():
                raise ClientDisconnect
            raise RefusedError(
                504, "slow", f"there was no answer within {self.settings.timeout:g} seconds: send fewer texts at once."
            )
        except ValueError as error:  # what only the classes, the tokenizer and the fit of the model tell
            raise RefusedError(422, "value", str(error)) from error
        finally:
            gone.cancel()
            future.cancel()

    def _written(self, answers: Sequence[Answer], kind: str) -> bytes:
        if kind != HTML:
            return dumps(self.served.document(answers)).encode()
        return render_page([one.to_dict() for answer in answers for one in answer.explained()]).encode()

    def close(self) -> None:
        """Finishes what was taken, and takes no more."""
        self.queue.close()
        self._writers.shutdown()


def create_app(explainer: Any, settings: ServiceSettings | None = None) -> FastAPI:
    """The application over an explainer, for uvicorn or another server of ASGI; `mhex serve` runs it.

    >>> app = create_app(MhexExplainer.from_pretrained("runs/mood-fitted"), ServiceSettings(max_texts=16))

    Args:
        explainer: a `MhexExplainer` or an explainer of ONNX Runtime; nobody else should change its model meanwhile.
        settings: the limits.

    Raises:
        ValueError: a model that cannot be explained.
    """
    service = Service(ServedModel(explainer), settings or ServiceSettings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.queue.start()
        yield
        await asyncio.to_thread(service.close)

    # no pages of documentation: theirs load scripts from elsewhere
    app = FastAPI(
        title="Predictions with explanations", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.add_middleware(Watched, metrics=service.metrics, paths=PATHS)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.state.service = service
    _add_paths(app, service)
    describe(app)
    return app


def _add_paths(app: FastAPI, service: Service) -> None:
    @app.post("/predict", response_class=Response, **PREDICT)
    async def predict(request: Request) -> Response:
        """What the model predicts for one text or several, and with `explain=true` which words made it."""
        return await service.predict(request)

    @app.get("/healthz", summary="Whether the process works")
    async def healthz() -> JSONResponse:
        """200 while the model's thread runs, 503 otherwise."""
        return _state(service.queue.alive, "ok", "the thread of the model has ended")

    @app.get("/readyz", summary="Whether requests are taken")
    async def readyz() -> JSONResponse:
        """200 while requests are taken, 503 otherwise."""
        return _state(service.queue.open, "ready", "the service is not started, or stopping")

    @app.get("/metrics", response_class=Response, summary="Counters for Prometheus")
    async def metrics() -> Response:
        """Requests, refusals, times, batches, texts that wait, and the memory of the process."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)


def _state(holds: bool, name: str, otherwise: str) -> JSONResponse:
    if holds:
        return JSONResponse({"status": name})
    return JSONResponse(error_body("unavailable", f"{otherwise}."), 503)


def _too_many() -> RefusedError:
    return RefusedError(429, "busy", "too many texts wait for the model: try again later.")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    request.scope[FACTS]["refused"] = error.code
    headers = {"Retry-After": "1"} if error.status in (429, 503) else None
    return JSONResponse(error_body(error.code, error.sentence), error.status, headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """For an unknown path, or another method."""
    assert isinstance(error, HTTPException)
    sentences = {
        404: f"there is no such path: the service has {', '.join(PATHS)}.",
        405: "the path takes another method: POST for /predict, GET for all others.",
    }
    request.scope[FACTS]["refused"] = "path"
    sentence = sentences.get(error.status_code, str(error.detail))
    return JSONResponse(error_body("path", sentence), error.status_code, error.headers)
