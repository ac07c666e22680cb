# SPDX-License-Identifier: Apache-2.0
"""The demo: a real encoder learns the embedded corpus with MHEX heads and explains its own predictions."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..explanation import Explanation
from ..highlights import write_explanations
from ..render import render_terminal
from .corpus import CorpusSentence, as_dataset, load_corpus
from .encoder import minilm_path

SHOWN = 6  # sentences on the terminal


def run_demo(output: Path, *, epochs: int = 6, seed: int = 0, comparison: bool = True) -> dict[str, Any]:
    """Fine-tunes the packaged MiniLM on the embedded corpus, prints figures and highlights, writes files to `output`.

    Writes `model/`, `report.html`, `explanations.jsonl`. With `comparison` the same model is trained a second time
    without gates and without head loss, which is plain fine-tuning: the heads only read, and nothing they do reaches
    the backbone.

    Returns:
        the printed figures: accuracies on the held-out sentences, the share of them whose top word lies in the words
        that people marked, and the same for a word drawn at random.

    Raises:
        FileNotFoundError: the encoder is not installed.
    """
    console = Console()
    start = time.perf_counter()
    encoder = minilm_path()
    import datasets
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    held_out = load_corpus("test")
    console.print("Fine-tuning MiniLM (6 layers, 22.7 M parameters) with MHEX heads on the embedded sentences ...")
    explainer = _train(encoder, output, "model", epochs, seed)
    explanations = explainer([s.text for s in held_out], layers=True, ids=[s.id for s in held_out])
    figures: dict[str, Any] = {"texts": len(held_out), "accuracy": _accuracy(explanations, held_out)}
    if comparison:
        console.print("... and once more without heads, to compare ...")
        plain = _train(encoder, output, "plain", epochs, seed, gate=False, loss_weight=0.0)
        figures["plain_accuracy"] = _plain_accuracy(plain, held_out)
        shutil.rmtree(output / "plain")
    figures |= _pointing(explanations, held_out)

    console.print()
    for explanation in _chosen(explanations, held_out):
        render_terminal(explanation.to_dict(), console)
        console.print()
    beside = f" (fine-tuned without heads: {figures['plain_accuracy']:.3f})" if comparison else ""
    console.print(f"Accuracy on {len(held_out)} held-out sentences: {figures['accuracy']:.3f}{beside}", highlight=False)
    console.print(
        f"Top word is one that people marked: {figures['pointing']:.0%} of the sentences "
        f"(a random word: {figures['random_pointing']:.0%})",
        highlight=False,
    )
    written = write_explanations(explanations, output, title="Held-out sentences of the embedded corpus")
    for path in [*written, output / "model"]:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    console.print(f"Done in {time.perf_counter() - start:.0f} s.", highlight=False)
    return figures


def _train(encoder: Path, output: Path, name: str, epochs: int, seed: int, **options: Any) -> Any:
    from datasets import DatasetDict

    from ..explainer import MhexExplainer
    from ..training import FinetuneConfig, finetune

    folder = output / name
    shutil.rmtree(folder, ignore_errors=True)  # an earlier demo's
    data = DatasetDict({split: as_dataset(split) for split in ("train", "validation")})
    finetune(
        FinetuneConfig(
            model=encoder,
            data=data,
            output_dir=folder,
            epochs=epochs,
            lr=5e-5,
            seed=seed,
            logging_steps=10**6,  # a line after each epoch is enough here
            save_steps=10**6,  # no checkpoints
            **options,
        )
    )
    return MhexExplainer.from_pretrained(str(folder))


def _accuracy(explanations: Sequence[Explanation], sentences: Sequence[CorpusSentence]) -> float:
    return sum(e.label == s.label for e, s in zip(explanations, sentences, strict=True)) / len(sentences)


def _plain_accuracy(explainer: Any, sentences: Sequence[CorpusSentence]) -> float:
    """Its heads were not trained, so only its predictions are of use."""
    import torch

    model, tokenizer = explainer.model, explainer.tokenizer
    with torch.inference_mode():
        batch = tokenizer([s.text for s in sentences], padding=True, return_tensors="pt")
        predicted = model(**batch).logits.argmax(-1).tolist()
    names = model.config.id2label
    return sum(names[index] == s.label for index, s in zip(predicted, sentences, strict=True)) / len(sentences)


def _pointing(explanations: Sequence[Explanation], sentences: Sequence[CorpusSentence]) -> dict[str, float]:
    """The share of texts whose highest-scored word overlaps a marked span, and what a random word would reach."""
    hits, chance = 0, 0.0
    for explanation, sentence in zip(explanations, sentences, strict=True):
        marked = [any(w.start < end and start < w.end for start, end in sentence.spans) for w in explanation.words()]
        best = max(range(len(marked)), key=lambda index: explanation.words()[index].score)
        hits += marked[best]
        chance += sum(marked) / len(marked)
    return {"pointing": hits / len(sentences), "random_pointing": chance / len(sentences)}


def _chosen(explanations: Sequence[Explanation], sentences: Sequence[CorpusSentence]) -> list[Explanation]:
    """A few sentences of middling length, of both classes, errors among them as they come."""
    fits = [e for e, s in zip(explanations, sentences, strict=True) if 40 <= len(s.text) <= 110]
    return random.Random(1).sample(fits, min(SHOWN, len(fits)))
