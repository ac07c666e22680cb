# SPDX-License-Identifier: Apache-2.0
"""Ridge regression from a stream of rows: normal equations gathered in float64, a path of strengths by Cholesky."""

from __future__ import annotations

import psutil
import torch
from torch import Tensor

BLOCK = 512  # rows gathered before they are multiplied


class RidgeStream:
    """Gathers X'X (F, F) and X'Y (F, C) in float64 and never holds the rows: 8 F² bytes, once more while solving.

    Raises:
        MemoryError: X'X twice would not fit into half of the free memory.
    """

    def __init__(self, features: int, targets: int) -> None:
        need, free = 2 * 8 * features**2, psutil.virtual_memory().available
        if need > free / 2:
            raise MemoryError(
                f"fitting {features:,} features needs {need / 1e9:.1f} GB, more than half of the {free / 1e9:.1f} GB "
                "that are free; lower max_features."
            )
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
            self.gram.addmm_(x.T, x)
            self.moment.addmm_(x.T, y)
            self.rows += len(x)
            self._rows, self._waiting = [], 0

    def solve(self, strength: float) -> Tensor:
        """(F, C) float64: the minimum of |Y - XW|² + strength · (mean diagonal of X'X) · |W|²."""
        self._flush()
        penalty = strength * self.gram.diagonal().mean()
        regular = self.gram.clone()
        regular.diagonal().add_(penalty.clamp(min=1e-12))
        return torch.cholesky_solve(self.moment, torch.linalg.cholesky(regular))
