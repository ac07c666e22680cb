# SPDX-License-Identifier: Apache-2.0
"""The models that are timed, plain and with heads over the same weights, and their inputs.

What a pass costs does not depend on how good a fit is: the fitted matrices are random ones of the layout of a fit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    ModernBertConfig,
)

from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.models.fit_weights import fit_hashes
from mhex_nlp.models.heads.readout import FeatureLayout

from ..common import MINILM

BERT_BASE, MODERN_BERT = "BERT-base, random", "ModernBERT-base, random"
LABELS_OF_WORDS = 7
OWN_STATES = 4  # depths at which a fit for positions reads the place's own states
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@dataclass(frozen=True, slots=True)
class Settings:
    """How everything is run; `seconds` that the rounds of one comparison may take, `smoke`: tiny models and batches."""

    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "sdpa"
    threads: int = 0
    seconds: float = 10.0
    longest: int = 8192
    smoke: bool = False

    def shape(self, texts: int, tokens: int) -> tuple[int, int]:
        """Of a batch: as it is, or small."""
        return (min(texts, 2), max(8, tokens // 128)) if self.smoke else (texts, tokens)


@dataclass(frozen=True, slots=True)
class Models:
    """A plain model, and one with heads and fitted matrices over its weights, both in eval mode."""

    name: str
    plain: Any
    heads: Any


def make_models(name: str, settings: Settings, *, gate: bool = True, words: bool = False) -> Models:
    """The models of a name; `words`: token classifiers, whose heads only read."""
    torch.manual_seed(0)
    auto: Any = AutoModelForTokenClassification if words else AutoModelForSequenceClassification
    how = {"dtype": getattr(torch, settings.dtype), "attn_implementation": settings.attention}
    labels = {"num_labels": LABELS_OF_WORDS if words else 2}
    if name == MINILM and not settings.smoke:
        plain = auto.from_pretrained(minilm_path(), **labels, **how)
    else:
        sizes: dict[str, Any] = {**labels, **(_TINY if settings.smoke else {})}
        config = ModernBertConfig(**sizes) if name == MODERN_BERT else BertConfig(**sizes)
        plain = auto.from_config(config, **how)
    plain = plain.to(settings.device).eval()
    heads = get_mhex_model(plain, MhexConfig(gate=gate and not words)).eval()
    with torch.no_grad():
        for head in heads.mhex:  # as after training; a zero matrix would be no cheaper, but fairer is better
            nn.init.normal_(head.w1, std=0.02)
    add_random_fit(heads, words)
    return Models(name, plain, heads)


def layout_of(config: AutoConfig, words: bool = False) -> FeatureLayout:
    """The features that a fit reads of a model of this config: states of all depths, and the flow into each layer."""
    layers, width = config.num_hidden_layers, config.hidden_size
    depths, flows = tuple(range(layers + 2)), (0, *(width,) * layers, 0)
    layout = FeatureLayout(depths, (width,) * len(depths), flows, "position" if words else "text")
    return layout.with_own_states(OWN_STATES) if words else layout


def add_random_fit(model: Any, words: bool) -> None:
    """Gives it matrices, and a record with all that an explanation reads of one."""
    layout, labels = layout_of(model.config, words), model.config.num_labels
    record: dict[str, Any] = {
        "depths": layout.depths,
        "widths": layout.widths,
        "flow_widths": layout.flow_widths,
        "at": layout.at,
        "task": model.task,
        "removal": "mask",
        "contrast": "centred",
        "skill": 0.5,
        "skill_interval": (0.4, 0.6),
        "absolute_skill": 0.5,
        "r2": 0.5,
        "attainable": 0.9,
        "base_error": (0.1, 0.2),
        "misfit": (0.1, 0.2),
        "longest": 512,
        "pairs": False,
        "scripts": ["Latin"],
        "weights": fit_hashes(model),
    }
    if not words:
        lengths = sorted({round(1.1**step) for step in range(66)})  # 1 to 490, about as many as a fit measures
        record["empty"] = {"lengths": lengths, "values": [[0.0] * labels for _ in lengths]}
    model.add_readout(record, torch.randn(layout.features, labels) * 0.01)


@functools.cache
def tokenizer_of_minilm() -> Any:
    """Of the packaged MiniLM; the other models are given its ids."""
    return AutoTokenizer.from_pretrained(minilm_path())


def sentences(count: int) -> list[str]:
    """So many different ones: those of the embedded corpus, then halves of two of them joined."""
    texts = [sentence.text for sentence in load_corpus()]
    draw, words = torch.Generator().manual_seed(0), [text.split() for text in texts]
    made = dict.fromkeys(texts)
    while len(made) < count:
        first, second = (words[int(torch.randint(len(words), (1,), generator=draw))] for _ in range(2))
        made[" ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])] = None
    return list(made)[:count]


def texts_of(tokenizer: Any, lengths: Sequence[int]) -> list[str]:
    """A text of about so many tokens for each length, of sentences joined."""
    corpus = [sentence.text for sentence in load_corpus()]
    joined = [" ".join([*corpus[7 * row % len(corpus) :], *corpus]) for row in range(len(lengths))]
    encodings = [
        tokenizer(text[: 16 * size], truncation=True, max_length=size, return_offsets_mapping=True)
        for text, size in zip(joined, lengths, strict=True)
    ]
    ends = [max(end for _, end in encoding["offset_mapping"]) for encoding in encodings]
    return [text[:end] for text, end in zip(joined, ends, strict=True)]


def batch_of(texts: int, tokens: int, model: Any) -> dict[str, torch.Tensor]:
    """Inputs of so many texts, padded to `tokens`, which the first has and the last three quarters of."""
    tokenizer = tokenizer_of_minilm()
    lengths = [tokens - row * tokens // (4 * texts) for row in range(texts)]
    batch = tokenizer(
        texts_of(tokenizer, lengths), truncation=True, max_length=tokens, padding="max_length", return_tensors="pt"
    )
    inputs = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
    return {**inputs, "return_dict": True}
