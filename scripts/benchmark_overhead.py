# SPDX-License-Identifier: Apache-2.0
"""What the heads cost on the packaged MiniLM: time and memory beside the plain model, paired in one run.

    python scripts/benchmark_overhead.py --output docs/overhead.json

Writes the figures as JSON, and as a table to the file of the same name with .md.

Time: medians of paired ratios, the two models taking turns, with a 95 % bootstrap interval of the median. Memory: the
most a pass holds above the weights, from the allocations torch.profiler records (CUDA: torch's own counters).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging

from mhex_nlp import MhexConfig, get_mhex_model, mhex_param_groups
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.evaluation.bootstrap import bootstrap, percentile_interval

Run = Callable[[], Any]


def paired_ratio(plain: Run, heads: Run, rounds: int, sync: Run, seed: int = 0) -> dict[str, Any]:
    """Times of the two in turn; the order within a pair is random, so that neither always comes second."""
    order = np.random.default_rng(seed)
    times: dict[str, list[float]] = {"plain": [], "heads": []}
    runs = {"plain": plain, "heads": heads}
    for _ in range(3):
        plain(), heads()
    for _ in range(rounds):
        for name in order.permutation(["plain", "heads"]):
            sync()
            start = time.perf_counter()
            runs[name]()
            sync()
            times[name].append(time.perf_counter() - start)
    ratios = np.array(times["heads"]) / np.array(times["plain"])
    low, high = percentile_interval(bootstrap(ratios, lambda samples: np.median(samples, axis=1), 2000, order))
    return {
        "ratio": round(float(np.median(ratios)), 4),
        "interval95": [round(low, 4), round(high, 4)],
        "plain_ms": round(1000 * statistics.median(times["plain"]), 2),
        "rounds": rounds,
    }


def peak_memory(run: Run, device: torch.device) -> int:
    """Bytes that one call holds at most beyond what was there before."""
    run()
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


def table(figures: dict[str, Any]) -> str:
    lines = [
        "# What the heads cost",
        "",
        f"{figures['model']}; batches of {figures['batch'][0]} texts of {figures['batch'][1]} tokens, padded; "
        f"{figures['machine']}; torch {figures['torch']}. Ratios to the plain model in the same run, medians of paired "
        "rounds in random order with 95 % bootstrap intervals; made by `scripts/benchmark_overhead.py`.",
        "",
        "| | time, with gates | time, heads only read | extra memory, with gates | extra memory, heads only read |",
        "|---|---|---|---|---|",
    ]
    for name, key in (("forward pass with attributions", "forward"), ("training step (AdamW)", "training step")):
        cells = []
        for kind in ("gates", "reading"):
            found = figures[f"{key}, {kind}"]
            low, high = found["interval95"]
            cells.append(f"{found['ratio']:.3f} [{low:.3f}, {high:.3f}], n = {found['rounds']}")
        memory = f"{key.split()[0]} memory"
        cells += [f"{figures[f'{memory}, {kind}']['ratio']:.3f}" for kind in ("gates", "reading")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    plain = figures["forward, gates"]["plain_ms"], figures["training step, gates"]["plain_ms"]
    lines += ["", f"The plain forward pass took {plain[0]:.0f} ms, the plain training step {plain[1]:.0f} ms.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=64, help="tokens each text is padded or cut to")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.manual_seed(0)
    device = torch.device(args.device)
    tokenizer = AutoTokenizer.from_pretrained(minilm_path())
    texts = [" ".join(s.text for s in load_corpus()[i::32][:6]) for i in range(args.batch_size)]
    batch = tokenizer(texts, truncation=True, max_length=args.length, padding="max_length", return_tensors="pt")
    batch = batch.to(device)
    labels = torch.arange(args.batch_size, device=device) % 2
    plain = AutoModelForSequenceClassification.from_pretrained(minilm_path(), num_labels=2).to(device)
    sync = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def forward(model: Any, **options: Any) -> Run:
        def run() -> None:
            with torch.inference_mode():
                model(**batch, **options)

        return run

    def step(model: Any, groups: Any) -> Run:
        optimizer = torch.optim.AdamW(groups, lr=1e-6)

        def run() -> None:
            optimizer.zero_grad()
            model(**batch, labels=labels).loss.backward()
            optimizer.step()

        return run

    figures: dict[str, Any] = {
        "model": "all-MiniLM-L6-v2, 22.7 M parameters, float32",
        "batch": [args.batch_size, args.length],
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        + (f", {torch.cuda.get_device_name()}" if device.type == "cuda" else ""),
        "torch": torch.__version__.split("+")[0],
    }
    for gate in (True, False):
        model = get_mhex_model(plain, MhexConfig(gate=gate))
        with torch.no_grad():
            for head in model.mhex:  # as after training; a zero matrix would be no cheaper, but fairer is better
                head.w1.normal_(std=0.02)
        key = "gates" if gate else "reading"
        plain.eval(), model.eval()
        one, other = forward(plain), forward(model, output_attributions=True)
        figures[f"forward, {key}"] = paired_ratio(one, other, args.rounds, sync)
        memory = [peak_memory(run, device) for run in (one, other)]
        figures[f"forward memory, {key}"] = {"ratio": round(memory[1] / memory[0], 4), "plain_bytes": memory[0]}
        copies = [
            type(plain)(plain.config).to(device).train(),
            get_mhex_model(type(plain)(plain.config), model.mhex_config),
        ]
        copies[1].to(device).train()
        runs = [step(copies[0], copies[0].parameters()), step(copies[1], mhex_param_groups(copies[1], 1e-6))]
        figures[f"training step, {key}"] = paired_ratio(*runs, max(10, args.rounds // 3), sync)
        memory = [peak_memory(run, device) for run in runs]
        figures[f"training memory, {key}"] = {"ratio": round(memory[1] / memory[0], 4), "plain_bytes": memory[0]}
    print(json.dumps(figures, indent=2))
    if args.output:
        args.output.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
        args.output.with_suffix(".md").write_text(table(figures), "utf-8")


if __name__ == "__main__":
    main()
