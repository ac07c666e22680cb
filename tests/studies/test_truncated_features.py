# SPDX-License-Identifier: Apache-2.0
"""The study of truncated features: which directions are kept, and that turning alone changes nothing."""

from __future__ import annotations

import pytest
import torch

from mhex_nlp.explain.skill import Rows
from studies.truncated_features import leading_directions, solve, turned

PARTS = [1, 4, 3]


def text_rows(generator):
    """Nine rows of a text: four random subsets, their complements, the whole."""
    kept = torch.rand(4, 6, generator=generator) < 0.5
    subsets = torch.cat([kept, ~kept, torch.ones(1, 6, dtype=torch.bool)]).float()
    features = torch.cat([torch.ones(6, 1), torch.randn(6, 7, generator=generator)], dim=1)
    answers = features @ torch.linspace(-1, 1, 16).view(8, 2) + torch.randn(6, 2, generator=generator)
    return Rows(subsets @ features, (subsets @ answers).double(), subsets.sum(1), 0)


def test_as_many_directions_are_kept_as_hold_the_share():
    rows = torch.diag(torch.tensor([1.0, 3.0, 1.0, 0.0, 2.0, 2.0, 1.0, 1.0]))
    # squares: 1 | 9, 1, 0, 4 | 4, 1, 1
    for share, counts in ((0.6, [1, 1, 1]), (0.7, [1, 2, 2]), (0.95, [1, 3, 3])):
        axes = leading_directions(rows, PARTS, share)
        assert [part.shape[1] for part in axes] == counts
    assert torch.allclose(axes[1][:, 0].abs(), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    whole = turned(rows, PARTS, leading_directions(rows, PARTS, 1.0))
    assert torch.equal(whole, rows)


def test_turning_without_leaving_out_changes_no_skill():
    """A group of features is penalised alike in all directions."""
    generator = torch.Generator().manual_seed(0)
    learn, choose, judge = ([text_rows(generator) for _ in range(count)] for count in (30, 8, 8))
    axes = leading_directions(torch.cat([rows.equations()[0] for rows in learn]), PARTS, 1 - 1e-9)
    assert [part.shape[1] for part in axes] == PARTS
    turned_rows = [
        [Rows(turned(rows.sums, PARTS, axes), rows.values, rows.sizes, rows.target) for rows in part]
        for part in (learn, choose, judge)
    ]
    plain, after = solve(learn, choose, judge, PARTS), solve(*turned_rows, PARTS)
    assert 0 < plain["skill"] < 1
    assert after["skill"] == pytest.approx(plain["skill"], abs=1e-5) and after["strength"] == plain["strength"]
