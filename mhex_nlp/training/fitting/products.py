# SPDX-License-Identifier: Apache-2.0
"""A'A from parts of the rows of A, and what solves it with a diagonal added, in the room of one matrix."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 512  # columns factorised in one go
PANEL = 2048  # columns beside them that are looked at in one go: all at once would take memory of their own
PRECISE = 4096  # larger matrices are of float32


class Products:
    """A'A (n, n), of which no more is held than its diagonal and what is below; factors go above.

    Larger ones are held in float32: half the memory and half the time, and penalties of the strengths that fits choose
    are above the rounding.
    """

    def __init__(self, size: int) -> None:
        self.square = torch.zeros(size, size, dtype=self.dtype(size))

    @staticmethod
    def dtype(size: int) -> torch.dtype:
        """Of a matrix of that size."""
        return torch.float64 if size <= PRECISE else torch.float32

    @classmethod
    def memory(cls, size: int) -> int:
        """The bytes that it takes."""
        return cls.dtype(size).itemsize * size**2

    def add(self, rows: Tensor) -> None:
        """Further rows (m, n) of A."""
        rows = rows.to(self.square.dtype)
        for start in range(0, rows.shape[1], BLOCK):
            columns = rows[:, start : start + BLOCK]
            self.square[start:, start : start + BLOCK].addmm_(rows[:, start:].T, columns)

    def solve(self, diagonal: Tensor, right: Tensor) -> Tensor:
        """(n, k) float64: z of (A'A + diagonal) z = right, for the diagonal (n,) and (n, k).

        The factor R of R'R = A'A + diagonal is written above the diagonal, and its own diagonal apart, so that many
        diagonals need no second matrix: A'A, symmetric, is whole on and below it.

        Raises:
            torch.linalg.LinAlgError: A'A + diagonal is not positive definite in this dtype.
        """
        square, size = self.square, len(self.square)
        diagonal, solution = diagonal.to(square.dtype), right.to(square.dtype, copy=True)
        roots = torch.empty_like(diagonal)  # R's diagonal
        starts = range(0, size, BLOCK)
        for start in starts:  # from the top; R'y = right along with it
            rows, rest = slice(start, min(start + BLOCK, size)), range(start + BLOCK, size, PANEL)
            above = square[:start, rows]  # R's rows that are there, (start, b)
            lower = square[rows, rows].tril()
            block = lower + lower.tril(-1).T - above.T @ above
            block.diagonal().add_(diagonal[rows])
            factor = torch.linalg.cholesky(block, upper=True)
            roots[rows] = factor.diagonal()
            square[rows, rows] = lower + factor.triu(1)
            for columns in (slice(first, min(first + PANEL, size)) for first in rest):
                panel = torch.addmm(square[columns, rows].T, above.T, square[:start, columns], alpha=-1)
                square[rows, columns] = torch.linalg.solve_triangular(factor.T, panel, upper=False)
            known = solution[rows] - above.T @ solution[:start]
            solution[rows] = torch.linalg.solve_triangular(factor.T, known, upper=False)
        for start in reversed(starts):  # R z = y, from the bottom
            rows, later = slice(start, min(start + BLOCK, size)), slice(start + BLOCK, size)
            factor = square[rows, rows].triu(1) + roots[rows].diag()
            known = solution[rows] - square[rows, later] @ solution[later]
            solution[rows] = torch.linalg.solve_triangular(factor, known, upper=True)
        return solution.double()
