# SPDX-License-Identifier: Apache-2.0
"""The models of the faithfulness study: MiniLM with heads, fine-tuned, then fitted; each kept in its own folder."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoTokenizer

from mhex_nlp import AutoMhexModelForSequenceClassification, MhexExplainer, fit_equivalent_matrices
from mhex_nlp.evaluation.model_values import ModelValues, TextValues
from mhex_nlp.inputs.atomic_files import durable

from ..common import MINILM, fine_tune, write_json
from . import data as corpus
from . import settings

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One data set and one seed: where its results lie, and its model once somebody asks for it."""

    data: str
    seed: int
    corpora: Path
    work: Path
    train_texts: int | None = None
    fit_texts: int | None = None  # of the training texts, by default all

    @property
    def name(self) -> str:
        return f"{self.data}-{self.seed}"

    @property
    def folder(self) -> Path:
        return self.work / self.name

    @property
    def max_length(self) -> int:
        return settings.MAX_LENGTH[self.data]

    def prepare(self) -> None:
        """Fine-tunes and fits what is not there yet.

        Raises:
            ValueError: a model or a fit that is there was made with other settings.
        """
        self.train()
        some = {} if self.fit_texts is None else {"texts": self.fit_texts}
        self._keep("fitted", {"fit": {**settings.FIT, **some}}, self._fit)

    def train(self) -> None:
        """Fine-tunes the model where it is not there yet.

        Raises:
            ValueError: as `prepare`.
        """
        options = {"base": MINILM, "data": self.data, "train_texts": self.train_texts, **settings.TRAINING}
        self._keep("trained", {**options, "max_length": self.max_length}, self._train)

    def unit(self, table: str, name: str, count: int, make: Callable[[], Columns]) -> None:
        """Makes and keeps the arrays of a unit of work, unless they are on disk for as many texts."""
        known = self.load(table, name)
        if known and known["texts"] >= count:
            return
        start, (path, made_of) = time.perf_counter(), self._place(table, name)
        columns = {**make(), "texts": np.asarray(count), "made_of": np.asarray(made_of)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable(path) as file:
            np.savez_compressed(file, **columns)
        print(f"{self.name} {table} {name}: {count} texts, {time.perf_counter() - start:.1f} s", flush=True)

    def load(self, table: str, name: str) -> Columns:
        """The arrays of a unit of work; none where it was not done, or was made of another model, fit or budget."""
        path, made_of = self._place(table, name)
        if not path.is_file():
            return {}
        with np.load(path, allow_pickle=False) as file:
            return dict(file) if str(file["made_of"]) == made_of else {}

    def _place(self, table: str, name: str) -> tuple[Path, str]:
        """Where a unit lies, and what it depends on: the model (with its fit, for fitted scores) and the budget."""
        kind = "fitted" if name.startswith("mhex_fitted") else "trained"
        budgets = {**settings.BUDGETS, "random": settings.RANDOM_DRAWS}
        reference = settings.PERMUTATIONS if table == "B" else ""
        made_of = f"{_digest(self.folder / kind / 'model.safetensors')} {budgets.get(name, '')} {reference}"
        return self.folder / table / f"{name}.npz", made_of

    @cached_property
    def parts(self) -> tuple[Dataset, Dataset]:
        """Training and test texts."""
        train, test = corpus.read(self.corpora, self.data)
        return train if self.train_texts is None else corpus.shuffled(train, self.train_texts, self.seed), test

    @cached_property
    def tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.folder / "fitted")

    @cached_property
    def model(self) -> Any:
        return AutoMhexModelForSequenceClassification.from_pretrained(self.folder / "fitted").eval()

    @cached_property
    def explainer(self) -> MhexExplainer:
        return MhexExplainer(self.model, self.tokenizer, max_length=self.max_length, batch_tokens=settings.BATCH_TOKENS)

    @cached_property
    def values(self) -> dict[str, ModelValues]:
        """By removal."""
        model, tokens = (self.model, self.tokenizer), settings.BATCH_TOKENS
        return {name: ModelValues(*model, name, tokens, max_length=self.max_length) for name in ("mask", "deletion")}

    def _keep(self, kind: str, options: dict[str, Any], make: Callable[[], tuple[Any, Any, dict[str, Any]]]) -> None:
        """Makes model, tokenizer and result where they are not there; ValueError where they are of other settings."""
        folder = self.folder / kind
        if not folder.is_dir():
            partial = folder.with_name(f".{kind}")  # takes its name when it is whole
            shutil.rmtree(partial, ignore_errors=True)
            model, tokenizer, result = make()
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            write_json(partial / "settings.json", options)
            write_json(partial / "result.json", result)
            partial.rename(folder)
            shown = {
                name: result[name] for name in ("accuracy", "skill", "skill_interval", "seconds") if name in result
            }
            print(f"{self.name} {kind}: {shown}", flush=True)
        known = json.loads((folder / "settings.json").read_text("utf-8"))
        if known != json.loads(json.dumps(options)):
            raise ValueError(
                f"{folder} was {kind} with {known}, and the settings now are {options}: remove that folder (and what "
                "hangs on it) or put the settings back."
            )

    def _train(self) -> tuple[Any, Any, dict[str, Any]]:
        train, test = self.parts
        steps = -(-len(train) // settings.TRAINING["batch"]) * settings.TRAINING["epochs"]
        model, tokenizer, hits, seconds = fine_tune(
            AutoMhexModelForSequenceClassification,
            train,
            test,
            max_length=self.max_length,
            seed=self.seed,
            head_rate=True,
            train_sampling_strategy="group_by_length",  # of the test texts too
            **{**settings.TRAINING, "warmup_steps": min(settings.TRAINING["warmup_steps"], steps // 4)},
        )
        return model, tokenizer, {"accuracy": float(hits.mean()), "test_texts": len(test), "seconds": round(seconds, 1)}

    def _fit(self) -> tuple[Any, Any, dict[str, Any]]:
        trained, train = self.folder / "trained", self.parts[0]
        chosen = train if self.fit_texts is None else corpus.shuffled(train, self.fit_texts, self.seed)
        texts = list(chosen["text"])
        model = AutoMhexModelForSequenceClassification.from_pretrained(trained).eval()
        tokenizer = AutoTokenizer.from_pretrained(trained)
        report = fit_equivalent_matrices(model, tokenizer, texts, seed=self.seed, progress=False, **settings.FIT)
        return model, tokenizer, report.to_dict()


@functools.cache  # the texts remember what the model said of them
def draw_texts(case: Case, count: int, removal: str = "mask") -> list[TextValues]:
    """The first `count` test texts, shuffled by the seed, that have more than one content token."""
    texts = map(case.values[removal].of, corpus.shuffled(case.parts[1], len(case.parts[1]), case.seed)["text"])
    return list(islice((text for text in texts if text.n > 1), count))


@functools.cache  # a report reads hundreds of units of one model
def _digest(path: Path) -> str:
    """The first 12 digits of a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
