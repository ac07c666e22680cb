# SPDX-License-Identifier: Apache-2.0
"""Integers as users give them: those of Python, NumPy and torch, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mhex_nlp.inputs.checks import as_integer, integer_or_none


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor([3])])
def test_integers_of_every_library_become_pythons(value):
    number = as_integer(value, "n", at_least=3)
    assert type(number) is int and number == 3


@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), 3.0, np.float32(3), "3", None, [3], np.arange(3)]
)
def test_what_is_no_integer(value):
    assert integer_or_none(value) is None
    with pytest.raises(TypeError, match="^n must be an integer, got "):
        as_integer(value, "n")
    with pytest.raises(ValueError, match="^n must be an integer of at least 1, got "):
        as_integer(value, "n", at_least=1)


def test_sentences():
    with pytest.raises(ValueError, match="^n must be an integer of at least 2, got 1[.]$"):
        as_integer(1, "n", at_least=2)
    with pytest.raises(ValueError, match="^n must be a positive integer, got -1[.]$"):
        as_integer(-1, "n", at_least=1, expected="a positive integer")
