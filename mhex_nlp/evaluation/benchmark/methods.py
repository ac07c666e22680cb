# SPDX-License-Identifier: Apache-2.0
"""The explanation methods that a benchmark compares, by name, all over the same units and for the same output.

The output is the target's logit less the mean over classes, or the logit where classes do not exclude each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...explain.explainer import MhexExplainer
from ...models.heads.head import trained
from ..metrics.arrays import Floats
from ..metrics.games import ValueFunction, leave_one_out, leave_one_out_masks
from ..metrics.randomisation import explain_classes
from ..metrics.shapley import sampled_shapley
from ..model_values import ModelValues, TextValues
from . import peers
from .attention import attention_rollout, last_attention
from .choosing import budgets_of, check_budgets, choose_methods
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
    kept: bool = False  # whether what it scored before may be taken for what it scores now

    @property
    def key(self) -> str:
        """What its figures are kept under: name, and what it may spend."""
        return f"{self.name}: {self.label}"


@dataclass(frozen=True, slots=True)
class Budgets:
    """How much a method may spend: steps of integrated gradients, orders of Shapley, samples of the peers."""

    steps: int = 50
    permutations: int = 64
    shap_evaluations: int = 500
    kernel_samples: int = 200
    lime_samples: int = 500

    def __post_init__(self) -> None:
        check_budgets(self)


def available_methods(
    values: ModelValues,
    explainer: MhexExplainer | None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    *,
    notes: list[str] | None = None,
    **budgets: int,
) -> list[AttributionMethod]:
    """The methods named, in the order of `METHODS`; by default all that this model and installation can do.

    Args:
        values: of the model that is explained.
        explainer: of the same model; `None` where it has no heads.
        names: keys out of `METHODS`.
        seed: of `random` and of the methods that sample.
        notes: gets a sentence for each method that cannot be had, named or not, in the place of an error.
        budgets: fields of `Budgets`.

    Raises:
        ValueError: an unknown name or budget, a method that was named and cannot be had of this model.
        ImportError: a peer that was named and is not installed.
    """
    checked = budgets_of(Budgets, budgets)

    def make(name: str) -> AttributionMethod:
        return AttributionMethod(name, *_label_and_function(name, values, explainer, seed, checked), kept=True)

    return choose_methods(names, METHODS, make, notes)


def _label_and_function(
    name: str, values: ModelValues, explainer: MhexExplainer | None, seed: int, budgets: Budgets
) -> tuple[str, Explain]:
    """What makes one `AttributionMethod`; a ValueError or ImportError says why it cannot be had."""
    if name in MHEX_METHODS:
        return _mhex(name == "mhex_fitted", values, explainer)
    if name in _PEER_MODULES:
        peers.load_peer(_PEER_MODULES[name])
    # errors where this family has none
    if "gradient" in name:
        path_gradients(values, [values.of("a b")], [0], [1.0])
    if name == "captum_integrated_gradients":
        peers.captum_integrated_gradients(values, [], [])
    if name in ("attention", "rollout"):
        last_attention(values, [values.of("a b")])
    start = "" if values.tokenizer.mask_token_id is not None else ", from zero embeddings"
    evaluations, kernel, lime = budgets.shap_evaluations, budgets.kernel_samples, budgets.lime_samples
    methods: dict[str, tuple[str, Explain]] = {
        "random": ("random", partial(random_scores, seed)),
        "gradient_norm": ("gradient norm", partial(gradient_scores, "gradient_norm", values)),
        "gradient_x_input": ("gradient × input", partial(gradient_scores, "gradient_x_input", values)),
        "integrated_gradients": (
            f"integrated gradients, {budgets.steps} steps{start}",
            partial(gradient_scores, "integrated_gradients", values, steps=budgets.steps),
        ),
        "attention": ("attention, last layer", lambda texts, targets: last_attention(values, texts)),
        "rollout": ("attention rollout", lambda texts, targets: attention_rollout(values, texts)),
        "leave_one_out": ("leave one out", partial(_leave_one_out, values)),
        "shapley": (
            f"Shapley, {budgets.permutations} permutations",
            _play(_shapley, permutations=budgets.permutations, seed=seed),
        ),
        "captum_integrated_gradients": (
            f"integrated gradients, {budgets.steps} steps (captum)",
            partial(peers.captum_integrated_gradients, values, steps=budgets.steps),
        ),
        "shap": (
            f"permutation SHAP, {evaluations} evaluations (shap)",
            _play(peers.permutation_shap_game, evaluations=evaluations, seed=seed),
        ),
        "kernel_shap": (
            f"KernelSHAP, {kernel} samples (shap)",
            _play(peers.kernel_shap_game, samples=kernel, seed=seed),
        ),
        "lime": (f"LIME, {lime} samples (lime)", _play(peers.lime_game, samples=lime, seed=seed)),
    }
    return methods[name]


def _mhex(fitted: bool, values: ModelValues, explainer: MhexExplainer | None) -> tuple[str, Explain]:
    if explainer is None:
        raise ValueError(
            "the model has no MHEX heads; `mhex fit` (fit_equivalent_matrices) gives it some without changing it."
        )
    ours, theirs = (model.get_input_embeddings().weight for model in (values.model, explainer.model))
    if ours.data_ptr() != theirs.data_ptr():
        raise ValueError("explainer must explain the model of values, got one with other weights.")
    if fitted and explainer.model.fit_record is None:
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

    def explain(texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
        items = [text.item for text in texts]
        explanations = explain_classes(
            aggregating, [item.text for item in items], [item.text_pair for item in items], targets
        )
        return [text.unit_scores(row.scores) for text, row in zip(texts, explanations, strict=True)]

    return "MHEX, fitted" if fitted else "MHEX, supervised", explain


def random_scores(seed: int, texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
    """Uniform draws that depend on the seed and on the text's place in the list."""
    return [np.random.default_rng([seed, index]).random(text.n) for index, text in enumerate(texts)]


def _play(game: Callable[..., Floats], **options: int) -> Explain:
    """A function of a value function and n, such as `leave_one_out`, as a method."""
    return lambda texts, targets: [
        game(text.explained(target), text.n, **options) for text, target in zip(texts, targets, strict=True)
    ]


def _leave_one_out(values: ModelValues, texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
    """All texts in one go: a single text has too few rows to fill a batch."""
    values.fill(texts, [leave_one_out_masks(text.n) for text in texts])
    return _play(leave_one_out)(texts, targets)


def _shapley(value: ValueFunction, n: int, *, permutations: int, seed: int) -> Floats:
    return sampled_shapley(value, n, permutations=permutations, seed=seed).values
