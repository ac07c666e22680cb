# SPDX-License-Identifier: Apache-2.0
"""Tiny token classifiers and readers with matrices made by hand: no fit is needed to test what follows one."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForTokenClassification

from helpers.families import CONFIGS
from helpers.tiny import tiny_tokenizer
from mhex_nlp import MhexConfig, get_mhex_model

TOKENIZER = tiny_tokenizer()
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXT = "the film was lovely , and a superb plot was very dull"
QUESTION, CONTEXT = "was the film good", "the film was superb . it was a lovely plot , and the music was fine"


def placed_model(task: str, labels: list[str] | None = None, family: str = "bert", seed: int = 0, **config: Any) -> Any:
    """A model of "token" or "answer" with heads and no fit, whose predictions differ from word to word."""
    torch.manual_seed(seed)
    names = dict(enumerate(LABELS if labels is None else labels)) if task == "token" else {0: "start", 1: "end"}
    settings = {**CONFIGS[family], "vocab_size": 200, "pad_token_id": 0, "id2label": names, **config}
    settings["label2id"] = {name: index for index, name in names.items()}
    auto: Any = AutoModelForTokenClassification if task == "token" else AutoModelForQuestionAnswering
    plain = auto.from_config(AutoConfig.for_model(family, **settings)).eval()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name.startswith(("classifier", "score", "qa_outputs")):
                parameter.copy_(torch.randn_like(parameter))
            elif parameter.ndim > 1:  # or no word would matter
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    model = get_mhex_model(plain, MhexConfig(gate=False)).eval()
    with torch.no_grad():  # no label is more probable than others on the whole
        output = model(**inputs_for(model, TEXT))
        if task == "token":
            labels_of(model).bias = nn.Parameter(-output.logits[0].mean(0))
    return model


def fitted(model: Any, seed: int = 1, **record: Any) -> Any:
    """The model with random matrices for its read-out at places."""
    config = model.config
    depths, width = len(model.mhex) + 1, config.hidden_size
    heads = config.num_attention_heads
    flow = heads * (getattr(config, "head_dim", None) or width // heads)
    fit = {
        "depths": list(range(depths)),
        "widths": [width] * depths,
        "flow_widths": [0] + [flow] * (depths - 1),
        "at": "position",
        "task": "token_classification" if "Token" in type(model).__name__ else "question_answering",
        "removal": "mask",
        "contrast": "centred" if "Token" in type(model).__name__ else "none",
        "skill": 0.4,
        "skill_interval": [0.3, 0.5],
        "absolute_skill": 0.5,
        "r2": 0.6,
        **record,
    }
    readout = model.add_readout(fit)
    weights = torch.randn(readout.layout.features, len(readout.constant), generator=torch.Generator().manual_seed(seed))
    model.add_readout(fit, weights * 0.1)
    return model


def labels_of(model: nn.Module) -> nn.Linear:
    """What of a token classifier makes labels of states."""
    return next(getattr(model, name) for name in ("classifier", "score") if hasattr(model, name))


def raw_logits(model: Any, text: str, pair: str | None = None) -> torch.Tensor:
    """(T, C): what the model says by itself; start and end logits less their means."""
    with torch.no_grad():
        output = model.without_heads()(**inputs_for(model, text, pair))
    if hasattr(output, "logits"):
        return output.logits[0]
    both = torch.stack([output.start_logits[0], output.end_logits[0]], dim=-1)
    return both - both.mean(0)


def inputs_for(model: Any, text: str, pair: str | None = None) -> dict[str, torch.Tensor]:
    """The model's inputs for a text."""
    names = inspect.signature(type(model).__mro__[2].forward).parameters
    return {k: v for k, v in TOKENIZER(text, pair, return_tensors="pt").items() if k in names}
