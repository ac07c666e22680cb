# SPDX-License-Identifier: Apache-2.0
"""Hostile texts through the explainers of entities and answers: places, sums, batches, JSON forms hold (I2, I3, I5)."""

from __future__ import annotations

import math
import random
import time
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, BertForTokenClassification, PreTrainedTokenizerFast

from helpers.attack import record, rounds
from helpers.made_tokenizers import build
from helpers.placed import LABELS, fitted
from mhex_nlp import Explanation, MhexAnswerExplainer, MhexConfig, MhexEntityExplainer, get_mhex_model
from mhex_nlp.explain.positioned import PositionedExplanation

from .test_hostile_texts import KINDS, NO_TEXT, hostile_texts

TEXTS = 2_000  # all of them
BATCH = 20
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


class Attacked:
    """Tiny models of both tasks for one of `made_tokenizers.BUILDERS`."""

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
        config: dict[str, Any] = {**SIZES, "vocab_size": len(self.tokenizer), "max_position_embeddings": 48}
        config["pad_token_id"] = self.tokenizer.pad_token_id
        plain = BertForTokenClassification(BertConfig(**config, id2label=dict(enumerate(LABELS))))
        torch.nn.init.normal_(plain.classifier.weight)
        entities = fitted(get_mhex_model(plain.eval(), MhexConfig(gate=False)))
        answers = fitted(get_mhex_model(BertForQuestionAnswering(BertConfig(**config)).eval(), MhexConfig(gate=False)))
        self.entities = [MhexEntityExplainer(entities, self.tokenizer, stride=stride) for stride in (None, 8)]
        self.answers = [MhexAnswerExplainer(answers, self.tokenizer, stride=stride) for stride in (None, 8)]

    def explain(self, explainer: Any, texts: tuple[str, ...], options: dict[str, Any]) -> list[Explanation] | None:
        """The explanations of a text, or of a question and its context; None where there is nothing to explain."""
        try:
            result = explainer(*texts, **options)
        except ValueError as error:
            refused = (*NO_TEXT, "lies in no window", "must be less than", "holds no token")
            assert any(sentence in str(error) for sentence in refused), (texts, error)
            return None
        again = type(result).from_json(result.to_json())
        assert again == result
        return list(result) if isinstance(result, PositionedExplanation) else [result]


def check(one: Explanation, model: Any, tokenizer: Any, *, whole: bool) -> None:
    """A place lies where it says, in whole tokens; what its scores add up to is what the model says there."""
    place, scores = one.place, [token.score for token in one.tokens]
    source = one.text if place.sequence == 0 else one.text_pair
    assert place.text == source[place.start : place.end] and place.start < place.end or not place.text
    assert all(one.tokens[index].sequence == place.sequence for index in place.tokens)
    tolerance = 1e-5 * (1 + math.fsum(map(abs, scores)))
    assert all(map(math.isfinite, (*scores, one.base_value))) and abs(math.fsum(scores) - one.sum) <= tolerance
    special = math.fsum(token.score for token in one.tokens if token.special)
    assert abs(one.place_score + one.rest_score + special - one.sum) <= tolerance
    if whole:
        with torch.inference_mode():
            output = model(**tokenizer(one.text, one.text_pair, truncation=True, return_tensors="pt"))
        if place.label == "answer":
            both = torch.stack([output.start_logits[0], output.end_logits[0]], -1)
            both = both - both.mean(0)
            said = both[place.tokens[0], 0] + both[place.tokens[-1], 1]
        else:
            logits = output.logits[0, place.tokens[0]]
            said = logits[one.target.id] - logits.mean()
        assert abs(one.base_value + one.sum - float(said)) <= 1e-4 + tolerance


@pytest.mark.slow
def test_what_must_hold_of_every_place() -> None:
    started, draw = time.perf_counter(), random.Random(1)
    texts, tried, places = hostile_texts(draw), 0, 0
    attacked = {kind: Attacked(kind) for kind in KINDS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # texts that were cut, lone surrogates, no mask token
        for number in range(math.ceil(rounds(TEXTS) / BATCH)):
            one, stride = attacked[KINDS[number % len(KINDS)]], draw.random() < 0.5
            batch, of_entities = [next(texts) for _ in range(BATCH)], draw.random() < 0.6
            explainer: Any = (one.entities if of_entities else one.answers)[stride]
            options: dict[str, Any] = {"at": "all"} if of_entities else {"parts": draw.choice(["both", "start", "end"])}
            # one pass: the made fit says "mask", which not all of these tokenizers have
            options |= {"classes": draw.choice(["target", "all"]), "budget": 0}
            rows = [(text,) if of_entities else (text, next(texts)) for text in batch]
            explained = [(row, found) for row in rows if (found := one.explain(explainer, row, options)) is not None]
            tried += len(rows)
            for _, found in explained:
                places += len(found)
                for sampled in found[:2]:
                    whole = sampled.windows == 1 and sampled.target.label not in ("start", "end")
                    check(sampled, explainer.model, one.tokenizer, whole=whole)
            if explained:
                columns = list(zip(*(row for row, _ in explained), strict=True))
                together = explainer(*map(list, columns), **options)
                for (_, alone), batched in zip(explained, together, strict=True):
                    for left, right in zip(alone, [batched] if not of_entities else batched, strict=True):
                        tolerance = 1e-5 * (1 + float(np.abs(left.scores).max()))
                        assert left.place == right.place and np.abs(left.scores - right.scores).max() <= tolerance
    assert places > tried / 2
    seconds = round(time.perf_counter() - started, 1)
    record("hostile texts, entities and answers", tried=tried, places=places, wrong=0, seconds=seconds)
