# SPDX-License-Identifier: Apache-2.0
"""Ridge regression from a stream of rows: normal equations gathered in float64, a path of strengths by Cholesky."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch
from torch import Tensor

BLOCK = 512  # rows gathered before they are multiplied, columns factorised in one go


class RidgeStream:
    """Gathers X'X (F, F) and X'Y (F, C) in float64 and never holds the rows: 8 F² bytes, and no more while solving.

    Args:
        parts: sizes of the groups of features, adding up to F; each is penalised by its own scale. Features of a model
            differ in scale by orders of magnitude, and a common penalty would shut out the small ones.
        targets: C.

    Raises:
        MemoryError: X'X would not fit into half of the free memory.
    """

    def __init__(self, parts: Sequence[int], targets: int) -> None:
        features, self.parts = sum(parts), tuple(parts)
        need, free = 8 * features**2, psutil.virtual_memory().available
        if need > free / 2:
            raise MemoryError(
                f"fitting {features:,} features needs {need / 1e9:.1f} GB, more than half of the {free / 1e9:.1f} GB "
                "that are free; lower max_features."
            )
        # X'X on and below its blocks on the diagonal; above them is room for a factor
        self.gram = torch.zeros(features, features, dtype=torch.float64)
        self.moment = torch.zeros(features, targets, dtype=torch.float64)
        self._rows: list[tuple[Tensor, Tensor]] = []
        self._waiting = 0
        self.rows = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Rows (R, F) and their targets (R, C)."""
        self._rows.append((x, y))
        self._waiting += len(x)
        if self._waiting >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            x = torch.cat([rows for rows, _ in self._rows]).double()
            y = torch.cat([targets for _, targets in self._rows]).double()
            for start in range(0, x.shape[1], BLOCK):  # below the diagonal, block by block
                columns = x[:, start : start + BLOCK]
                self.gram[start:, start : start + BLOCK].addmm_(x[:, start:].T, columns)
            self.moment.addmm_(x.T, y)
            self.rows += len(x)
            self._rows, self._waiting = [], 0

    def solve(self, strength: float) -> Tensor:
        """(F, C) float64: the minimum of |Y - XW|² + strength · sum over groups g of d_g |W_g|².

        d_g is the mean diagonal of X'X over the group; a group of one feature, the constant, is not penalised.

        The factor R of X'X + penalty = R'R is written above the blocks on the diagonal of X'X itself, so that a path of
        strengths needs no second matrix: X'X, symmetric, is whole on and below them.
        """
        self._flush()
        size = len(self.gram)
        penalty = torch.cat([self._penalty(part) for part in self.gram.diagonal().split(self.parts)]) * strength + 1e-12
        solution = self.moment.clone()
        factors: list[Tensor] = []  # R's blocks on the diagonal, (b, b) each
        starts = range(0, size, BLOCK)
        for start in starts:  # R'R = X'X + penalty, from the top; R'y = X'Y along with it
            block_rows, rest = slice(start, start + BLOCK), slice(start + BLOCK, size)
            above = self.gram[:start, block_rows]  # R's rows that are there, (start, b)
            block = self.gram[block_rows, block_rows] - above.T @ above
            block.diagonal().add_(penalty[block_rows])
            factors.append(torch.linalg.cholesky(block, upper=True))
            panel = self.gram[rest, block_rows].T - above.T @ self.gram[:start, rest]
            self.gram[block_rows, rest] = torch.linalg.solve_triangular(factors[-1].T, panel, upper=False)
            known = solution[block_rows] - above.T @ solution[:start]
            solution[block_rows] = torch.linalg.solve_triangular(factors[-1].T, known, upper=False)
        for start, factor in zip(reversed(starts), reversed(factors), strict=True):  # R w = y, from the bottom
            block_rows, rest = slice(start, start + BLOCK), slice(start + BLOCK, size)
            known = solution[block_rows] - self.gram[block_rows, rest] @ solution[rest]
            solution[block_rows] = torch.linalg.solve_triangular(factor, known, upper=True)
        return solution

    @staticmethod
    def _penalty(diagonal: Tensor) -> Tensor:
        """(f,) what each of a group's features is penalised with, at strength 1."""
        return diagonal.mean().expand(len(diagonal)) if len(diagonal) > 1 else torch.zeros_like(diagonal)
