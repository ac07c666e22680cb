# SPDX-License-Identifier: Apache-2.0
"""Requests wait in one bounded queue, and one thread gives them to the model, many together.

The thread takes what waits as soon as the model is free: nobody waits for a batch to fill. torch uses several cores in
each pass by itself, so a second thread would only make passes slower.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from .requests import Options, PredictRequest
from .served import Answer
from .settings import ServiceSettings

Run = Callable[[Sequence[str], Sequence[str] | None, Sequence[str], Options], list[Answer]]
Observe = Callable[[int, float], None]


class QueueFullError(Exception):
    """More texts would wait than may."""


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way through the queue."""

    request: PredictRequest
    future: Future[list[Answer]] = field(default_factory=Future)

    @property
    def ids(self) -> list[str]:
        """Of the request's explanations: their places in it."""
        return [str(index) for index in range(len(self.request.texts))]


class BatchingQueue:
    """Answers requests in the order of their arrival, those that ask for the same together.

    Args:
        run: answers texts; called by one thread alone.
        settings: how many texts may wait, and go together.
        observe: is told of each batch its texts and seconds.
    """

    def __init__(self, run: Run, settings: ServiceSettings, observe: Observe = lambda texts, seconds: None) -> None:
        self._run, self._settings, self._observe = run, settings, observe
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="mhex-model", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are answered, those that wait at the end included."""
        return self._thread.is_alive()

    @property
    def open(self) -> bool:
        """Whether further requests are taken."""
        return self.alive and not self._closed

    @property
    def waiting(self) -> int:
        """How many texts wait; those whose requests were given up do not count."""
        with self._changed:
            return self._waiting()

    def submit(self, request: PredictRequest) -> Future[list[Answer]]:
        """Takes a request; cancelling its future before its turn comes takes it out again.

        Raises:
            QueueFullError: too many texts wait.
            RuntimeError: after `close`.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the queue is closed")
            if self._waiting() + len(request.texts) > self._settings.max_waiting:
                raise QueueFullError
            job = Job(request)
            self._jobs.append(job)
            self._changed.notify()
            return job.future

    def close(self) -> None:
        """Takes no more, and returns when all that was taken is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _waiting(self) -> int:
        return sum(len(job.request.texts) for job in self._jobs if not job.future.cancelled())

    def _work(self) -> None:
        while batch := self._next_batch():
            self._answer(batch)

    def _next_batch(self) -> list[Job]:
        """The request that waits longest, and further ones of the same options; none at the end."""
        with self._changed:
            while True:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                batch: list[Job] = []
                left: deque[Job] = deque()
                room = self._settings.batch_texts
                while self._jobs:
                    job = self._jobs.popleft()
                    fits = not batch or (
                        self._settings.mix_requests
                        and job.request.options == batch[0].request.options
                        and len(job.request.texts) <= room
                    )
                    if not fits:
                        left.append(job)
                    elif job.future.set_running_or_notify_cancel():
                        batch.append(job)
                        room -= len(job.request.texts)
                self._jobs = left
                if batch or (self._closed and not self._jobs):
                    return batch

    def _answer(self, batch: list[Job]) -> None:
        start = time.perf_counter()
        first = batch[0].request
        texts = [text for job in batch for text in job.request.texts]
        pairs = [half for job in batch for half in job.request.pairs or ()] if first.options.pairs else None
        try:
            answers = self._run(texts, pairs, [name for job in batch for name in job.ids], first.options)
        except BaseException as error:  # whatever it is, the thread goes on, and whoever waits is told
            if len(batch) == 1:
                batch[0].future.set_exception(error)
            else:  # a mistake in one request must not fail the others
                for job in batch:
                    self._answer([job])
            return
        self._observe(len(texts), time.perf_counter() - start)
        done = iter(answers)
        for job in batch:
            job.future.set_result([next(done) for _ in job.request.texts])
