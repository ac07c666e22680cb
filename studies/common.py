# SPDX-License-Identifier: Apache-2.0
"""What the studies share: options, machine, data, training, timed rounds, intervals, and files of results.

Axes: B texts (or rounds), R rounds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Value, disable_progress_bars
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.utils import logging

MINILM = "all-MiniLM-L6-v2"
SENTIMENT = ["negative", "positive"]
DRAWS = 4000
Run = Callable[[], Any]


def make_parser(
    description: str | None, *, model: bool = False, page: bool = True, output: str = "JSON file of the figures"
) -> argparse.ArgumentParser:
    """A parser with `--output`, which `output` describes, and with `--model` and `--page`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if model:
        parser.add_argument("--model", required=True, help="folder of a model with trained heads")
    parser.add_argument("--output", type=Path, required=True, help=output)
    if page:
        parser.add_argument("--page", type=Path, help="Markdown page whose part between markers becomes the table")
    return parser


def be_quiet() -> None:
    """No progress bars, no remarks of transformers."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()


def machine(device: str | torch.device = "cpu") -> str:
    """What the figures were measured on."""
    device = torch.device(device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__.partition('+')[0]}"


def read_sst2(path: Path) -> Dataset:
    """Columns text and label of a file without header: a sentence, a tab and 0 or 1 a line."""
    rows = [line.rsplit("\t", 1) for line in path.read_text("utf-8").split("\n") if line]
    if any(len(row) != 2 or row[1] not in ("0", "1") for row in rows):
        raise ValueError(f"{path.name} must hold a sentence, a tab and 0 or 1 a line.")
    columns = {"text": [text for text, _ in rows], "label": [int(label) for _, label in rows]}
    return Dataset.from_dict(columns, Features({"text": Value("string"), "label": ClassLabel(names=SENTIMENT)}))


def train(
    model: Any,
    tokenizer: Any,
    data: Dataset,
    *,
    lr: float,
    batch: int,
    epochs: int,
    warmup_steps: int,
    weight_decay: float,
    seed: int,
    groups: Sequence[Any] | None = None,
    **arguments: Any,
) -> tuple[Trainer, float]:
    """Fine-tunes a classifier; the Trainer, for predictions, and the seconds of training.

    Args:
        data: tokenised texts with their labels.
        groups: parameter groups of AdamW; by default Trainer's own.
        arguments: further ones of `TrainingArguments`.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            learning_rate=lr,
            per_device_train_batch_size=batch,
            per_device_eval_batch_size=64,
            num_train_epochs=epochs,
            warmup_steps=warmup_steps,
            weight_decay=weight_decay,
            seed=seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            **arguments,
        )
        trainer = Trainer(
            model,
            settings,
            train_dataset=data,
            data_collator=DataCollatorWithPadding(tokenizer),
            optimizers=(None if groups is None else torch.optim.AdamW(groups, lr=lr), None),
        )
        start = time.perf_counter()
        trainer.train()
        return trainer, time.perf_counter() - start


def timed_rounds(
    runs: Mapping[str, Run],
    rounds: Mapping[str, int],
    *,
    warm_up: int = 1,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Seconds of each run, (R,) by its name; a run takes part in its first `rounds`, in random order within a round."""
    order = np.random.default_rng(seed)
    sync: Run = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    taking_part = [name for name in runs if rounds[name] > 0]
    for name in taking_part:
        for _ in range(warm_up):
            runs[name]()
    seconds: dict[str, list[float]] = {name: [] for name in taking_part}
    for number in range(max(rounds.values())):
        for name in order.permutation([name for name in taking_part if number < rounds[name]]):
            sync()
            start = time.perf_counter()
            runs[name]()
            sync()
            seconds[name].append(time.perf_counter() - start)
        last = [f"{name} {times[-1]:.3f} s" for name, times in seconds.items() if number < rounds[name]]
        print(f"round {number + 1}: {', '.join(last)}", flush=True)
    return {name: np.asarray(values) for name, values in seconds.items()}


def ratio(seconds: np.ndarray, to: np.ndarray, digits: int = 4) -> dict[str, Any]:
    """Median of the rounds' ratios with its interval; of the rounds that both took part in."""
    shared = min(len(seconds), len(to))
    ratios = seconds[:shared] / to[:shared]
    ends = [round(end, digits) for end in interval(ratios, np.median)]
    return {"ratio": round(float(np.median(ratios)), digits), "interval95": ends}


def interval(values: Any, statistic: Callable[..., Any] = np.mean, seed: int = 0) -> tuple[float, float]:
    """Ends of the 95 % percentile bootstrap interval of a statistic of (B,) values.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"values must be (B,) finite numbers, at least one, got {array.size} of shape {array.shape}.")
    return _interval(array.tobytes(), statistic, seed)


@functools.cache  # a report may be written after every unit of work, and little of it changes
def _interval(values: bytes, statistic: Callable[..., Any], seed: int) -> tuple[float, float]:
    array, generator = np.frombuffer(values), np.random.default_rng(seed)
    draws = [
        statistic(array[generator.integers(0, len(array), (500, len(array)))], axis=1) for _ in range(DRAWS // 500)
    ]
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: Any, digits: int = 4) -> dict[str, Any]:
    """Mean of (B,) values with its interval; paired where they are differences."""
    array = np.asarray(values, dtype=np.float64)
    ends = [round(end, digits) for end in interval(array)]
    return {"mean": round(float(array.mean()), digits), "interval95": ends, "n": len(array)}


def span(value: float, ends: Sequence[float], digits: int = 3, signed: bool = False) -> str:
    """0.463 [0.402, 0.523]"""
    form = f"{'+' if signed else ''}.{digits}f"
    low, high = ends
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """The figures, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    partial.replace(path)


def write_page(path: Path | None, lines: Sequence[str], name: str = "table") -> None:
    """Puts the lines between the two marker comments of a page, at its end where it has none; prints them without page.

    Raises:
        ValueError: one marker without the other, or in the wrong order.
    """
    body = "\n".join(lines).strip()
    if path is None:
        print(body, flush=True)
        return
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = path.read_text("utf-8") if path.is_file() else ""
    block = f"{begin}\n\n{body}\n\n{end}"
    if begin not in page and end not in page:
        path.write_text(f"{page.rstrip()}\n\n{block}\n".lstrip(), "utf-8")
        return
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{path.name} must have {begin} before {end}, got one without the other.")
    path.write_text(before + block + after, "utf-8")


def highlight_command(options: Mapping[str, Any], processes: int, port: int | None = None) -> list[str]:
    """`mhex highlight` by itself, or in several processes by accelerate; `options` are flags with their values."""
    start = ["-m", "mhex_nlp", "highlight", *(str(part) for option in options.items() for part in option)]
    if processes == 1:
        return [sys.executable, *start]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    launch += [] if port is None else [f"--main_process_port={port}"]
    return [sys.executable, *launch, *start, "--num-processes", str(processes)]


def cpu_environment(threads: int = 1) -> dict[str, str]:
    """The environment of a job on the CPU, with so many threads a process."""
    cpu = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}
    return {**os.environ, **cpu, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def chromium(**options: Any) -> Iterator[Any]:
    """A playwright browser; the study ends with one sentence where there is no chromium."""
    from playwright.sync_api import sync_playwright

    paths = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    path = next((path for path in paths if path), None)
    if path is None:
        sys.exit("no chromium, chromium-browser or google-chrome on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], **options)
        yield browser
        browser.close()
