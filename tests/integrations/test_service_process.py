# SPDX-License-Identifier: Apache-2.0
"""`mhex serve` as a process: it finishes what it took when it is stopped, under load too."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from helpers.command_files import make_command_files
from helpers.served import events, make_explainer, serving, wait_until
from helpers.tiny import tiny_texts
from mhex_nlp import Explanation

httpx = pytest.importorskip("httpx", reason="httpx asks the service")
pytest.importorskip("uvicorn", reason='uvicorn comes with the extra: pip install "mhex_nlp[serve]"')
pytestmark = pytest.mark.slow
TEXTS = tiny_texts(16)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_command_files(tmp_path_factory.mktemp("process")) / "model"


def test_a_signal_loses_no_request_that_was_taken(model, tmp_path):
    """Large requests wait, and clients ask on and on, when SIGTERM comes: as many answers come as the log counts."""
    log, large = tmp_path / "log", {"text": TEXTS, "budget": 32}
    direct = make_explainer()(TEXTS, budget=32)

    def go_on(client: Any) -> list[int]:
        """The statuses of requests until the service takes no more."""
        statuses = []
        while True:
            try:
                statuses.append(client.post("/predict", json={"text": TEXTS[0]}).status_code)
            except httpx.TransportError:
                return statuses

    with serving(model, log) as (process, port), ThreadPoolExecutor(24) as pool, ExitStack() as stack:
        address = f"http://127.0.0.1:{port}"
        clients = [stack.enter_context(httpx.Client(base_url=address, timeout=60, verify=False)) for _ in range(9)]
        wait_until(lambda: _ready(clients[-1]))
        asking = [pool.submit(go_on, client) for client in clients[:-1]]
        wait_until(lambda: _answered(log) > 100)
        waiting = [pool.submit(clients[-1].post, "/predict?explain=true", json=large) for _ in range(12)]
        wait_until(lambda: _waiting(clients[-1]) > 100)
        process.send_signal(signal.SIGTERM)
        answers = [one.result() for one in waiting]
        statuses = [status for one in asking for status in one.result()]
        assert process.wait(30) == 0
        assert not _ready(clients[-1])
    assert [answer.status_code for answer in answers] == [200] * 12
    for answer in answers:
        explanations = [Explanation.from_dict(document) for document in answer.json()["explanations"]]
        assert [(one.label, one.passes) for one in explanations] == [(one.label, 33) for one in direct]
    assert statuses == [200] * (_answered(log) - 12)
    assert events(log)[-1]["event"] == "stopped" and not any(e["level"] == "error" for e in events(log))


def _ready(client: Any) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _waiting(client: Any) -> float:
    page = client.get("/metrics").text
    return float(next(line.split()[1] for line in page.splitlines() if line.startswith("mhex_waiting_texts ")))


def _answered(log: Any) -> int:
    """How many requests the log says were answered with a prediction."""
    return sum(event.get("path") == "/predict" and event["status"] == 200 for event in events(log))
