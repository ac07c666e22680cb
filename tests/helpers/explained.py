# SPDX-License-Identifier: Apache-2.0
"""A tiny model whose heads are trained, and the texts that it explains."""

from __future__ import annotations

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import MhexConfig, get_mhex_model

TEXTS = [
    "the film was good",
    "a very bad plot , and dull acting .",
    "lovely",
    "the music was superb and the plot was a bit poor , it was very very good and very very lovely",
]


TOKENIZER = tiny_tokenizer()


def make_model(num_labels: int = 3, **config):
    names = ["bad", "fair", "good"][:num_labels]
    if "problem_type" not in config and num_labels == 1:
        config["problem_type"] = "regression"
    gate = config.pop("gate", True)
    plain = tiny_bert(num_labels=num_labels, id2label=dict(enumerate(names)), **config).eval()
    return train_heads(get_mhex_model(plain, MhexConfig(gate=gate)))
