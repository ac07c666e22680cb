# SPDX-License-Identifier: Apache-2.0
"""The study's figures on games whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from studies.context.data import Table
from studies.context.measuring import measure, shapley
from studies.context.methods import METHODS, VARIANTS, lasso, leave_one_out


def additive(weights) -> Table:
    """A game in which each unit is worth its weight."""
    units = len(weights)
    kept = np.arange(2**units)[:, None] >> np.arange(units) & 1
    return Table(kept @ np.asarray(weights, dtype=float) - 20, np.ones(units))


def test_an_additive_game_is_found_by_all():
    table = additive([8.0, 4.0, 2.0, 1.0, 0.0, -1.0])
    np.testing.assert_allclose(shapley(table), [8, 4, 2, 1, 0, -1])
    figures = measure(table, METHODS, seeds=2)
    for name in ("ours", "LASSO", "leave one out"):
        assert figures[f"{name}|16"]["lds"] > 0.98
    assert figures["ours|16"]["top1"] == 8 and figures["ours|16"]["top3"] == 14
    assert "lds" not in figures["ours|64"]  # all subsets were asked about: none is left to judge by
    assert figures["ours|64"]["shapley"] == pytest.approx(1) and figures["ours|64"]["covered"] == 1
    assert set(measure(table, VARIANTS, seeds=1)) >= {"ours|0", "no attention|8", "random subsets|32"}


def test_as_many_passes():
    table = additive(np.arange(8.0))
    assert len(lasso(table, 8, 0).asked) == 9 and len(leave_one_out(table, 3, 0).asked) == 3
    assert (leave_one_out(table, 3, 0).scores != 0).sum() <= 3
