# SPDX-License-Identifier: Apache-2.0
"""The models of the faithfulness study: MiniLM with heads, fine-tuned, then fitted; each kept in its own folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoTokenizer, set_seed

from mhex_nlp import (
    AutoMhexModelForSequenceClassification,
    MhexExplainer,
    fit_equivalent_matrices,
    mhex_param_groups,
)
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.evaluation.model_values import ModelValues
from mhex_nlp.evaluation.text_values import TextValues

from ..common import train as fine_tune
from ..common import write_json
from . import data as corpus
from . import settings, store


@dataclass(frozen=True)
class Case:
    """One data set and one seed: where its results lie, and its model once somebody asks for it."""

    data: str
    seed: int
    corpora: Path
    work: Path
    train_texts: int | None = None

    @property
    def name(self) -> str:
        return f"{self.data}-{self.seed}"

    @property
    def folder(self) -> Path:
        return self.work / self.name

    def made_of(self, method: str = "") -> str:
        """What scores of `method` depend on: the model, or for fitted scores the model with its fit."""
        kind = "fitted" if method == "mhex_fitted" else "trained"
        return f"{store.digest(self.folder / kind / 'model.safetensors')} {method}".strip()

    def prepare(self) -> None:
        """Fine-tunes and fits what is not there yet.

        Raises:
            ValueError: a model or a fit that is there was made with other settings.
        """
        trained, fitted = self.folder / "trained", self.folder / "fitted"
        options = settings.training(self.data, self.train_texts)
        if not trained.is_dir():
            store.write_whole(trained, lambda folder: self._train(folder, options))
        _check(trained / "settings.json", options, "trained")
        if not fitted.is_dir():
            store.write_whole(fitted, self._fit)
        _check(fitted / "settings.json", {"fit": settings.FIT}, "fitted")

    @cached_property
    def parts(self) -> tuple[corpus.Texts, corpus.Texts, list[str]]:
        """Training texts, test texts and class names."""
        train, test, names = corpus.read(self.corpora, self.data)
        return train.first(self.train_texts, self.seed), test, names

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
    def _values(self) -> dict[str, ModelValues]:
        return {}

    @property
    def max_length(self) -> int:
        return settings.MAX_LENGTH[self.data]

    def values(self, removal: str = "mask") -> ModelValues:
        """One for each removal, which remembers what the model said."""
        if removal not in self._values:
            self._values[removal] = ModelValues(
                self.model, self.tokenizer, removal, settings.BATCH_TOKENS, max_length=self.max_length
            )
        return self._values[removal]

    @cached_property
    def _drawn(self) -> dict[str, list[TextValues]]:
        return {}

    def texts(self, count: int, removal: str = "mask") -> list[TextValues]:
        """The first `count` test texts, shuffled by the seed, that have more than one content token."""
        if len(self._drawn.get(removal, [])) < count:
            shuffled = self.parts[1].first(len(self.parts[1]), self.seed).texts
            known, values = self._drawn.get(removal, []), self.values(removal)
            drawn = [text for text in (values.of(text) for text in shuffled[: 2 * count + 20]) if text.n > 1]
            self._drawn[removal] = known + drawn[len(known) :]  # those known keep what the model said of them
        return self._drawn[removal][:count]

    def _train(self, folder: Path, options: dict[str, Any]) -> None:
        train, test, names = self.parts
        set_seed(self.seed)
        tokenizer = AutoTokenizer.from_pretrained(minilm_path())
        tokenizer.model_max_length = self.max_length

        def encode(texts: corpus.Texts) -> Dataset:
            rows = tokenizer(texts.texts, truncation=True, max_length=self.max_length, padding=False)
            return Dataset.from_dict({**rows, "labels": texts.labels})

        model = AutoMhexModelForSequenceClassification.from_pretrained(
            minilm_path(),
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
        )
        steps = -(-len(train) // settings.BATCH) * settings.EPOCHS
        trainer, seconds = fine_tune(
            model,
            tokenizer,
            encode(train),
            lr=settings.LR,
            batch=settings.BATCH,
            epochs=settings.EPOCHS,
            warmup_steps=min(settings.WARMUP_STEPS, steps // 4),
            weight_decay=settings.WEIGHT_DECAY,
            seed=self.seed,
            groups=mhex_param_groups(model, settings.LR),
            train_sampling_strategy="group_by_length",
        )
        order = np.argsort([len(text) for text in test.texts])  # little padding
        ordered = corpus.Texts([test.texts[i] for i in order], [test.labels[i] for i in order])
        predicted = trainer.predict(encode(ordered))  # grouped by length too, so its labels have its order
        accuracy = float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "settings.json", options)
        write_json(
            folder / "result.json", {"accuracy": accuracy, "test_texts": len(test), "seconds": round(seconds, 1)}
        )
        print(f"{self.name} trained: accuracy {accuracy:.4f} on {len(test)}, {seconds:.0f} s", flush=True)

    def _fit(self, folder: Path) -> None:
        trained = self.folder / "trained"
        model = AutoMhexModelForSequenceClassification.from_pretrained(trained).eval()
        tokenizer = AutoTokenizer.from_pretrained(trained)
        report = fit_equivalent_matrices(
            model, tokenizer, self.parts[0].texts, seed=self.seed, progress=False, **settings.FIT
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "settings.json", {"fit": settings.FIT})
        write_json(folder / "result.json", report.to_dict())
        low, high = report.skill_interval
        print(f"{self.name} fitted: skill {report.skill:.3f} [{low:.3f}, {high:.3f}], {report.seconds} s", flush=True)


def _check(path: Path, options: dict[str, Any], kind: str) -> None:
    known = json.loads(path.read_text("utf-8"))
    if known != json.loads(json.dumps(options)):
        raise ValueError(
            f"{path.parent} was {kind} with {known}, and the settings now are {options}: remove that folder (and what "
            "hangs on it) or put the settings back."
        )
