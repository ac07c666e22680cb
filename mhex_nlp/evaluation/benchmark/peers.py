# SPDX-License-Identifier: Apache-2.0
"""Peers: captum, shap and lime explain the same game over the same units (the extra `bench`).

Every peer is the library's own code. It gets either the model with its embeddings (captum's integrated gradients) or
binary masks over a text's units, whose value `TextValues.value` says. Each is imported on its first use.

Axes: n units of a text, S subsets, T tokens.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ...models.eval_mode import eval_view
from ...models.path_gradients import BATCH_TOKENS, check_gradients
from ..metrics.arrays import Floats
from ..metrics.games import ValueFunction
from ..model_values import ModelValues, TextValues


def load_peer(module: str) -> Any:
    """The module of a peer; ImportError says how to install it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peers warn of at import
            return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ImportError(f"{name} is not installed; pip install 'mhex_nlp[bench]' installs it.") from error


def captum_integrated_gradients(
    values: ModelValues, texts: Sequence[TextValues], targets: Sequence[int], steps: int = 50
) -> list[Floats]:
    """captum's LayerIntegratedGradients on the word embeddings: midpoint rule, [MASK] as baseline."""
    check_gradients(values.model)
    mask = values.tokenizer.mask_token_id
    if mask is None:
        raise ValueError("captum's integrated gradients need a tokenizer with a mask token, for the baseline.")
    model = eval_view(values.model)  # captum hooks its embeddings
    text_scores = []
    for text, target in zip(texts, targets, strict=True):
        inputs = {name: value[None].to(model.device) for name, value in text.item.features.items()}
        ids = inputs.pop("input_ids")
        names = tuple(inputs)

        def forward(ids: Any, *others: Any, names: tuple[str, ...] = names, target: int = target) -> Any:
            logits = model(input_ids=ids, **dict(zip(names, others, strict=True))).logits
            return values.explained(logits, torch.full((len(logits),), target, device=logits.device))

        baseline = torch.where(text.fixed.to(ids.device)[None], ids, torch.full_like(ids, mask))
        gradients = load_peer("captum.attr").LayerIntegratedGradients(forward, model.get_input_embeddings())
        scores = gradients.attribute(
            ids,
            baselines=baseline,
            additional_forward_args=tuple(inputs.values()) or None,
            n_steps=steps,
            method="riemann_middle",
            internal_batch_size=max(1, BATCH_TOKENS // len(text.item)),
        )
        text_scores.append(text.unit_scores(scores[0, : len(text.item)].sum(-1).double().detach().cpu().numpy()))
    return text_scores


def lime_game(value: ValueFunction, n: int, *, samples: int = 500, seed: int = 0) -> Floats:
    """LIME's weights of n units: its own sampling, kernel (cosine, width 25) and ridge, over all units."""
    text_module = load_peer("lime.lime_text")
    # one character a unit, so that lime's own text explainer takes our units for its own
    explainer = text_module.LimeTextExplainer(
        char_level=True, bow=False, mask_string="-", feature_selection="none", random_state=np.random.RandomState(seed)
    )

    def answer(masked: Sequence[str]) -> Floats:
        keep = np.asarray([[character == "x" for character in row] for row in masked])
        return np.asarray(value(keep), dtype=np.float64)[:, None]

    explanation = explainer.explain_instance("x" * n, answer, labels=(0,), num_features=n, num_samples=samples)
    weights = dict(explanation.local_exp[0])
    return np.asarray([weights.get(unit, 0.0) for unit in range(n)], dtype=np.float64)


def kernel_shap_game(value: ValueFunction, n: int, *, samples: int = 200, seed: int = 0) -> Floats:
    """shap's KernelExplainer over n binary features, all units removed as background, no feature selection."""
    shap = load_peer("shap")
    with _numpy_seed(seed):
        explainer = shap.KernelExplainer(binary_answer(value), np.zeros((1, n)))
        scores = explainer.shap_values(np.ones((1, n)), nsamples=samples, l1_reg=False, silent=True)
    return np.asarray(scores, dtype=np.float64).reshape(n)


def permutation_shap_game(value: ValueFunction, n: int, *, evaluations: int = 500, seed: int = 0) -> Floats:
    """shap's PermutationExplainer over n binary features, all units removed as background.

    One walk takes 2n + 1 evaluations, so texts of more than (evaluations - 1) / 2 units get as many as that.
    """
    shap = load_peer("shap")
    with _numpy_seed(seed):
        explainer = shap.PermutationExplainer(
            binary_answer(value), shap.maskers.Independent(np.zeros((1, n))), seed=seed
        )
        explanation = explainer(np.ones((1, n)), max_evals=max(evaluations, 2 * n + 1), silent=True)
    return np.asarray(explanation.values, dtype=np.float64).reshape(n)


def binary_answer(value: ValueFunction) -> Callable[[Any], Floats]:
    """`value` of masks of 0 and 1, (S, n) numbers, as peers give them."""
    return lambda rows: np.asarray(value(np.asarray(rows) > 0.5), dtype=np.float64)


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """shap draws from numpy's global state: seeded inside, and afterwards what it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
