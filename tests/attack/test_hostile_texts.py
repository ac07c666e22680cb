# SPDX-License-Identifier: Apache-2.0
"""Hostile texts, drawn from a seed, through tiny models of several tokenizer kinds: what must hold of each explanation.

The invariants are those of docs/architecture.md: I2 (sums), I3 (alone as in a batch), I5 (offsets), I10 (finite).
"""

from __future__ import annotations

import math
import random
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from helpers.attack import record, rounds
from helpers.families import train_heads
from helpers.made_tokenizers import build
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, get_mhex_model

TEXTS = 100_000  # all of them
BATCH = 80
SAMPLED = 40  # of so many texts, one is explained alone, and written and read again
KINDS = ["wordpiece uncased", "wordpiece cased", "bytes prefix", "bytes composed", "unigram", "fallback"]
NO_TEXT = ("must hold at least one character that is not whitespace", "has no token the tokenizer knows")
ALPHABETS = [
    [chr(code) for code in (*range(0x00, 0x20), *range(0x7F, 0xA0))],  # controls, NUL first
    [chr(code) for code in (*range(0x300, 0x340), 0x20D0, 0x489, 0xFE0E, 0xFE0F, 0x0E33, 0x0E49, 0x1AB0)],  # marks
    ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "🇫", "1️⃣", "❤️‍🔥", "\u200d", "🏴\U000e0067\U000e007f", "🏽", "👩\u200d"],
    [
        *"\ud7ff\ue000\uf8ff\ufdd0\ufffd\ufffe\uffff",
        "\U00010000",
        "\U0010ffff",
        "\U0001fffe",
        "\ud800",
        "\udfff",
        "\ud83d",
    ],
    [*"שלום مرحبا", "\u202e", "\u202d", "\u2066", "\u2069", "\u200f", "\u061c", "السَّلَامُ", "ﷺ"],
    [*"东京は日本ガｶﾞ한국어ภาพยนตร์น้ำ東", "か\u3099", "각", "\u1100\u1161\u11a8"],
    [*" \t\n\r\v\f\x85\xa0\u1680\u2000\u2003\u2028\u2029\u202f\u205f\u3000", "   ", "\r\n"],
    [*"\u200b\u200c\u2060\ufeff\u00ad\u034f\u115f\u3164\u180e\u2800"],  # nothing to see
    [
        "[MASK]",
        "[CLS]",
        "[SEP]",
        "[UNK]",
        "[PAD]",
        "<s>",
        "</s>",
        "<unk>",
        "<pad>",
        "<mask>",
        "<0x0A>",
        "##a",
        "Ġ",
        "▁",
    ],
    ["the", "cat", "can't", "caf\u00e9", "good", ".", ",", "'", "İ", "ß", "ﬁ", "½", "1⁄2", "Ǆ", "a", "Z", "0"],
]


def hostile_texts(draw: random.Random) -> Iterator[str]:
    """Mixtures of one to four alphabets, now and then with a very long word, or of nothing that can be seen."""
    while True:
        mixed = draw.sample(ALPHABETS, draw.choice([1, 2, 2, 3, 4]))
        words = [draw.choice(draw.choice(mixed)) for _ in range(draw.choice([1, 2, 3, 5, 8, 13, 21]))]
        if draw.random() < 0.02:
            words.insert(draw.randrange(len(words) + 1), draw.choice(draw.choice(ALPHABETS)) * draw.choice([60, 150]))
        yield draw.choice(["", "", " "]).join(words)


