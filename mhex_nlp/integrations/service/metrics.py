# SPDX-License-Identifier: Apache-2.0
"""What a service counts, for Prometheus; no text, label or address is ever part of it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "mhex_requests", "Requests by path and status.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "mhex_request_seconds",
            "Seconds from a request's arrival to its answer.",
            ["explain"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._texts = Counter("mhex_texts", "Texts answered.", ["explain"], registry=self._registry)
        self._refused = Counter(
            "mhex_refused", "Requests that were refused, by reason.", ["code"], registry=self._registry
        )
        self._batch_texts = Histogram(
            "mhex_batch_texts", "Texts given to the model together.", buckets=_TEXTS, registry=self._registry
        )
        self._batch_seconds = Histogram(
            "mhex_batch_seconds", "Seconds of the model for a batch.", buckets=_SECONDS, registry=self._registry
        )

    def watch_waiting(self, waiting: Callable[[], int]) -> None:
        """Shows how many texts wait for the model."""
        gauge = Gauge("mhex_waiting_texts", "Texts that wait for the model.", registry=self._registry)
        gauge.set_function(waiting)

    def request(self, path: str, status: int) -> None:
        """Counts a request."""
        self._requests.labels(path, str(status)).inc()

    def refused(self, code: str) -> None:
        """Counts a request that was refused."""
        self._refused.labels(code).inc()

    def answered(self, explain: bool, texts: int, seconds: float) -> None:
        """Counts a prediction that was answered, and its texts."""
        kind = str(explain).lower()
        self._texts.labels(kind).inc(texts)
        self._seconds.labels(kind).observe(seconds)

    def batch(self, texts: int, seconds: float) -> None:
        """Counts a batch."""
        self._batch_texts.observe(texts)
        self._batch_seconds.observe(seconds)

    def page(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self._registry)
