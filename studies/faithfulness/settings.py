# SPDX-License-Identifier: Apache-2.0
"""What the faithfulness study does, in constants.

After a change to fine-tuning remove the folders `<work>/<data>-<seed>`, after one to the fit their `fitted` alone;
scores that were made of another model or fit, or with another budget, are made again by themselves.
"""

from __future__ import annotations

from typing import Any

NAMES = {"sst2": "SST-2, sentence level", "ag_news": "AG News test set, re-split"}
SEEDS = (0, 1, 2)

# fine-tuning
TRAINING: dict[str, Any] = {"epochs": 1, "batch": 32, "lr": 5e-5, "warmup_steps": 50, "weight_decay": 0.01}
MAX_LENGTH = {"sst2": 64, "ag_news": 128}

# fit_equivalent_matrices, beside model, tokenizer, texts and seed
FIT: dict[str, Any] = {"masks": 8}

# measuring
BATCH_TOKENS = 4096
IG_STEPS = 50
RANDOM_DRAWS = 5
PERMUTATIONS = 64  # antithetic, reverses included
# what a method may spend on a text: the argument of `available_methods` that says it, and the number
BUDGETS = {
    "integrated_gradients": ("steps", IG_STEPS),
    "shapley": ("permutations", PERMUTATIONS),
    "shap": ("shap_evaluations", 500),
    "kernel_shap": ("kernel_samples", 200),
    "lime": ("lime_samples", 500),
}
LABELS = {
    "mhex_fitted": "MHEX, fitted",
    "mhex_supervised": "MHEX, supervised",
    "integrated_gradients": f"integrated gradients, {IG_STEPS} steps",
    "leave_one_out": "leave one out",
    "gradient_norm": "gradient norm",
    "gradient_x_input": "gradient × input",
    "rollout": "attention rollout",
    "shap": f"shap, {BUDGETS['shap'][1]} evaluations",
    "kernel_shap": f"Kernel SHAP, {BUDGETS['kernel_shap'][1]} samples",
    "lime": f"LIME, {BUDGETS['lime'][1]} samples",
    "shapley": f"Shapley, {PERMUTATIONS} permutations",
    "random": f"random, mean of {RANDOM_DRAWS} draws",
}
# by table, in the order in which they run: what is cheap first, so that a table fills early
_METHODS_A = (
    "mhex_fitted",
    "mhex_supervised",
    "random",
    "gradient_norm",
    "gradient_x_input",
    "integrated_gradients",
    "leave_one_out",
)
METHODS = {
    "A": _METHODS_A,
    "B": ("shapley", *_METHODS_A, "rollout", "kernel_shap", "lime", "shap"),
    "D": (*_METHODS_A, "rollout"),
}
METHODS_DELETION = ("mhex_fitted", "integrated_gradients", "random")  # in table A
RIVALS = ("integrated_gradients", "mhex_fitted")  # of which differences are taken

# parameter randomisation
RANDOMISED = {"backbone": "whole backbone", "layers": "encoder layers", "heads": "heads and fitted matrices"}
RANDOMISED_TEXTS, RANDOMISATIONS = 200, (0, 1, 2)
PLAUSIBLE_TEXTS = 300
COST_TEXTS, COST_ROUNDS = 64, 30
