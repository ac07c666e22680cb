# SPDX-License-Identifier: Apache-2.0
"""Scores of cells from fitted matrices of many labels: few rows are read, and the sums are those of all."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from mhex_nlp.models.heads import readout as readouts
from mhex_nlp.models.heads.readout import FeatureLayout, FittedReadout
from mhex_nlp.models.image_fit import cell_scores
from mhex_nlp.models.image_states import ImageGrid, SpatialStates

LABELS, WIDTHS, CELLS = 100, (6, 10), 4


def filled(seed: int) -> torch.Tensor:
    return torch.randn(1 + sum(WIDTHS), LABELS, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def readout():
    made = FittedReadout(FeatureLayout((0, 1), WIDTHS, (0, 0)), LABELS)
    made.fill(filled(0))
    return made


@pytest.fixture
def states():
    torch.manual_seed(1)
    logits = torch.randn(2, LABELS)
    return SpatialStates(logits, tuple(torch.randn(2, CELLS, width) for width in WIDTHS), (), ImageGrid(2, 2))


def expected(weights: torch.Tensor, states: SpatialStates, contrasts: torch.Tensor) -> torch.Tensor:
    """By the formula, all labels weighed one by one in float64."""
    ones = torch.ones(2, CELLS, 1)
    parts = zip(weights.double().split([1, *WIDTHS]), (ones, *states.states), strict=True)
    constant, *by_depth = (features.double() @ part @ contrasts.double().transpose(1, 2) for part, features in parts)
    by_depth[0] = by_depth[0] + constant
    return torch.stack(by_depth, 2).permute(0, 3, 2, 1).float()


def one_hot(label: int) -> torch.Tensor:
    return torch.eye(LABELS)[label]


CONTRASTS = {
    "raw": one_hot(3).expand(2, 1, -1),
    "centred, another label for each image": torch.stack([one_hot(3), one_hot(70)])[:, None] - 1 / LABELS,
    "foil": (one_hot(3) - one_hot(5)).expand(2, 1, -1),
    "all labels, centred": (torch.eye(LABELS) - 1 / LABELS).expand(2, -1, -1),
}


@pytest.mark.parametrize("kind", CONTRASTS)
def test_scores_are_the_weighted_rows_of_all_labels(kind, readout, states):
    scores = cell_scores(readout, states, CONTRASTS[kind])
    torch.testing.assert_close(scores, expected(filled(0), states, CONTRASTS[kind]), rtol=1e-4, atol=1e-5)


def test_other_matrices_have_other_sums(readout, states):
    contrasts = CONTRASTS["centred, another label for each image"]
    cell_scores(readout, states, contrasts)
    readout.fill(filled(2))
    torch.testing.assert_close(
        cell_scores(readout, states, contrasts), expected(filled(2), states, contrasts), rtol=1e-4, atol=1e-5
    )
    moved = readout.to(torch.bfloat16)
    rounded = filled(2).to(torch.bfloat16).float()
    torch.testing.assert_close(
        cell_scores(moved, states, contrasts), expected(rounded, states, contrasts), rtol=1e-3, atol=1e-3
    )


def test_sums_are_those_of_matrices_whose_changes_torch_does_not_count(readout, states, monkeypatch):
    """Matrices made in inference mode, and writes to `.data`."""
    contrasts = CONTRASTS["centred, another label for each image"]
    with torch.inference_mode():
        inferred = FittedReadout(FeatureLayout((0, 1), WIDTHS, (0, 0)), LABELS)
        for seed in (0, 2):
            inferred.fill(filled(seed))
            scores, right = cell_scores(inferred, states, contrasts), expected(filled(seed), states, contrasts)
            torch.testing.assert_close(scores, right, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(readouts, "_PATIENCE", 0)
    cell_scores(readout, states, contrasts)
    for name, matrix in inferred.named_buffers():
        getattr(readout, name).data.copy_(matrix)
    torch.testing.assert_close(cell_scores(readout, states, contrasts), right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_hold_the_matrices_alone(copied, readout, states):
    """Nothing that was made of them: a readout that an earlier version pickled has it neither."""
    contrasts, before = CONTRASTS["centred, another label for each image"], set(vars(readout))
    expected = cell_scores(readout, states, contrasts)
    other = copied(readout)
    assert set(vars(readout)) == set(vars(other)) == before and not any("sum" in name for name in before)
    torch.testing.assert_close(cell_scores(other, states, contrasts), expected)
