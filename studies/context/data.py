# SPDX-License-Identifier: Apache-2.0
"""Texts of the study, and every subset's log-probability for each: what all methods are fitted on and judged by.

With all 2**N subsets known, Shapley values are exact, any method at any budget and seed is only looked up, and what one
is judged by can be kept apart from what any was fitted on.

Axes: N units of a text.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mhex_nlp import ContextExplainer
from mhex_nlp.explain.context.prompts import write_prompt
from mhex_nlp.explain.context.units import read_prompt
from mhex_nlp.inputs.segmentation import segment_sentences

from ..common import write_json

SETS = ("squad", "facts")
SENTENCES, NEW_TOKENS = 6, 12
WORDS = (7, 8)  # units of a fact
_BOUNDARY = "<|endoftext|>"  # SmolLM2 adds no first token, and the first one is never removed


@dataclass(frozen=True)
class Table:
    """One text: v of all subsets, (2**N,) nats, row i of the units whose bits i has; attention (N,)."""

    values: np.ndarray
    attention: np.ndarray

    @property
    def units(self) -> int:
        return len(self.attention)


def squad(data: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Paragraphs of six sentences with one of their questions, in random order, by number."""
    items = json.loads((data / "squad" / "squad_v2_subset_1978.json").read_text("utf-8"))
    generator, questions = random.Random(0), dict[str, list[dict[str, Any]]]()
    for item in items:
        questions.setdefault(item["context"], []).append(item)
    chosen = [
        (context, generator.choice(some))
        for context, some in questions.items()
        if len(segment_sentences(context)) == SENTENCES
    ]
    generator.shuffle(chosen)
    for number, (context, item) in enumerate(chosen):
        yield number, {"context": context, "query": item["question"], "max_new_tokens": NEW_TOKENS}


def facts(data: Path, tokenizer: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Prompts of seven or eight words whose next words are a fact, in random order, by number."""
    items = json.loads((data / "lm_facts" / "known_1000.json").read_text("utf-8"))
    random.Random(0).shuffle(items)
    for number, item in enumerate(items):
        prompt = _BOUNDARY + item["prompt"]
        if len(read_prompt(tokenizer, write_prompt(tokenizer, prompt, None, None), "words").units) in WORDS:
            yield number, {"prompt": prompt, "continuation": f" {item['attribute']}", "units": "words"}


def collect(explainer: ContextExplainer, data: Path, work: Path, counts: dict[str, int]) -> None:
    """Asks about all subsets of as many texts of each set as `counts` says; what is there is not asked again."""
    texts = {"squad": squad(data), "facts": facts(data, explainer.tokenizer)}
    for name, count in counts.items():
        for done, (number, question) in enumerate(texts[name]):
            path = work / name / f"{number:04d}.json"
            if done >= count:
                break
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                start = time.perf_counter()
                write_json(path, ask(explainer, question))
                print(f"{name} {number}: {time.perf_counter() - start:.0f} s", flush=True)


def ask(explainer: ContextExplainer, question: dict[str, Any]) -> dict[str, Any]:
    """The table of one text, by the explainer's own reading of it and its own passes."""
    e = explainer.explain(**{"max_new_tokens": 1, **question}, budget=0)
    whole = [(0, len(e.continuation))]
    e = explainer.explain(**{**question, "continuation": e.continuation}, span=whole, budget=0)
    written = write_prompt(explainer.tokenizer, question.get("prompt"), question.get("context"), question.get("query"))
    read = read_prompt(explainer.tokenizer, written, question.get("units", "sentences"))
    after = explainer.tokenizer(e.continuation, add_special_tokens=False)["input_ids"]
    units = len(e.units)
    kept = torch.from_numpy((np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(bool))
    ids = torch.cat([read.ids, torch.tensor(after)])
    said = explainer._ablated.log_probabilities(ids, len(read.ids), read.kept_tokens(kept)).sum(1)
    return {
        "units": [unit.text for unit in e.units],
        "continuation": e.continuation,
        "tokens": len(read.ids),
        "attention": e.scores[:, 0].tolist(),
        "values": [round(value, 6) for value in said.tolist()],
    }


def tables(work: Path, name: str) -> list[Table]:
    """Those that are there, in order."""
    documents = (json.loads(path.read_text("utf-8")) for path in sorted((work / name).glob("*.json")))
    return [Table(np.array(document["values"]), np.array(document["attention"])) for document in documents]