class Attacked:
    """A tiny model for one of `made_tokenizers.BUILDERS`, with two explainers: one that cuts, one with windows."""

    def __init__(self, kind: str) -> None:
        made = build(kind)
        names = {made.id_to_token(number) for number in range(5)}
        special = {"unk_token": names & {"[UNK]", "<unk>"}, "pad_token": names & {"[PAD]", "<pad>"}}
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=made,
            model_max_length=48,
            model_input_names=["input_ids", "attention_mask"],
            **{name: min(values) if values else "</s>" for name, values in special.items()},
        )
        torch.manual_seed(len(kind))
        config = BertConfig(
            vocab_size=len(self.tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=48, num_labels=3,
            pad_token_id=self.tokenizer.pad_token_id,
        )  # fmt: skip
        model = train_heads(get_mhex_model(BertForSequenceClassification(config), MhexConfig(gate=True))).eval()
        self.explainers = [
            MhexExplainer(model, self.tokenizer, stride=stride, batch_tokens=4096) for stride in (None, 8)
        ]
        self.bases: dict[tuple[Any, ...], float] = {}

    def has_tokens(self, text: str, pair: str | None) -> bool:
        """Whether there is anything to explain, by the tokenizer alone."""
        if not text.strip() or not (pair is None or pair.strip()):
            return False
        clean = [
            part if part is None else part.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            for part in (text, pair)
        ]
        return any(sequence is not None for sequence in self.tokenizer(*clean).encodings[0].sequence_ids)

    def explain_all(self, texts: list[str], pairs: list[str] | None, options: dict[str, Any], stride: bool) -> int:
        """Explains a batch and checks each; how many there were to explain."""
        explainer = self.explainers[stride]
        kept = []
        for number, text in enumerate(texts):
            pair = None if pairs is None else pairs[number]
            if self.has_tokens(text, pair):
                kept.append((text, pair))
                continue
            with pytest.raises(ValueError) as refused:
                explainer(text, pair)
            assert any(sentence in str(refused.value) for sentence in NO_TEXT), (text, pair, refused.value)
        if not kept:
            return 0
        halves = None if pairs is None else [pair for _, pair in kept]
        explained = explainer([text for text, _ in kept], halves, **options)
        for number, explanation in enumerate(explained):
            try:
                self.check(explanation, options, stride)
                if number % SAMPLED == 0:
                    self.check_alone(explanation, explainer(*kept[number], **options))
            except AssertionError as error:
                raise AssertionError(f"{kept[number]!r} with {options} and stride {stride}: {error}") from error
        return len(kept)

    def check(self, explanation: Explanation, options: dict[str, Any], stride: bool) -> None:
        scores = [token.score for token in explanation.tokens]
        tolerance = 1e-5 * (1 + math.fsum(map(abs, scores)))
        assert all(map(math.isfinite, (*scores, explanation.base_value, explanation.sum)))
        special = math.fsum(token.score for token in explanation.tokens if token.special)
        words = math.fsum(word.score for word in explanation.words())
        assert (
            abs(math.fsum(scores) - explanation.sum) <= tolerance
            and abs(words + special - explanation.sum) <= tolerance
        )
        # base_value + sum is the logit, of which the sum leaves the bias of the class: the same for every text.
        foil = explanation.foil and explanation.foil.id
        base = self.bases.setdefault((explanation.target.id, foil), explanation.base_value)
        assert abs(explanation.base_value - base) <= tolerance, (explanation.base_value, base)
        reached = [0, 0]
        for token in explanation.tokens:
            if token.special:
                continue
            source = explanation.text_pair if token.sequence else explanation.text
            assert 0 <= token.start <= token.end <= len(source) and token.text == source[token.start : token.end]
            assert token.start >= reached[token.sequence], "tokens in order"
            reached[token.sequence] = token.start
            if token.layers is not None:
                assert abs(math.fsum(token.layers) - token.score) <= tolerance
            if token.scores is not None:
                assert abs(token.scores[explanation.target.id] - token.score) <= tolerance

    def check_alone(self, batched: Explanation, alone: Explanation) -> None:
        tolerance = 1e-5 * max(1.0, float(np.abs(batched.scores).max()))
        assert [(t.start, t.end, t.piece) for t in alone.tokens] == [(t.start, t.end, t.piece) for t in batched.tokens]
        assert np.abs(alone.scores - batched.scores).max() <= tolerance
        assert Explanation.from_json(batched.to_json()) == batched


def drawn_options(draw: random.Random) -> dict[str, Any]:
    target = draw.choice([None, 0, 1, 2])
    foil = None if target is None or draw.random() < 0.5 else (target + 1) % 3
    return {
        "target": target,
        "foil": foil,
        "classes": draw.choice(["target", "all"]),
        "layers": draw.random() < 0.3,
    }


@pytest.mark.slow
def test_what_must_hold_of_every_text() -> None:
    started, draw = time.perf_counter(), random.Random(0)
    texts = hostile_texts(draw)
    attacked = {kind: Attacked(kind) for kind in KINDS}
    tried = explained = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # texts that were cut, lone surrogates
        for number in range(math.ceil(rounds(TEXTS) / BATCH)):
            batch = [next(texts) for _ in range(BATCH)]
            pairs = [next(texts) for _ in batch] if draw.random() < 0.25 else None
            kind = KINDS[number % len(KINDS)]
            explained += attacked[kind].explain_all(batch, pairs, drawn_options(draw), stride=draw.random() < 0.5)
            tried += len(batch)
    assert explained > tried / 2
    # The logit by another way: the heads' own, of a forward pass without explainer.
    for one in attacked.values():
        assert_logits(one)
    seconds = round(time.perf_counter() - started, 1)
    record("hostile texts", tried=tried, explained=explained, wrong=0, seconds=seconds)


def assert_logits(attacked: Attacked) -> None:
    """base_value + sum is the heads' mean logit less the foil's, as the model itself gives it."""
    explainer = attacked.explainers[0]
    for text in ("the cat can't be thinner", "caf\u00e9 \u0301\x00 good"):
        explanation = explainer(text, target=1, foil=2)
        with torch.inference_mode():
            output = explainer.model(**attacked.tokenizer(text, return_tensors="pt"), output_attributions=True)
        logits = output.head_logits[0].mean(0)
        expected = (logits[1] - logits[2]).item()
        assert explanation.base_value + explanation.sum == pytest.approx(expected, abs=1e-4)
