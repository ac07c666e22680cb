# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mhex_nlp.inputs.batching import token_batches, usual_batch_tokens
from mhex_nlp.models.heads.attribution import aggregate, depth_weights, layer_attributions

torch.manual_seed(0)
EVIDENCE = torch.randn(2, 5, 4, 3)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()


def test_layer_attributions_are_the_mean_split_over_tokens():
    actual = layer_attributions(EVIDENCE, MASK)
    torch.testing.assert_close(actual[0], EVIDENCE[0] / 5)
    torch.testing.assert_close(actual[1, :2], EVIDENCE[1, :2] / 2)
    assert not actual[1, 2:].any()
    torch.testing.assert_close(layer_attributions(EVIDENCE, None), EVIDENCE / 5)


@given(st.integers(1, 40), st.floats(0, 0.99))
def test_weights_sum_to_one(depths, beta):
    for name in ("mean", "last", "ema"):
        weights = depth_weights(name, depths, beta)
        assert weights.shape == (depths,) and (weights >= 0).all()
        assert weights.sum().item() == pytest.approx(1)


def test_ema_is_its_recursion():
    maps, beta = EVIDENCE[0], 0.7
    smoothed = maps[:, 0]
    for depth in range(1, 4):
        smoothed = beta * smoothed + (1 - beta) * maps[:, depth]
    torch.testing.assert_close(aggregate(maps, depth_weights("ema", 4, beta)), smoothed)


def test_mean_and_last():
    torch.testing.assert_close(aggregate(EVIDENCE, depth_weights("mean", 4)), EVIDENCE.mean(2))
    torch.testing.assert_close(aggregate(EVIDENCE, depth_weights("last", 4)), EVIDENCE[:, :, -1])


def test_errors():
    with pytest.raises(ValueError, match="aggregation must be 'mean', 'last' or 'ema', got 'max'"):
        depth_weights("max", 3)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 600), st.booleans())
def test_token_batches(lengths, budget, equal):
    batches = token_batches(lengths, budget, equal_lengths=equal)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
        assert not equal or len({lengths[index] for index in batch}) == 1
    order = [lengths[index] for batch in batches for index in batch]
    assert order == sorted(order, reverse=True)


def test_a_cpu_is_given_smaller_batches():
    assert usual_batch_tokens(torch.device("cpu")) < usual_batch_tokens(torch.device("cuda"))


@pytest.mark.parametrize("budget", [0, -1, True, 1.5])
def test_token_budget_is_checked(budget):
    with pytest.raises(ValueError, match="batch_tokens must be a positive integer"):
        token_batches([1], budget)
