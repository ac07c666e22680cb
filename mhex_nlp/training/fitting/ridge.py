# SPDX-License-Identifier: Apache-2.0
"""Ridge regression from a stream of rows, solved for many strengths: few rows are kept, of many only X'X."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch
from torch import Tensor

from .products import Products

ROOM = 1.6e9  # bytes that rows and X X' may take; more where X'X would
BLOCK = 512  # rows, or columns, that are multiplied in one go
WAITING = 2**21  # numbers in rows that wait for that: 8 MB, so of many features fewer rows


class RidgeStream:
    """Gathers rows X (R, F) and targets Y (R, C); `solve` gives the weights of any strength.

    Rows fewer than features are kept, and X X' (R, R) is factorised for each strength; of more rows X'X (F, F) alone is
    held, and no more while solving.

    Args:
        parts: sizes of the groups of features, adding up to F; each is penalised by its own scale. Features of a model
            differ in scale by orders of magnitude, and a common penalty would shut out the small ones.
        targets: C.
        most_rows: R or more, where that is known; otherwise rows are kept until they are too many.

    Raises:
        MemoryError: what is held would not fit into half of the free memory.
    """

    def __init__(self, parts: Sequence[int], targets: int, most_rows: int | None = None) -> None:
        features, self.parts = sum(parts), tuple(parts)
        need, free = Products.memory(features), psutil.virtual_memory().available
        kept = 0  # rows, at the most
        if most_rows is None:  # at last X'X stands beside them
            kept = min(max(int(ROOM - need) // (4 * features), 0), features - 1)
            need += 4 * kept * features
        elif most_rows < features:
            by_rows = 4 * most_rows * features + Products.memory(most_rows)
            if by_rows <= max(need, ROOM):
                kept, need = most_rows, by_rows
        self.most_kept, self.dual = kept, kept > 0
        if need > free / 2:
            raise MemoryError(
                f"fitting {features:,} features needs {need / 1e9:.1f} GB, more than half of the {free / 1e9:.1f} GB "
                "that are free; lower max_features."
            )
        self.squares = torch.zeros(features, dtype=torch.float64)  # X'X's diagonal
        self.moment = torch.zeros(features, targets, dtype=torch.float64)
        self.products = None if self.dual else Products(features)
        self._x: list[Tensor] = []  # rows that are kept, or wait for being multiplied
        self._y: list[Tensor] = []
        self._waiting = 0
        self.rows = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Rows (R, F) float32 and their targets (R, C)."""
        precise, y = x.double(), y.double()
        self.squares += precise.square().sum(0)
        self.moment.addmm_(precise.T, y)
        self.rows += len(x)
        self._x.append(x)
        self._y.append(y)
        self._waiting += len(x)
        if self.dual:
            self.products = None  # of fewer rows
            if self.rows > self.most_kept:
                self.dual, self.products = False, Products(len(self.squares))
        if not self.dual and self._waiting >= self._block:
            self._flush()

    @property
    def _block(self) -> int:
        """Rows that are multiplied in one go."""
        return max(1, min(BLOCK, WAITING // len(self.squares)))

    def _flush(self) -> None:
        """Multiplies the rows that wait, if any."""
        assert self.products is not None
        while self._x:
            taken, rows = 0, 0
            while taken < len(self._x) and rows < self._block:
                rows, taken = rows + len(self._x[taken]), taken + 1
            self.products.add(torch.cat(self._x[:taken]))
            del self._x[:taken]
        self._y, self._waiting = [], 0

    def solve(self, strength: float) -> Tensor:
        """(F, C) float64: the minimum of |Y - XW|² + strength · sum over groups g of d_g |W_g|².

        d_g is the mean diagonal of X'X over the group; a group of one feature, the constant, is not penalised.

        Raises:
            torch.linalg.LinAlgError: a strength so small that it is lost in rounding.
        """
        penalty = torch.cat([self._penalty(part) for part in self.squares.split(self.parts)])  # (F,)
        if self.dual:
            return self._solve_kept(strength, penalty)
        self._flush()
        assert self.products is not None
        return self.products.solve(penalty * strength + 1e-12, self.moment)

    def _solve_kept(self, strength: float, penalty: Tensor) -> Tensor:
        """By rows: with D = diag(penalty) and constants Z, W = D⁻¹X'a where (XD⁻¹X' + strength) a = Y - Zb, Z'a = 0."""
        inverse = torch.where(penalty > 0, 1 / penalty, 0.0)
        if self.products is None:
            self.products, scale = Products(self.rows), inverse.sqrt()
            for columns in torch.arange(len(inverse)).split(BLOCK):
                chosen = slice(int(columns[0]), int(columns[-1]) + 1)
                scaled = torch.cat([x[:, chosen] for x in self._x]) * scale[chosen]
                self.products.add(scaled.T)
        free = torch.tensor([size == 1 for size in self.parts]).repeat_interleave(torch.tensor(self.parts))
        constants = torch.cat([x[:, free] for x in self._x]).double()  # Z
        right = torch.cat([constants, torch.cat(self._y)], dim=1)
        solved = self.products.solve(torch.full((self.rows,), strength, dtype=torch.float64), right)
        of_constants, of_targets = solved.split([constants.shape[1], right.shape[1] - constants.shape[1]], dim=1)
        weights_free = torch.linalg.pinv(constants.T @ of_constants, hermitian=True) @ (constants.T @ of_targets)
        residual = of_targets - of_constants @ weights_free  # a
        weights = torch.zeros_like(self.moment)
        for x, part in zip(self._x, residual.split([len(x) for x in self._x]), strict=True):
            weights.addmm_(x.double().T, part)
        weights *= inverse[:, None]
        weights[free] = weights_free
        return weights

    @staticmethod
    def _penalty(diagonal: Tensor) -> Tensor:
        """(f,) what each of a group's features is penalised with, at strength 1."""
        return diagonal.mean().expand(len(diagonal)) if len(diagonal) > 1 else torch.zeros_like(diagonal)
