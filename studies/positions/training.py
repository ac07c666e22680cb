# SPDX-License-Identifier: Apache-2.0
"""The models of the study: the packaged MiniLM as an entity tagger and as a reader, trained also on masked words.

Axes: B texts, T tokens.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    set_seed,
)

from mhex_nlp.cli.demo.encoder import minilm_path

from .readers import Answered, TaggedSentence

LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
MASKED = 0.3  # of the texts of a batch lose a random part of their words


class _Encoded(Dataset[dict[str, Any]]):
    """Encoded texts; `mask_id` hides a random part, of uniform size, of the content tokens of some, anew each time."""

    def __init__(self, rows: Sequence[dict[str, Any]], mask_id: int | None = None) -> None:
        self.rows, self.mask_id = rows, mask_id

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = dict(self.rows[index])
        content = row.pop("content")
        if self.mask_id is not None and float(torch.rand(())) < MASKED:
            share = float(torch.rand(()))
            hidden = [position for position in content if float(torch.rand(())) < share]
            ids = list(row["input_ids"])
            for position in hidden:
                ids[position] = self.mask_id
            row["input_ids"] = ids
        return row


def encode_tagged(tokenizer: Any, sentences: Sequence[TaggedSentence], max_length: int = 128) -> list[dict[str, Any]]:
    """Features and labels: that of a word at its first token, -100 at the others."""
    rows = []
    for sentence in sentences:
        encoding = tokenizer(sentence.text, truncation=True, max_length=max_length, return_offsets_mapping=True)
        labels, content = [], []
        starts = {start: label for (start, _), label in zip(sentence.words, sentence.labels, strict=True)}
        for position, (start, end) in enumerate(encoding.pop("offset_mapping")):
            label = starts.get(start) if end > start else None
            labels.append(LABELS.index(label) if label in LABELS else -100)
            if end > start:
                content.append(position)
        rows.append({**encoding, "labels": labels, "content": content})
    return rows


def encode_answered(tokenizer: Any, questions: Sequence[Answered], max_length: int = 384) -> list[dict[str, Any]]:
    """Features with the positions of the answer's first and last token; questions whose answer is cut are left out."""
    rows = []
    for item in questions:
        encoding = tokenizer(
            item.question, item.context, truncation="only_second", max_length=max_length, return_offsets_mapping=True
        )
        sequences, offsets = encoding.sequence_ids(), encoding.pop("offset_mapping")
        inside = [
            position
            for position, ((start, end), sequence) in enumerate(zip(offsets, sequences, strict=True))
            if sequence == 1 and start < item.end and end > item.start
        ]
        if not inside or offsets[inside[-1]][1] < item.end:
            continue
        content = [position for position, sequence in enumerate(sequences) if sequence is not None]
        rows.append({**encoding, "start_positions": inside[0], "end_positions": inside[-1], "content": content})
    return rows


def _collate(tokenizer: Any, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    padding = {"input_ids": tokenizer.pad_token_id, "labels": -100}
    batch = {}
    for name, value in rows[0].items():
        if isinstance(value, list):
            fill = padding.get(name, 0)
            batch[name] = torch.tensor([[*row[name], *[fill] * (longest - len(row[name]))] for row in rows])
        else:
            batch[name] = torch.tensor([row[name] for row in rows])
    return batch


def train(auto: Any, rows: Any, *, seed: int, epochs: int, lr: float, batch: int, **config: Any) -> tuple[Any, Any]:
    """The fine-tuned model and its tokenizer; `rows` makes the features of the training texts from the tokenizer."""
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(minilm_path())
    tokenizer.model_max_length = 512
    model = auto.from_pretrained(minilm_path(), **config)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            learning_rate=lr,
            per_device_train_batch_size=batch,
            num_train_epochs=epochs,
            warmup_steps=50,
            weight_decay=0.01,
            seed=seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        Trainer(
            model,
            settings,
            train_dataset=_Encoded(rows(tokenizer), tokenizer.mask_token_id),
            data_collator=lambda batch: _collate(tokenizer, batch),
        ).train()
    return model.eval(), tokenizer


def train_tagger(sentences: Sequence[TaggedSentence], seed: int, epochs: int = 6, lr: float = 3e-4) -> Any:
    """An entity tagger: model and tokenizer."""
    names = dict(enumerate(LABELS))
    return train(
        AutoModelForTokenClassification,
        lambda tokenizer: encode_tagged(tokenizer, sentences),
        seed=seed,
        epochs=epochs,
        lr=lr,
        batch=16,
        num_labels=len(LABELS),
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )


def train_reader(questions: Sequence[Answered], seed: int, epochs: int = 6, lr: float = 2e-4) -> Any:
    """A reader: model and tokenizer."""
    return train(
        AutoModelForQuestionAnswering,
        lambda tokenizer: encode_answered(tokenizer, questions),
        seed=seed,
        epochs=epochs,
        lr=lr,
        batch=16,
    )


def entities_of(labels: Sequence[str]) -> set[tuple[int, int, str]]:
    """(first word, word after the last, type) of each run of BIO labels."""
    spans, start = set(), None
    for index, label in enumerate([*labels, "O"]):
        ends = start is not None and not (label.startswith("I-") and label[2:] == labels[start][2:])
        if ends:
            spans.add((start, index, labels[start][2:]))
            start = None
        if label != "O" and start is None:
            start = index
    return spans


@torch.inference_mode()
def tagger_f1(model: Any, tokenizer: Any, sentences: Sequence[TaggedSentence]) -> float:
    """Micro F1 of whole entities, type and both ends right."""
    rows = encode_tagged(tokenizer, sentences, 256)
    right = predicted_count = gold_count = 0
    for begin in range(0, len(rows), 32):
        chunk = [{key: value for key, value in row.items() if key != "content"} for row in rows[begin : begin + 32]]
        batch = _collate(tokenizer, chunk)
        labels = batch.pop("labels")
        chosen = model(**batch).logits.argmax(-1)
        for sentence, row, label_row in zip(sentences[begin : begin + 32], chosen, labels, strict=True):
            predicted = entities_of([LABELS[index] for index in row[label_row != -100].tolist()])
            gold = entities_of([label for label in sentence.labels])
            right += len(predicted & gold)
            predicted_count, gold_count = predicted_count + len(predicted), gold_count + len(gold)
    return 2 * right / max(1, predicted_count + gold_count)


@torch.inference_mode()
def reader_f1(model: Any, tokenizer: Any, questions: Sequence[Answered]) -> float:
    """Mean F1 of the tokens of the likeliest span (of at most 30 tokens) with those of the answer."""
    rows = encode_answered(tokenizer, questions)
    scores = []
    for row in rows:
        features = {name: torch.tensor([row[name]]) for name in ("input_ids", "attention_mask", "token_type_ids")}
        output = model(**features)
        inside = [position for position in row["content"] if row["token_type_ids"][position] == 1]
        first, last = inside[0], inside[-1] + 1
        spans = output.start_logits[0, first:last, None] + output.end_logits[0, None, first:last]
        spans = spans.masked_fill(~torch.ones_like(spans, dtype=torch.bool).triu().tril(29), -torch.inf)
        start, end = divmod(int(spans.argmax()), spans.shape[1])
        predicted = set(range(first + start, first + end + 1))
        gold = set(range(row["start_positions"], row["end_positions"] + 1))
        scores.append(2 * len(predicted & gold) / (len(predicted) + len(gold)))
    return sum(scores) / len(scores)
