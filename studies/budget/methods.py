# SPDX-License-Identifier: Apache-2.0
"""Scores of a text for as many passes as one may spend: ours, and each peer by its own library's code.

A pass is an answer of the model about a subset of a text's tokens; what it says of the whole text and of none of it is
free for all. A step of integrated gradients counts as one pass although it takes a backward pass as well.

Axes: n tokens of a text, S subsets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mhex_nlp.evaluation.benchmark import peers
from mhex_nlp.evaluation.metrics.arrays import Bools, Floats
from mhex_nlp.evaluation.metrics.games import ValueFunction, leave_one_out
from mhex_nlp.evaluation.model_values import TextValues

from .decomposition import alti, decompx

Game = Callable[[TextValues, ValueFunction, int, int], Floats]  # text, value function, passes, seed -> (n,)

BUDGETS = (8, 16, 32, 64, 128)
TRIPLE = (24, 48, 96)  # three times the first three, for the peers that are ahead of the others


class Counted:
    """A value function that counts the distinct subsets it was asked about, the whole and the empty one left out."""

    def __init__(self, value: ValueFunction) -> None:
        self.value, self.subsets = value, set[bytes]()

    def __call__(self, keep: Bools) -> Any:
        rows = np.asarray(keep, dtype=bool)
        self.subsets |= {np.packbits(row).tobytes() for row in rows if row.any() and not row.all()}
        return self.value(rows)

    @property
    def passes(self) -> int:
        return len(self.subsets)


def _kernel_shap(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    return peers.kernel_shap_game(value, text.n, samples=passes, seed=seed)


def _permutation_shap(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    """One walk there and back at the least, whatever `passes` says."""
    return peers.permutation_shap_game(value, text.n, evaluations=passes + 2, seed=seed)


def _partition_shap(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    """shap's PartitionExplainer with the hierarchy that its text masker makes of the tokens."""
    shap, masker = peers.load_peer("shap"), peers.load_peer("shap.maskers._text")
    names = [text.tokens[unit[0]].piece.replace("##", "") for unit in text.units]
    hierarchy = masker.partition_tree(np.array(names), [])
    explainer = shap.PartitionExplainer(
        peers.binary_answer(value), shap.maskers.Partition(np.zeros((1, text.n)), clustering=hierarchy)
    )
    explanation = explainer(np.ones((1, text.n)), max_evals=passes + 2, silent=True)
    return np.asarray(explanation.values, dtype=np.float64).reshape(text.n)


def _lime(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    return peers.lime_game(value, text.n, samples=passes + 1, seed=seed)  # its first sample is the whole text


def _shapiq(name: str, text: TextValues, value: ValueFunction, passes: int, seed: int, **options: int) -> Floats:
    """An approximator of shapiq, given as much more as it spends on the whole and the empty subset."""
    approximators = peers.load_peer("shapiq.approximator")
    empty = float(np.ravel(value(np.zeros((1, text.n), dtype=bool)))[0])
    approximator = getattr(approximators, name)(n=text.n, random_state=seed, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few samples
        estimate = approximator.approximate(
            min(passes + 2, 2**text.n), lambda keep: np.asarray(value(np.asarray(keep, dtype=bool))) - empty
        )
    return np.asarray(estimate.get_n_order_values(1), dtype=np.float64)


def _leave_one_out(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    return leave_one_out(value, text.n)


def _decompx(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    """Of the predicted class, as all that is explained here; from what the pass over the whole text left."""
    return decompx(text, text.predicted())


def _alti(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    return alti(text)


def _random(text: TextValues, value: ValueFunction, passes: int, seed: int) -> Floats:
    """Normal draws, of the size of an even share of the whole."""
    whole, empty = np.ravel(value(np.array([[True] * text.n, [False] * text.n])))
    return np.random.default_rng([seed, text.n]).standard_normal(text.n) * (whole - empty) / text.n


GAMES: dict[str, Game] = {
    "kernel_shap": _kernel_shap,
    "permutation_shap": _permutation_shap,
    "partition_shap": _partition_shap,
    "lime": _lime,
    "shapiq_kernel": partial(_shapiq, "KernelSHAP"),
    "shapiq_kadd": partial(_shapiq, "kADDSHAP", max_order=2),
}
ONCE: dict[str, Game] = {  # whose passes are not chosen
    "random": _random,
    "decompx": _decompx,
    "alti": _alti,
    "leave_one_out": _leave_one_out,
}
STRONG = ("integrated_gradients", "shapiq_kernel")  # measured at `TRIPLE` as well
PEER_BUDGETS: dict[str, tuple[int, ...]] = {
    "integrated_gradients": tuple(sorted((*BUDGETS, *TRIPLE))),
    "shapiq_kernel": tuple(sorted((*BUDGETS, *TRIPLE))),
    "partition_shap": BUDGETS,
    "permutation_shap": (64, 128),
    "kernel_shap": (32, 128),
    "lime": (32, 128),
    "shapiq_kadd": (32, 128),
}
LABELS = {
    "mhex_fitted": "MHEX, fitted",
    "integrated_gradients": "integrated gradients (captum)",
    "kernel_shap": "KernelSHAP (shap)",
    "permutation_shap": "permutation SHAP (shap)",
    "partition_shap": "partition SHAP (shap)",
    "lime": "LIME (lime)",
    "shapiq_kernel": "KernelSHAP (shapiq)",
    "shapiq_kadd": "kADD-SHAP of order 2 (shapiq)",
    "decompx": "DecompX",
    "alti": "ALTI",
    "leave_one_out": "leave one out",
    "random": "random",
}
