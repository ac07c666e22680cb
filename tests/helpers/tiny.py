# SPDX-License-Identifier: Apache-2.0
"""A tiny BERT, its tokenizer and a few labelled texts, made here: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Value
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from mhex_nlp import MhexConfig, get_mhex_model

GOOD, BAD = ["good", "fine", "superb", "lovely"], ["bad", "poor", "dull", "awful"]
NEUTRAL = ["the", "a", "film", "plot", "was", "and", "very", "music", "acting", "it"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NEUTRAL, *GOOD, *BAD, ".", ",", *"abcdefghijklmnopqrstuvwxyz"]
WORDS += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that knows `WORDS`."""
    ids = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny_bert(dropout: float = 0.1, seed: int = 0, **config: Any) -> BertForSequenceClassification:
    """Two layers, 32 units, two labels, random weights."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "id2label": {0: "negative", 1: "positive"},
        "label2id": {"negative": 0, "positive": 1},
        **config,
    }
    return BertForSequenceClassification(BertConfig(**settings))


def tiny_mhex(gate: bool = True, dropout: float = 0.1, seed: int = 0, **config: Any) -> Any:
    """`tiny_bert` with fresh heads."""
    plain = tiny_bert(dropout, seed, **config)
    torch.manual_seed(seed)
    return get_mhex_model(plain, MhexConfig(gate=gate))


def tiny_texts(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Sentences of varied length whose label is the tone of one word, and the labels."""
    draw = torch.Generator().manual_seed(seed)

    def pick(words: list[str]) -> str:
        return words[int(torch.randint(len(words), (), generator=draw))]

    texts, labels = [], []
    for index in range(count):
        tone = [BAD, GOOD][index % 2]
        length = 3 + int(torch.randint(8, (), generator=draw))
        words = [pick(NEUTRAL) for _ in range(length)]
        words[int(torch.randint(length, (), generator=draw))] = pick(tone)
        texts.append(" ".join(words) + " .")
        labels.append(index % 2)
    return texts, labels


def tiny_dataset(count: int, seed: int = 0) -> Dataset:
    """`tiny_texts` as text and label (ClassLabel)."""
    texts, labels = tiny_texts(count, seed)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


def tokenised(dataset: Dataset) -> Dataset:
    """input_ids, token_type_ids, attention_mask, labels."""
    tokenizer = tiny_tokenizer()
    rows = dataset.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)
    return rows.remove_columns("text").rename_column("label", "labels")


def save_checkpoint(folder: Path, **config: Any) -> Path:
    """A plain tiny BERT and its tokenizer on disk."""
    tiny_bert(**config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_trainer(model: Any, folder: Path, **options: Any) -> Trainer:
    """A plain Trainer on 64 texts, quiet and on the CPU; `options` of Trainer apart, the rest are TrainingArguments."""
    trainer_options = {
        "callbacks",
        "compute_metrics",
        "compute_loss_func",
        "optimizers",
        "train_dataset",
        "eval_dataset",
    }
    for_trainer = {name: options.pop(name) for name in list(options) if name in trainer_options}
    arguments = {
        "output_dir": str(folder),
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "per_device_train_batch_size": 8,
        "max_steps": 4,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "seed": 3,
        **options,
    }
    tokenizer = tiny_tokenizer()
    datasets = {"train_dataset": tokenised(tiny_dataset(64)), "eval_dataset": tokenised(tiny_dataset(20, seed=1))}
    return Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        **{**datasets, **for_trainer},
    )


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 2 to 11 words in random order, as many as a fit needs."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice([*NEUTRAL, *GOOD, *BAD], draw.integers(2, 12))) for _ in range(count)]
