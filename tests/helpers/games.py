# SPDX-License-Identifier: Apache-2.0
"""Value functions over the subsets of a few units, made by hand."""

from __future__ import annotations

import itertools
from math import factorial
from typing import Any, Literal

import numpy as np
import torch


def random_game(n: int, seed: int, distribution: Literal["uniform", "normal"] = "uniform"):
    """Any value for any subset: the hardest case for a search."""
    generator = np.random.default_rng(seed)
    table = generator.uniform(size=2**n) if distribution == "uniform" else generator.normal(size=2**n)
    return lambda keep: table[keep @ (1 << np.arange(n))]


def additive(weights):
    """Each kept unit is worth its weight."""
    return lambda keep: keep @ np.asarray(weights)


def shapley_of_table(values: np.ndarray, n: int) -> np.ndarray:
    """Shapley values by their definition, the mean of what a unit adds over all orders: (n, ...) of (2**n, ...).

    Row i of `values` is the worth of the units whose bits are set in i.
    """
    phi = np.zeros((n, *values.shape[1:]))
    for unit, rest in itertools.product(range(n), range(2**n)):
        if not rest >> unit & 1:
            size = bin(rest).count("1")
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            phi[unit] += weight * (values[rest | 1 << unit] - values[rest])
    return phi


def shapley_of_model(model: Any, tokenizer: Any, text: str, target: int) -> np.ndarray:
    """The Shapley values of a text's tokens for the centred logit, by all subsets, from the definition."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    tokens = ids.shape[1] - 2
    rows = ids.repeat(2**tokens, 1)
    kept = (np.arange(2**tokens)[:, None] >> np.arange(tokens) & 1).astype(bool)
    rows[:, 1:-1][torch.from_numpy(~kept)] = tokenizer.mask_token_id
    with torch.no_grad():
        logits = model(rows).logits.double()
    values = (logits - logits.mean(1, keepdim=True))[:, target].numpy()
    return shapley_of_table(values, tokens)
