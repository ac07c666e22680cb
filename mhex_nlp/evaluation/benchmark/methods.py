# SPDX-License-Identifier: Apache-2.0
"""The explanation methods that a benchmark compares, by name, all over the same units and for the same output.

The output is the target's logit less the mean over classes, or the logit where classes do not exclude each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np

from ...explain.explainer import MhexExplainer
from ...models.heads.head import trained
from ..metrics.arrays import Floats, check_integer
from ..metrics.games import ValueFunction, leave_one_out, leave_one_out_masks
from ..metrics.shapley import sampled_shapley
from ..model_values import ModelValues
from ..text_values import TextValues
from . import peers
from .attention import attention_rollout, last_attention
from .explained_output import output_name
from .gradients import gradient_scores, path_gradients

Explain = Callable[[Sequence[TextValues], Sequence[int]], list[Floats]]

MHEX_METHODS = ("mhex_fitted", "mhex_supervised")
OWN_METHODS = (
    *MHEX_METHODS,
    "random",
    "gradient_norm",
    "gradient_x_input",
    "integrated_gradients",
    "attention",
    "rollout",
    "leave_one_out",
    "shapley",
)
_PEER_MODULES = {
    "captum_integrated_gradients": "captum.attr",
    "shap": "shap",
    "kernel_shap": "shap",
    "lime": "lime.lime_text",
}
METHODS = (*OWN_METHODS, *_PEER_MODULES)
DEFAULT_METHODS = tuple(name for name in OWN_METHODS if name != "shapley")  # Shapley values are the reference already


@dataclass(frozen=True, slots=True)
class AttributionMethod:
    """One method: `name` is its key, `label` what tables call it.

    `explain` takes texts made by `ModelValues.of` and the class id each is explained for, and gives the (n_i,) float64
    scores of each text's units.
    """

    name: str
    label: str
    explain: Explain


@dataclass(frozen=True, slots=True)
class Budgets:
    """How much a method may spend: steps of integrated gradients, orders of Shapley, samples of the peers."""

    steps: int = 50
    permutations: int = 64
    shap_evaluations: int = 500
    kernel_samples: int = 200
    lime_samples: int = 500

    def __post_init__(self) -> None:
        for field in fields(self):
            check_integer(getattr(self, field.name), field.name, 1)
        if self.permutations % 4:
            raise ValueError(f"permutations must be a multiple of 4, got {self.permutations}.")


def available_methods(
    values: ModelValues,
    explainer: MhexExplainer | None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    **budgets: int,
) -> list[AttributionMethod]:
    """The methods named, in the order of `METHODS`; by default all that this model and installation can do.

    Args:
        values: of the model that is explained.
        explainer: of the same model; `None` where it has no heads.
        names: keys out of `METHODS`.
        seed: of `random` and of the methods that sample.
        budgets: fields of `Budgets`.

    Raises:
        ValueError: an unknown name or budget, a method that was named and cannot be had of this model.
        ImportError: a peer that was named and is not installed.
    """
    return find_methods(values, explainer, names, seed, strict=names is not None, **budgets)[0]


def find_methods(
    values: ModelValues,
    explainer: MhexExplainer | None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    *,
    strict: bool,
    **budgets: int,
) -> tuple[list[AttributionMethod], tuple[str, ...]]:
    """As `available_methods`, with a sentence for each method that was left out; `strict` makes it an error instead."""
    chosen = METHODS if names is None else tuple(names)
    if not chosen or isinstance(names, str):
        raise ValueError(f"methods must be a list of some of {', '.join(METHODS)}, got {names!r}.")
    if unknown := [name for name in chosen if name not in METHODS]:
        raise ValueError(f"methods must be some of {', '.join(METHODS)}, got {unknown[0]!r}.")
    known = [field.name for field in fields(Budgets)]
    if surplus := sorted(set(budgets) - set(known)):
        raise ValueError(f"budgets must be some of {', '.join(known)}, got {surplus[0]!r}.")
    build = _Builder(values, explainer, seed, Budgets(**budgets))
    methods, notes = [], []
    for name in (name for name in METHODS if name in chosen):
        try:
            methods.append(AttributionMethod(name, *build(name)))
        except (ValueError, ImportError) as error:
            if strict:
                raise
            notes.append(f"{name} was left out: {error}")
    return methods, tuple(notes)


class _Builder:
    """Makes each method's label and function, or says in a ValueError or ImportError why it cannot be had."""

    def __init__(self, values: ModelValues, explainer: MhexExplainer | None, seed: int, budgets: Budgets) -> None:
        self.values, self.explainer, self.seed, self.budgets = values, explainer, seed, budgets

    def __call__(self, name: str) -> tuple[str, Explain]:
        values, budgets = self.values, self.budgets
        if name in MHEX_METHODS:
            return self._mhex(name)
        if name in _PEER_MODULES:
            peers.load_peer(_PEER_MODULES[name])
        if "gradient" in name:
            path_gradients(values, [values.of("a b")], [0], [1.0])  # an error where this family has none
        if name in ("attention", "rollout"):
            last_attention(values, [values.of("a b")])  # an error where this family has none
        start = "" if values.tokenizer.mask_token_id is not None else ", from zero embeddings"
        made: dict[str, tuple[str, Explain]] = {
            "random": ("random", self._random),
            "gradient_norm": ("gradient norm", partial(gradient_scores, "gradient_norm", values)),
            "gradient_x_input": ("gradient × input", partial(gradient_scores, "gradient_x_input", values)),
            "integrated_gradients": (
                f"integrated gradients, {budgets.steps} steps{start}",
                partial(gradient_scores, "integrated_gradients", values, steps=budgets.steps),
            ),
            "attention": ("attention, last layer", lambda texts, targets: last_attention(values, texts)),
            "rollout": ("attention rollout", lambda texts, targets: attention_rollout(values, texts)),
            "leave_one_out": ("leave one out", self._leave_one_out),
            "shapley": (f"Shapley, {budgets.permutations} permutations", self._game(self._shapley)),
            "captum_integrated_gradients": (
                f"integrated gradients, {budgets.steps} steps (captum)",
                partial(peers.captum_integrated_gradients, values, steps=budgets.steps),
            ),
            "shap": (
                f"permutation SHAP, {budgets.shap_evaluations} evaluations (shap)",
                self._game(partial(peers.permutation_shap_game, evaluations=budgets.shap_evaluations, seed=self.seed)),
            ),
            "kernel_shap": (
                f"KernelSHAP, {budgets.kernel_samples} samples (shap)",
                self._game(partial(peers.kernel_shap_game, samples=budgets.kernel_samples, seed=self.seed)),
            ),
            "lime": (
                f"LIME, {budgets.lime_samples} samples (lime)",
                self._game(partial(peers.lime_game, samples=budgets.lime_samples, seed=self.seed)),
            ),
        }
        if name == "captum_integrated_gradients" and values.tokenizer.mask_token_id is None:
            raise ValueError("captum's integrated gradients need a tokenizer with a mask token, for the baseline.")
        return made[name]

    def _mhex(self, name: str) -> tuple[str, Explain]:
        explainer, fitted = self.explainer, name == "mhex_fitted"
        if explainer is None:
            raise ValueError(
                "the model has no MHEX heads; `mhex fit` (fit_equivalent_matrices) gives it some without changing it."
            )
        ours, theirs = (model.get_input_embeddings().weight for model in (self.values.model, explainer.model))
        if ours.data_ptr() != theirs.data_ptr():
            raise ValueError("explainer must explain the model of values, got one with other weights.")
        if fitted and getattr(explainer.model.config, "mhex_fit", None) is None:
            raise ValueError("the model has no fit; `mhex fit` (fit_equivalent_matrices) makes one.")
        if not fitted and not trained(explainer.model.mhex):
            raise ValueError("the model's heads were never trained; fine-tune it with its heads (`mhex finetune`).")
        aggregating = MhexExplainer(
            explainer.model,
            explainer.tokenizer,
            aggregation="fitted" if fitted else "mean",
            batch_tokens=explainer.batch_tokens,
            max_length=explainer.max_length,
            language=explainer.language,
        )
        return "MHEX, fitted" if fitted else "MHEX, supervised", partial(_explained, aggregating)

    def _random(self, texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
        """Uniform draws that depend on the seed and on the text's place in the list."""
        return [np.random.default_rng([self.seed, index]).random(text.n) for index, text in enumerate(texts)]

    def _leave_one_out(self, texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
        """All texts in one go: a single text has too few rows to fill a batch."""
        self.values.fill(texts, [leave_one_out_masks(text.n) for text in texts])
        return self._game(leave_one_out)(texts, targets)

    def _shapley(self, value: ValueFunction, n: int) -> Floats:
        return sampled_shapley(value, n, permutations=self.budgets.permutations, seed=self.seed).values

    def _game(self, play: Callable[[ValueFunction, int], Floats]) -> Explain:
        output: Any = output_name(self.values)

        def explain(texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
            return [play(text.value(target, output), text.n) for text, target in zip(texts, targets, strict=True)]

        return explain


def _explained(explainer: MhexExplainer, texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
    """The explainer's scores of each text for its class; texts of one class, and of one kind, go together."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        groups.setdefault((target, text.item.text_pair is not None), []).append(index)
    scores: dict[int, Floats] = {}
    for (target, paired), indices in sorted(groups.items()):
        pairs = [texts[index].item.text_pair for index in indices] if paired else None
        explanations = explainer([texts[index].item.text for index in indices], pairs, target=target)
        for index, explanation in zip(indices, explanations, strict=True):
            scores[index] = texts[index].unit_scores(explanation.scores)
    return [scores[index] for index in range(len(texts))]
