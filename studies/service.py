# SPDX-License-Identifier: Apache-2.0
"""`mhex serve` under load: times with and without explanations, memory, and whether it says what direct calls say.

    python -m studies.service --model MODEL --data FILE --output docs/results/service.json --page docs/service.md

MODEL is a fitted classifier, such as the one that `mhex demo` leaves; FILE holds a sentence, a tab and a label a line.
Clients of this process ask for one text each, again as soon as they are answered; blocks with and without explanations
take turns. The clients share the machine's cores with the service. Then the same with requests that are not batched
together, and SIGTERM in the middle of the load.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from mhex_nlp import MhexExplainer

from .common import be_quiet, grid, machine, make_parser, ratio, read_sst2, span, write_json, write_page
from .jobs import environment

TOLERANCE = 1e-5  # of scores and probabilities in another batch: I3 of docs/architecture.md
KINDS = {False: "predictions", True: "with explanations"}


@dataclass
class Load:
    """What clients got: seconds of each answer by kind, and answers by kind and number of the text."""

    seconds: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    statuses: list[int] = field(default_factory=list)
    answers: dict[tuple[bool, int], list[Any]] = field(default_factory=dict)
    refused: int = 0  # connections that the service did not take any more

    def add(self, explain: bool, number: int, seconds: float, response: httpx.Response) -> None:
        """Keeps what an answer says."""
        self.statuses.append(response.status_code)
        if response.status_code != 200:
            return
        self.seconds[explain].append(seconds)
        document = response.json()
        scores = [token["score"] for token in document["explanations"][0]["tokens"]] if explain else []
        said = (document["predictions"][0]["label"], document["predictions"][0]["probabilities"], scores)
        known = self.answers.setdefault((explain, number), [])
        if said not in known:
            known.append(said)


def main() -> None:
    defaults = {"seconds": 60, "block": 6, "warm_up": 30, "clients": 32, "texts": 1000, "seed": 0}
    parser = make_parser(__doc__, "model", **defaults)
    parser.add_argument("--data", type=Path, required=True, help="file of the texts")
    options = parser.parse_args()
    be_quiet()
    texts = list(read_sst2(options.data)["text"])[: options.texts]
    report: dict[str, Any] = {
        "machine": machine(),
        "model": Path(options.model).name,
        "data": options.data.name,
        **{name: getattr(options, name) for name in defaults},
        "texts": len(texts),
    }
    explainer = MhexExplainer.from_pretrained(options.model)
    direct = [explainer(text) for text in texts]
    report["load"] = under_load(options, texts, direct)
    report["separate"] = under_load(options, texts, direct, "--separate")
    report["stopped"] = stopped(options, texts)
    write_json(options.output, report)
    write_page(options.page, table(report))


def under_load(options: Any, texts: list[str], direct: list[Any], *further: str) -> dict[str, Any]:
    """Times, memory and answers of one service."""
    with served(options.model, *further) as (process, address, _):
        load, blocks, elapsed = Load(), {False: [], True: []}, {False: 0.0, True: 0.0}
        asyncio.run(ask_for(address, texts, options, options.warm_up / 2, False, Load()))
        asyncio.run(ask_for(address, texts, options, options.warm_up / 2, True, Load()))
        memory = [resident(process)]
        for number in range(round(options.seconds / options.block)):
            for explain in (False, True) if number % 2 else (True, False):
                done, start = len(load.seconds[explain]), time.perf_counter()
                asyncio.run(ask_for(address, texts, options, options.block, explain, load))
                elapsed[explain] += time.perf_counter() - start
                blocks[explain].append(float(np.median(load.seconds[explain][done:])))
            memory.append(resident(process))
            print(f"block {number + 1}: {blocks[False][-1]:.3f} s, {blocks[True][-1]:.3f} s", flush=True)
        assert httpx.get(f"{address}/healthz").status_code == 200
    return {
        **{KINDS[explain]: times(load.seconds[explain], elapsed[explain]) for explain in KINDS},
        "p50_ratio": ratio(np.asarray(blocks[True]), np.asarray(blocks[False])),
        "requests": len(load.statuses),
        "not_200": sum(status != 200 for status in load.statuses),
        "rss_mb": [round(size / 2**20, 1) for size in memory],  # after the warm-up, and after each block
        "rss_ratio": round(memory[-1] / memory[0], 4),
        "answers": beside_direct(load, direct),
    }


def resident(process: subprocess.Popen[bytes]) -> int:
    """Bytes of memory that a process holds."""
    return int(psutil.Process(process.pid).memory_info().rss)


def times(seconds: list[float], total: float) -> dict[str, float]:
    """Milliseconds of half, and of 99 in 100, and answers a second in the `total` seconds that there were clients."""
    p50, p99 = np.percentile(seconds, [50, 99])
    return {
        "p50_ms": round(1000 * float(p50), 1),
        "p99_ms": round(1000 * float(p99), 1),
        "a_second": round(len(seconds) / total, 1),
        "n": len(seconds),
    }


def beside_direct(load: Load, direct: list[Any]) -> dict[str, Any]:
    """How far answers are from those of direct calls with each text alone."""
    labels, probabilities, scores, bits, count = 0, 0.0, 0.0, 0, 0
    for (explain, number), answers in load.answers.items():
        expected = direct[number]
        for label, chances, values in answers:
            count += 1
            labels += label != expected.label
            off = max(abs(chances[name] - value) for name, value in expected.prediction.probabilities.items())
            probabilities = max(probabilities, off)
            if explain:
                alone = np.asarray([token.score for token in expected.tokens])
                scores = max(scores, float(np.abs(np.asarray(values) - alone).max() / max(1, np.abs(alone).max())))
            same = chances == expected.prediction.probabilities
            bits += same and (not explain or values == [token.score for token in expected.tokens])
    return {
        "compared": count,
        "other_labels": labels,
        "largest_difference_of_probability": probabilities,
        "largest_difference_of_score": scores,
        "bit_equal": bits,
        "within_tolerance": max(probabilities, scores) <= TOLERANCE,
    }


def stopped(options: Any, texts: list[str]) -> dict[str, Any]:
    """SIGTERM in the middle of the load: what the service took, and what clients got."""
    with served(options.model) as (process, address, log):
        load = Load()

        async def run() -> None:
            asking = asyncio.ensure_future(ask_for(address, texts, options, 60.0, True, load))
            await asyncio.sleep(4)
            process.send_signal(signal.SIGTERM)
            await asking

        asyncio.run(run())
        process.wait(60)
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    taken = [line["status"] for line in lines if line.get("path") == "/predict"]
    return {
        "taken": len(taken),
        "answered": load.statuses.count(200),
        "others": sum(status != 200 for status in [*taken, *load.statuses]),
        "ended_by_itself": lines[-1]["event"] == "stopped",
    }


async def ask_for(address: str, texts: list[str], options: Any, seconds: float, explain: bool, load: Load) -> None:
    """Clients that ask, each again as soon as it is answered, until the time is over or nobody answers."""
    end = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=options.clients, max_keepalive_connections=options.clients)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:

        async def go_on(number: int) -> None:
            draw = np.random.default_rng([options.seed, number, len(load.statuses)])
            while time.monotonic() < end:
                chosen = int(draw.integers(len(texts)))
                start = time.perf_counter()
                try:
                    parameters = {"explain": "true"} if explain else {}
                    response = await client.post("/predict", json={"text": texts[chosen]}, params=parameters)
                except httpx.TransportError:
                    load.refused += 1
                    return
                load.add(explain, chosen, time.perf_counter() - start, response)

        await asyncio.gather(*(go_on(number) for number in range(options.clients)))


@contextmanager
def served(model: str, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """`mhex serve` as a process, its address and its log."""
    command = [sys.executable, "-m", "mhex_nlp", "serve", "--model", model, "--port", "0", *options]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, env=environment())
        try:
            while not (line := next((line for line in log.read_text("utf-8").splitlines() if '"serving"' in line), "")):
                if process.poll() is not None:
                    raise SystemExit(f"the service did not start:\n{log.read_text('utf-8')}")
                time.sleep(0.2)
            address = f"http://127.0.0.1:{json.loads(line)['port']}"
            with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
                client.get(f"{address}/readyz").raise_for_status()
            yield process, address, log
        finally:
            process.kill()
            process.wait()


def table(report: dict[str, Any]) -> list[str]:
    """The part of the page between its markers."""
    rows = []
    for name, key in (("batched together", "load"), ("each by itself (`--separate`)", "separate")):
        figures = report[key]
        for kind in KINDS.values():
            part = figures[kind]
            rows.append([name, kind, f"{part['p50_ms']:.0f}", f"{part['p99_ms']:.0f}", f"{part['a_second']:.0f}"])
    load, separate, stop = report["load"], report["separate"], report["stopped"]
    ratios = span(load["p50_ratio"]["ratio"], load["p50_ratio"]["interval95"], 2)
    near, exact = load["answers"], separate["answers"]
    return [
        f"{report['clients']} clients, one text a request, {report['seconds']} s of each kind in blocks of "
        f"{report['block']} s; {report['texts']:,} sentences of {report['data']}, seed {report['seed']}; "
        f"{report['machine']}, shared with the clients. Made by `studies/service.py`.",
        "",
        *grid(["requests", "answers", "p50, ms", "p99, ms", "a second"], rows),
        "",
        f"- p50 with explanations over p50 without: {ratios} (median and 95 % interval over blocks).",
        f"- {load['requests'] + separate['requests']:,} requests, of which {load['not_200'] + separate['not_200']} got "
        "another status than 200.",
        f"- Resident memory {load['rss_mb'][0]:.0f} MB after the warm-up and {load['rss_mb'][-1]:.0f} MB at the end "
        f"({100 * (load['rss_ratio'] - 1):+.1f} %).",
        f"- Batched together, {near['compared']:,} answers beside direct calls with the text alone: "
        f"{near['other_labels']} other labels, probabilities within {near['largest_difference_of_probability']:.1e}, "
        f"scores within {near['largest_difference_of_score']:.1e} of the larger of 1 and the text's largest.",
        f"- Each by itself, {exact['bit_equal']:,} of {exact['compared']:,} answers were bit-equal to direct calls.",
        f"- SIGTERM under load: {stop['taken']:,} requests taken, {stop['answered']:,} answered, {stop['others']} with "
        "another status than 200.",
    ]


if __name__ == "__main__":
    main()
