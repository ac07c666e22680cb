# SPDX-License-Identifier: Apache-2.0
"""A'A from parts of the rows of A, and what solves it with a diagonal added, in the room of one matrix."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 512  # columns factorised in one go
PRECISE = 4096  # larger matrices are of float32


class Products:
    """A'A (n, n), of which no more is held than on and below its blocks on the diagonal; factors go above them.

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

        The factor R of R'R = A'A + diagonal is written above the blocks on the diagonal, so that many diagonals need no
        second matrix: A'A, symmetric, is whole on and below them.

        Raises:
            torch.linalg.LinAlgError: A'A + diagonal is not positive definite in this dtype.
        """
        square, size = self.square, len(self.square)
        diagonal, solution = diagonal.to(square.dtype), right.to(square.dtype, copy=True)
        factors: list[Tensor] = []  # R's blocks on the diagonal, (b, b) each
        starts = range(0, size, BLOCK)
        for start in starts:  # from the top; R'y = right along with it
            block_rows, rest = slice(start, start + BLOCK), slice(start + BLOCK, size)
            above = square[:start, block_rows]  # R's rows that are there, (start, b)
            block = square[block_rows, block_rows] - above.T @ above
            block.diagonal().add_(diagonal[block_rows])
            factors.append(torch.linalg.cholesky(block, upper=True))
            panel = square[rest, block_rows].T - above.T @ square[:start, rest]
            square[block_rows, rest] = torch.linalg.solve_triangular(factors[-1].T, panel, upper=False)
            known = solution[block_rows] - above.T @ solution[:start]
            solution[block_rows] = torch.linalg.solve_triangular(factors[-1].T, known, upper=False)
        for start, factor in zip(reversed(starts), reversed(factors), strict=True):  # R z = y, from the bottom
            block_rows, rest = slice(start, start + BLOCK), slice(start + BLOCK, size)
            known = solution[block_rows] - square[block_rows, rest] @ solution[rest]
            solution[block_rows] = torch.linalg.solve_triangular(factor, known, upper=True)
        return solution.double()
