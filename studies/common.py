# SPDX-License-Identifier: Apache-2.0
"""What the studies share: options, machine, data, training, timed rounds, intervals, and files of results.

Axes: B texts (or rounds), R rounds.
"""

from __future__ import annotations

import argparse
import functools
import json
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
from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.utils import logging

from mhex_nlp import mhex_param_groups
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.evaluation.metrics.arrays import as_scores
from mhex_nlp.explain.bootstrap import bootstrap, percentile_interval
from mhex_nlp.inputs.atomic_files import durable

MINILM = "all-MiniLM-L6-v2"
SENTIMENT = ["negative", "positive"]
DRAWS, DIGITS = 4000, 4
FOLDERS = {
    "model": "folder of a model with trained heads",
    "data": "folder of the texts",
    "work": "folder that keeps models and the figures of each text",
}
Run = Callable[[], Any]


def make_parser(
    description: str | None, *folders: str, page: bool = True, output: str = "JSON file of the figures", **defaults: Any
) -> argparse.ArgumentParser:
    """A parser with `--output`, which `output` describes, `--page`, required `folders` and options with defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in folders:
        parser.add_argument(f"--{name}", type=str if name == "model" else Path, required=True, help=FOLDERS[name])
    parser.add_argument("--output", type=Path, required=True, help=output)
    if page:
        parser.add_argument("--page", type=Path, help="Markdown page whose part between markers becomes the table")
    for name, default in defaults.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(default), default=default, help="(default: %(default)s)")
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


def labelled(texts: Sequence[str], labels: Sequence[int], names: Sequence[str]) -> Dataset:
    """Columns text and label."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    return Dataset.from_dict({"text": texts, "label": labels}, features)


def read_sst2(path: Path) -> Dataset:
    """Columns text and label of a file without header: a sentence, a tab and 0 or 1 a line."""
    rows = [line.rsplit("\t", 1) for line in path.read_text("utf-8").split("\n") if line]
    if any(len(row) != 2 or row[1] not in ("0", "1") for row in rows):
        raise ValueError(f"{path.name} must hold a sentence, a tab and 0 or 1 a line.")
    return labelled([text for text, _ in rows], [int(label) for _, label in rows], SENTIMENT)


def fine_tune(
    auto: Any,
    data: Dataset,
    test: Dataset,
    *,
    max_length: int,
    lr: float,
    batch: int,
    epochs: int,
    seed: int,
    head_rate: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    **arguments: Any,
) -> tuple[Any, Any, np.ndarray, float]:
    """Fine-tunes the packaged MiniLM: model, tokenizer, (B,) bool, which test texts it gets right, and the seconds.

    Args:
        auto: the class that loads it, with heads or without.
        data, test: columns text and label, and text_pair where a model reads two texts.
        head_rate: whether the heads learn at a rate of their own (`mhex_param_groups`).
        callbacks: of the Trainer.
        arguments: further ones of `TrainingArguments`.
    """
    set_seed(seed)
    tokenizer, names = AutoTokenizer.from_pretrained(minilm_path()), data.features["label"].names
    tokenizer.model_max_length = max_length
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    model = auto.from_pretrained(minilm_path(), num_labels=len(names), **labels)

    def encode(rows: Dataset) -> Dataset:
        texts = [list(rows[column]) for column in ("text", "text_pair") if column in rows.column_names]
        return Dataset.from_dict({**tokenizer(*texts, truncation=True), "labels": rows["label"]})

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            learning_rate=lr,
            per_device_train_batch_size=batch,
            per_device_eval_batch_size=64,
            num_train_epochs=epochs,
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
            train_dataset=encode(data),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            callbacks=list(callbacks),
            optimizers=(torch.optim.AdamW(mhex_param_groups(model, lr), lr=lr) if head_rate else None, None),
        )
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        predicted = trainer.predict(encode(test))  # its labels have its order
    return model, tokenizer, predicted.predictions.argmax(-1) == predicted.label_ids, seconds


def timed_rounds(
    runs: Mapping[Any, Run],
    rounds: Mapping[Any, int],
    *,
    warm_up: int = 1,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> dict[Any, np.ndarray]:
    """Seconds of each run, (R,) by its name; a run takes part in its first `rounds`, in random order within a round."""
    order = np.random.default_rng(seed)
    sync: Run = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    taking_part = [name for name in runs if rounds[name] > 0]
    for name in taking_part:
        for _ in range(warm_up):
            runs[name]()
    seconds: dict[Any, list[float]] = {name: [] for name in taking_part}
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


def ratio(seconds: np.ndarray, to: np.ndarray) -> dict[str, Any]:
    """Median of the rounds' ratios with its interval; of the rounds that both took part in."""
    shared = min(len(seconds), len(to))
    return _figure("ratio", seconds[:shared] / to[:shared], np.median)


def mean_interval(values: Any) -> dict[str, Any]:
    """Mean of (B,) values with its interval; paired where they are differences."""
    return {**_figure("mean", values, np.mean), "n": len(values)}


def _figure(name: str, values: Any, statistic: Callable[..., Any]) -> dict[str, Any]:
    """A statistic with its 95 % bootstrap interval; ValueError for no values, or values that are not finite."""
    array = as_scores(values, "values")
    return {name: round(float(statistic(array)), DIGITS), "interval95": _interval(array.tobytes(), statistic)}


@functools.cache  # a report may be written after every unit of work, and little of it changes
def _interval(values: bytes, statistic: Callable[..., Any]) -> list[float]:
    drawn = bootstrap(np.frombuffer(values), functools.partial(statistic, axis=1), DRAWS, seed=0)
    return [round(end, DIGITS) for end in percentile_interval(drawn)]


def span(value: float, ends: Sequence[float], digits: int = 3, signed: bool = False) -> str:
    """0.463 [0.402, 0.523]"""
    form = f"{'+' if signed else ''}.{digits}f"
    low, high = ends
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def cell(figure: Mapping[str, Any] | None, signed: bool = False) -> str:
    """What `mean_interval` gave, or a dash."""
    return "–" if figure is None else span(figure["mean"], figure["interval95"], signed=signed)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """The figures, whole or not at all."""
    with durable(path) as file:
        file.write(f"{json.dumps(report, indent=1)}\n".encode())


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
    if begin not in page and end not in page:
        page = f"{page.rstrip()}\n\n{begin}{end}\n".lstrip()
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{path.name} must have {begin} before {end}, got one without the other.")
    path.write_text(f"{before}{begin}\n\n{body}\n\n{end}{after}", "utf-8")


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
