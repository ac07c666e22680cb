# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig

from mhex_nlp import MhexConfig, deep_supervision_loss
from mhex_nlp.models.tasks.sequence_classification import check_labels

torch.manual_seed(0)
HEADS = torch.randn(4, 2, 3)  # (B, L, C)


def config(task: str | None, num_labels: int = 3) -> BertConfig:
    return BertConfig(num_labels=num_labels, problem_type=task)


def test_single_label_is_the_mean_over_heads():
    labels = torch.tensor([0, 1, 2, -100])
    expected = sum(F.cross_entropy(HEADS[:, depth], labels) for depth in range(2)) / 2
    torch.testing.assert_close(deep_supervision_loss(HEADS, labels, config(None)), expected)


def test_all_ignored_is_zero_not_nan():
    assert deep_supervision_loss(HEADS, torch.full((4,), -100), config(None)) == 0


def test_multi_label_leaves_ignored_entries_out():
    labels = torch.tensor([[1.0, 0, 1], [0, 0, -100], [1, 1, 1], [0, 1, 0]])
    kept = labels != -100
    expected = sum(F.binary_cross_entropy_with_logits(HEADS[:, depth][kept], labels[kept]) for depth in range(2)) / 2
    torch.testing.assert_close(deep_supervision_loss(HEADS, labels, config("multi_label_classification")), expected)


def test_regression_is_the_mean_square():
    heads, labels = HEADS[..., :1], torch.tensor([0.5, -100.0, 2, 3])  # -100 is a value like others
    expected = sum(F.mse_loss(heads[:, depth, 0], labels) for depth in range(2)) / 2
    torch.testing.assert_close(deep_supervision_loss(heads, labels, config(None, 1)), expected)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (None, [0, 1, 2, 0], "labels must be a torch.Tensor, got list"),
        (None, torch.tensor([0, 1, 3, 0]), "class ids from 0 to 2 .*got 3"),
        (None, torch.tensor([0, 1, -1, 0]), "class ids from 0 to 2 .*got -1"),
        (None, torch.tensor([0, 1]), r"labels must be \(4,\)"),
        ("single_label_classification", torch.rand(4), "integer class ids .*got float32"),
        ("multi_label_classification", torch.zeros(4, 3, dtype=torch.long), "floats for multi-label .*got int64"),
        ("multi_label_classification", torch.zeros(4, 2), r"labels must be \(4, 3\), got \(4, 2\)"),
        ("multi_label_classification", torch.full((4, 3), 2.0), r"\[0, 1\] .*got 2.0"),
        ("multi_label_classification", torch.full((4, 3), float("nan")), r"\[0, 1\] .*got nan"),
        ("regression", torch.zeros(4, 3, dtype=torch.bool), "must be numbers, got bool"),
        ("regression", torch.full((4, 3), float("nan")), "finite for regression"),
        ("regression", torch.zeros(4), r"labels must be \(4, 3\)"),
    ],
)
def test_bad_labels_get_one_sentence(task, labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check_labels(labels, config(task), 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gate": 1}, "gate must be True or False, got 1"),
        ({"loss_weight": -0.1}, "at least 0, got -0.1"),
        ({"loss_weight": "0.3"}, "must be a number, got '0.3'"),
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ({"aggregation": "max"}, "must be one of .*got 'max'"),
    ],
)
def test_config_is_checked(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        MhexConfig(**fields)


def test_config_round_trip():
    settings = MhexConfig(gate=False, beta=0.25)
    assert MhexConfig.of(settings.to_dict()) == settings == MhexConfig.of(settings)
    with pytest.raises(ValueError, match=r"unknown fields \['rank'\]"):
        MhexConfig.of({"rank": 8})
    with pytest.raises(TypeError, match="must be a MhexConfig or a dict"):
        MhexConfig.of("gate")
