# SPDX-License-Identifier: Apache-2.0
"""What the heads cost on the packaged MiniLM: time and memory beside the plain model, paired in one run.

    python -m studies.overhead --output docs/results/overhead.json --page docs/overhead.md

Time: medians of paired ratios, the two models taking turns, with a 95 % bootstrap interval of the median. Memory: the
most a pass holds above the weights, from the allocations torch.profiler records (CUDA: torch's own counters).
"""

from __future__ import annotations

import gc
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mhex_nlp import MhexConfig, get_mhex_model, mhex_param_groups
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.cli.demo.encoder import minilm_path

from .common import MINILM, Run, be_quiet, grid, machine, make_parser, ratio, span, timed_rounds, write_json, write_page

KINDS = {"gates": "with gates", "reading": "heads only read"}


def compare(plain: Run, heads: Run, rounds: int, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ratios of time and of peak memory, heads to plain."""
    runs = {"plain": plain, "heads": heads}
    seconds = timed_rounds(runs, dict.fromkeys(runs, rounds), warm_up=3, device=device)
    milliseconds = round(1000 * float(np.median(seconds["plain"])), 2)
    time = {**ratio(seconds["heads"], seconds["plain"]), "plain_ms": milliseconds, "rounds": rounds}
    before, after = (peak_memory(run, device) for run in (plain, heads))
    return time, {"ratio": round(after / before, 4), "plain_bytes": before}


def peak_memory(run: Run, device: torch.device) -> int:
    """Bytes that one call holds at most beyond what was there before."""
    run()
    gc.collect()  # models of earlier comparisons must not be freed meanwhile
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text("utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]")
    return int(np.cumsum([size for _, size in changes]).max())


def table(figures: dict[str, Any]) -> list[str]:
    texts, tokens = figures["batch"]
    passes = {"forward": "forward pass with attributions", "training step": "training step (AdamW)"}
    rows = []
    for key, name in passes.items():
        times = [figures[f"{key}, {kind}"] for kind in KINDS]
        cells = [f"{span(time['ratio'], time['interval95'])}, n = {time['rounds']}" for time in times]
        memory = [figures[f"{key.split()[0]} memory, {kind}"]["ratio"] for kind in KINDS]
        rows.append([name, *cells, *(f"{value:.3f}" for value in memory)])
    plain = [figures[f"{key}, gates"]["plain_ms"] for key in passes]
    return [
        f"{figures['model']}; batches of {texts} texts of {tokens} tokens, padded; {figures['machine']}. Ratios to the "
        "plain model in the same run, medians of paired rounds in random order with 95 % bootstrap intervals; made by "
        "`studies/overhead.py`.",
        "",
        *grid(["", *(f"{what}, {kind}" for what in ("time", "extra memory") for kind in KINDS.values())], rows),
        "",
        f"The plain forward pass took {plain[0]:.0f} ms, the plain training step {plain[1]:.0f} ms.",
    ]


def main() -> None:
    args = make_parser(__doc__, rounds=60, batch_size=32, length=64, device="cpu").parse_args()
    be_quiet()
    torch.manual_seed(0)
    device = torch.device(args.device)
    tokenizer = AutoTokenizer.from_pretrained(minilm_path())
    texts = [" ".join(s.text for s in load_corpus()[i::32][:6]) for i in range(args.batch_size)]
    batch = tokenizer(texts, truncation=True, max_length=args.length, padding="max_length", return_tensors="pt")
    batch = batch.to(device)
    labels = torch.arange(args.batch_size, device=device) % 2
    plain = AutoModelForSequenceClassification.from_pretrained(minilm_path(), num_labels=2).to(device)

    def forward(model: Any, **options: Any) -> None:
        with torch.inference_mode():
            model(**batch, **options)

    def step(model: Any, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()

    figures: dict[str, Any] = {
        "model": f"{MINILM}, 22.7 M parameters, float32",
        "batch": [args.batch_size, args.length],
        "seed": 0,
        "machine": machine(device),
    }
    for kind in KINDS:
        model = get_mhex_model(plain, MhexConfig(gate=kind == "gates"))
        with torch.no_grad():
            for head in model.mhex:  # as after training; a zero matrix would be no cheaper, but fairer is better
                head.w1.normal_(std=0.02)
        plain.eval(), model.eval()
        passes = partial(forward, plain), partial(forward, model, output_attributions=True)
        figures[f"forward, {kind}"], figures[f"forward memory, {kind}"] = compare(*passes, args.rounds, device)
        bare = type(plain)(plain.config).to(device).train()
        headed = get_mhex_model(type(plain)(plain.config), model.mhex_config).to(device).train()
        groups = {bare: bare.parameters(), headed: mhex_param_groups(headed, 1e-6)}
        steps = (partial(step, model, torch.optim.AdamW(rates, lr=1e-6)) for model, rates in groups.items())
        time, memory = compare(*steps, max(10, args.rounds // 3), device)
        figures[f"training step, {kind}"], figures[f"training memory, {kind}"] = time, memory
    write_json(args.output, figures)
    write_page(args.page, table(figures))


if __name__ == "__main__":
    main()
