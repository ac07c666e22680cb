# SPDX-License-Identifier: Apache-2.0
"""Ridge regression from a stream of rows: the textbook solution, whatever is kept, in whatever memory."""

from __future__ import annotations

import pytest
import torch

from mhex_nlp.training.fitting.ridge import RidgeStream


def textbook(x, y, parts, strength):
    """The ridge solution by its normal equations in float64; groups of one feature go free."""
    x, y = x.double(), y.double()
    gram = x.T @ x
    scales = [part.mean().expand(len(part)) * (len(part) > 1) for part in gram.diagonal().split(parts)]
    return torch.linalg.solve(gram + strength * torch.cat(scales).diag(), x.T @ y)


@pytest.mark.parametrize(("block", "room"), [(4, 0), (4, 1e9), (512, 1e9)])
@pytest.mark.parametrize("rows", [3, 20, 30, 41, 100])
@pytest.mark.parametrize("parts", [(41,), (1, 10, 30), (1, 1, 19, 20)])
def test_ridge_is_the_textbook_solution(block, room, rows, parts, monkeypatch):
    monkeypatch.setattr("mhex_nlp.training.fitting.ridge.ROOM", room)
    monkeypatch.setattr("mhex_nlp.training.fitting.ridge.BLOCK", block)
    monkeypatch.setattr("mhex_nlp.training.fitting.ridge.WAITING", 41 * block)
    monkeypatch.setattr("mhex_nlp.training.fitting.products.BLOCK", block)
    monkeypatch.setattr("mhex_nlp.training.fitting.products.PANEL", 2 * block)
    torch.manual_seed(0)
    x, y = 2 + torch.randn(rows, 41) * torch.logspace(0, 2, 41), torch.randn(rows, 3)
    for most_rows in (None, rows, rows + 1):  # X'X, X X' where there are fewer rows than features, one after the other
        stream = RidgeStream(parts, 3, most_rows)
        for part in zip(x.split(7), y.split(7), strict=True):
            stream.add(*part)
        for strength in (0.3, 1e-3, 0.3):  # a second matrix would be needed if solving spoilt the first
            solution, expected = stream.solve(strength), textbook(x, y, parts, strength)
            assert (solution - expected).norm() < 1e-6 * expected.norm()
        assert stream.rows == rows and stream.dual is (rows < 41 and (most_rows is not None or room > 0))


def test_rows_may_follow_a_solution():
    torch.manual_seed(0)
    x, y = torch.randn(30, 41), torch.randn(30, 2)
    stream = RidgeStream((41,), 2)
    for part in (slice(0, 20), slice(20, 30)):
        stream.add(x[part], y[part])
        torch.testing.assert_close(stream.solve(0.1), textbook(x[: part.stop], y[: part.stop], (41,), 0.1))


def test_features_and_constants_that_are_never_there_get_no_weight():
    torch.manual_seed(0)
    x, y = torch.randn(20, 30), torch.randn(20, 2)
    x[:, :1] = x[:, 10:20] = 0
    for most_rows in (100, 20):
        stream = RidgeStream((1, 9, 10, 10), 2, most_rows)
        stream.add(x, y)
        solution = stream.solve(0.1)
        assert solution.isfinite().all() and not solution[:1].any() and not solution[10:20].any()


def test_much_is_held_in_float32(monkeypatch):
    """Of strengths that fits choose, weights are then good to a thousandth."""
    torch.manual_seed(0)
    mixed = torch.randn(40, 200) * torch.logspace(0, -4, 40)[:, None]  # as correlated as states of a model
    x, y = 3 + torch.randn(900, 40) @ mixed, torch.randn(900, 2)
    expected = textbook(x, y, (1, 99, 100), 0.01)
    for most_rows in (900, 150):  # by X'X, and by X X'
        if most_rows == 150:
            x, y = x[:150], y[:150]
            expected = textbook(x, y, (1, 99, 100), 0.01)
        for precise, error in ((4096, 1e-9), (100, 1e-3)):
            monkeypatch.setattr("mhex_nlp.training.fitting.products.PRECISE", precise)
            stream = RidgeStream((1, 99, 100), 2, most_rows)
            stream.add(x, y)
            solution = stream.solve(0.01)
            assert stream.products.square.dtype == (torch.float64 if precise == 4096 else torch.float32)
            assert 1e-16 < (solution - expected).norm() / expected.norm() < error


def test_rows_are_kept_while_they_take_no_more_room(monkeypatch):
    for room, rows, kept in ((0, 770, True), (0, 790, False), (20e6, 990, True), (20e6, 1000, False)):
        monkeypatch.setattr("mhex_nlp.training.fitting.ridge.ROOM", room)
        assert RidgeStream((1000,), 1, rows).dual is kept


def test_ridge_knows_no_units():
    """Features measured in other units give other weights and the same predictions."""
    torch.manual_seed(0)
    x, y = torch.randn(6, 7), torch.randn(6, 1)
    units = torch.tensor([1.0, 1, 1, 1, 1000, 1000, 1000])
    solutions = []
    for scale in (torch.ones(7), units):
        for most_rows in (100, 6):
            stream = RidgeStream((1, 3, 3), 1, most_rows)
            stream.add(x * scale, y)
            solutions.append((x * scale).double() @ stream.solve(0.1))
    for solution in solutions[1:]:
        torch.testing.assert_close(solution, solutions[0])


def test_ridge_says_what_does_not_fit_in_memory():
    with pytest.raises(MemoryError, match=r"fitting 10,000,000 features needs 400000.0 GB, more than half"):
        RidgeStream((10_000_000,), 2)
