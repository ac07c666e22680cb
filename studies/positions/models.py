# SPDX-License-Identifier: Apache-2.0
"""The models of the study, each trained and fitted once and kept in its folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from mhex_nlp import (
    AutoMhexModelForQuestionAnswering,
    AutoMhexModelForTokenClassification,
    fit_equivalent_matrices,
)

from ..common import write_json
from .readers import (
    Answered,
    TaggedSentence,
    read_crossner,
    read_iob2,
    read_squad_subset,
    read_wnut,
    read_xquad,
)
from .training import reader_f1, tagger_f1, train_reader, train_tagger

JUDGED = 777  # last sentences of the test part, whose entities are explained: the fit sees the texts of the others
HELD_ARTICLES = 12  # of XQuAD
FIELDS, PARTS = ("politics", "ai"), ("train", "dev", "test")  # of CrossNER, all of which is trained on
ROOM = 300  # characters of context kept on either side of an answer
FITTED = 1000  # questions that the fit of a reader sees


def entity_parts(data: Path) -> tuple[list[TaggedSentence], list[TaggedSentence], list[str], list[str]]:
    """Sentences trained on, those F1 is of, texts of the fit, and texts whose entities are explained."""
    train, test = (read_iob2(data / "ner_ewt" / f"uner_en_ewt-{part}.iob2") for part in ("dev", "test"))
    for field in FIELDS:
        for part in PARTS:
            train += read_crossner(data / "crossner" / field / f"{part}.txt")
    train += [item for item in read_wnut(data / "wnut17" / "train.jsonl") if set(item.labels) != {"O"}]
    fitted = [sentence.text for sentence in (*train, *test[:-JUDGED])]
    return train, test, fitted, [sentence.text for sentence in test[-JUDGED:]]


def answer_parts(data: Path) -> tuple[list[Answered], list[Answered]]:
    """Questions trained on (the fit sees their texts too) and held-out ones, of other contexts."""
    articles = read_xquad(data / "squad" / "xquad.en.json")
    held = [item for article in articles[-HELD_ARTICLES:] for item in article]
    rest = read_squad_subset(data / "squad" / "squad_v2_subset_1978.json")
    rest += [item for article in articles[:-HELD_ARTICLES] for item in article]
    known = {item.context for item in held}
    return [cropped(item) for item in rest if item.context not in known], [cropped(item) for item in held]


def cropped(item: Answered) -> Answered:
    """The question with the part of its context that is near the answer, cut between words."""
    start = max(0, item.start - ROOM)
    if start:
        start = item.context.find(" ", start, item.start) + 1 or item.start
    end = min(len(item.context), item.end + ROOM)
    if end < len(item.context):
        end = max(item.context.rfind(" ", item.end, end), item.end)
    return Answered(item.question, item.context[start:end], item.start - start, item.end - start)


def prepared(task: str, seed: int, data: Path, work: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The fitted model of a seed, its tokenizer, and what is known of it."""
    folder = work / f"{task}-{seed}"
    plain, fitted = folder / "trained", folder / "fitted"
    make, auto = {
        "entities": (_train_entities, AutoMhexModelForTokenClassification),
        "answers": (_train_answers, AutoMhexModelForQuestionAnswering),
    }[task]
    _keep(plain, lambda: make(data, seed))
    if not (fitted / "result.json").is_file():
        _keep(fitted, lambda: _fit(task, auto, plain, data, seed))
    known = {**_result(plain), **_result(fitted)}
    return auto.from_pretrained(fitted).eval(), AutoTokenizer.from_pretrained(fitted), known


def _keep(folder: Path, make: Callable[[], tuple[Any, Any, dict[str, Any]]]) -> None:
    if (folder / "result.json").is_file():
        return
    model, tokenizer, result = make()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "result.json", result)  # last: with it the folder is whole
    print(f"{folder.parent.name} {folder.name}: {result}", flush=True)


def _result(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text("utf-8"))
    return result


def _train_entities(data: Path, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    train, test, _, _ = entity_parts(data)
    start = time.perf_counter()
    model, tokenizer = train_tagger(train, seed)
    seconds = round(time.perf_counter() - start)
    return model, tokenizer, {"f1": round(tagger_f1(model, tokenizer, test), 4), "training_seconds": seconds}


def _train_answers(data: Path, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    train, held = answer_parts(data)
    start = time.perf_counter()
    model, tokenizer = train_reader(train, seed)
    seconds = round(time.perf_counter() - start)
    return model, tokenizer, {"f1": round(reader_f1(model, tokenizer, held), 4), "training_seconds": seconds}


def _fit(task: str, auto: Any, plain: Path, data: Path, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    model, tokenizer = auto.from_pretrained(plain).eval(), AutoTokenizer.from_pretrained(plain)
    texts: Sequence[Sequence[str]]
    if task == "entities":
        texts = (entity_parts(data)[2],)
    else:
        train, _ = answer_parts(data)
        order = np.random.default_rng(seed).permutation(len(train))[:FITTED]
        texts = ([train[i].question for i in order], [train[i].context for i in order])
    report = fit_equivalent_matrices(model, tokenizer, *texts, seed=seed, progress=False)
    kept = ("skill", "skill_interval", "attainable", "attainable_interval", "texts", "rows", "strength", "seconds")
    return model, tokenizer, {"fit": {name: report.to_dict()[name] for name in kept}}
