# SPDX-License-Identifier: Apache-2.0
"""A small model trained on the recipe's own texts in a second or two, so that every recipe runs offline.

It stands in for your fine-tuned checkpoint: each script takes `--model FOLDER` in its place.
"""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--model`, the checkpoint to take in the stand-in's place."""
    warnings.filterwarnings("ignore", message="the fit is judged on")  # recipes have few texts
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("mhex_nlp").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--model", help="your own fine-tuned checkpoint, in the place of the small stand-in")
    return parser


def explainer_for_recipe(
    model: str | None,
    texts: Sequence[str],
    labels: Any,
    *,
    text_pairs: Sequence[str] | None = None,
    family: str = "bert",
    pattern: str = r"\w+|[^\w\s]",
    steps: int = 60,
    gaps: bool = True,
    fitted_on: Sequence[str] = (),
    explainer: dict[str, Any] | None = None,
    **config: Any,
) -> MhexExplainer:
    """An explainer of your checkpoint, or of a stand-in trained on `texts`, with matrices fitted on the texts.

    Args:
        model: folder or name of a checkpoint; `None` makes the stand-in.
        texts, text_pairs, labels: what the stand-in learns, and the fit reads.
        family, config: of the stand-in.
        pattern: what its tokens are.
        steps: of its training, over all texts each.
        gaps: mask words in its training, so that it knows texts with gaps, which the fit and explanations ask about.
        fitted_on: other texts that the fit reads in their place.
        explainer: options of `MhexExplainer`.
    """
    set_seed(0)
    if model is None:
        tokenizer = word_tokenizer([*texts, *(text_pairs or [])], pattern, decoder=family != "bert")
        plain = train(small_model(family, len(tokenizer), **config), tokenizer, texts, text_pairs, labels, steps, gaps)
    else:
        plain = AutoModelForSequenceClassification.from_pretrained(model)
        tokenizer = AutoTokenizer.from_pretrained(model)
    with_heads = get_mhex_model(plain.eval(), MhexConfig(gate=False))
    pairs = None if text_pairs is None else list(text_pairs)
    report = fit_equivalent_matrices(
        with_heads,
        tokenizer,
        list(fitted_on or texts),
        None if fitted_on else pairs,
        held_out=0.2,
        attainable_texts=0,
        progress=False,
    )
    print(f"One pass explains {report.skill:.2f} of what the model answers when words are masked (1: all of it).\n")
    return MhexExplainer(with_heads, tokenizer, **(explainer or {}))


def word_tokenizer(texts: Sequence[str], pattern: str, decoder: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the words of these texts, each a token of its own."""
    splitting = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    words = {word for text in texts for word, _ in splitting.pre_tokenize_str(text.lower())}
    ids = {word: index for index, word in enumerate([*SPECIAL, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), splitting
    if not decoder:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
        )
    else:  # the label is read off the last token, which is always there
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", ids["[SEP]"])]
        )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    inputs = ["input_ids", "attention_mask", *([] if decoder else ["token_type_ids"])]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", **names, model_max_length=64, model_input_names=inputs
    )


def small_model(family: str, vocabulary: int, **config: Any) -> Any:
    """Two layers of 48 units, with random weights."""
    sizes = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        **({"num_key_value_heads": 2, "head_dim": 12} if family != "bert" else {"type_vocab_size": 2}),
        **{key: value for key, value in config.items() if key != "id2label"},
    }
    if (labels := config.get("id2label")) is not None:
        sizes |= {"id2label": labels, "label2id": {label: index for index, label in labels.items()}}
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, vocab_size=vocabulary, **sizes))


def train(model: Any, tokenizer: Any, texts: Any, text_pairs: Any, labels: Any, steps: int, gaps: bool = True) -> Any:
    """A plain loop over all texts at once."""
    batch = tokenizer(list(texts), text_pairs, padding=True, truncation=True, return_tensors="pt")
    ordinary = (batch["input_ids"] >= len(SPECIAL)) & (batch["attention_mask"] == 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        masked = gaps & ordinary & (torch.rand(ordinary.shape) < torch.rand(len(ordinary), 1).square())
        inputs = {**batch, "input_ids": batch["input_ids"].masked_fill(masked, tokenizer.mask_token_id)}
        model(**inputs, labels=torch.as_tensor(labels)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()
