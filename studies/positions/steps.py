# SPDX-License-Identifier: Apache-2.0
"""How many steps of integrated gradients a budget at places should buy: the fit's held-out texts, entities kept.

    python -m studies.positions.steps --data DATA --work WORK --output docs/results/positions_steps.json

Of each text one predicted entity is explained, as `fit_equivalent_matrices` learns its mix. The answers judged are
those of pairs that no budget asks about. Errors are beside those of the one-pass scores refined by as many passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mhex_nlp.explain.refinement import STEP_PASSES, Mix, informative
from mhex_nlp.inputs.removal import random_subsets
from mhex_nlp.models.heads.readout import FeatureLayout
from mhex_nlp.training.fitting.attainable import example_of
from mhex_nlp.training.fitting.error_prior import Example, error_of, estimate_prior, mix_factors
from mhex_nlp.training.fitting.places import find_sources
from mhex_nlp.training.fitting.splits import split

from ..common import be_quiet, machine, make_parser, write_json
from .models import entity_parts, prepared

STEPS = (2, 3, 5, 8, 16)
BUDGETS = (8, 16, 32, 64)
LEAST_PAIRS = 40  # of a text: 32 asked about, the rest judged on
LENGTHS = range(6, 61)  # other tokens


@torch.inference_mode()
def held_out_examples(
    model: Any, tokenizer: Any, texts: Sequence[str], count: int
) -> list[tuple[Example, dict[int, Any]]]:
    """Texts that the fit did not learn from, and their integrated gradients by steps."""
    source = find_sources(model, tokenizer, "auto", 8, 4096, positions="predicted", per_text=5, paired=False).measure
    source.layout = FeatureLayout.of(model.config.mhex_fit)
    readout = model.mhex_fit
    weights = torch.cat([readout.constant[:, None], *readout.matrices()], dim=1).T.double()
    examples: list[tuple[Example, dict[int, Any]]] = []
    for number in split(texts, 0.1, 0).judge:
        tokens = source.content_sizes([texts[number]], None)[0]
        masks = 2 * max(2 * (tokens - 1), LEAST_PAIRS)
        if tokens not in LENGTHS or not (rows := list(source.rows([texts[number]], None, [number], 0, masks))):
            continue
        kept = random_subsets(tokens, masks, [0, number])[: masks // 2]
        contrast = source.contrast_of(rows[0].target, rows[0].values.shape[1])
        gradients = {steps: source.gradients([texts[number]], None, contrast, steps, [0, number]) for steps in STEPS}
        examples.append((example_of(kept, rows[0], weights)._replace(weights=contrast.numpy()), gradients))
        if len(examples) == count:
            break
    return examples


def judged(examples: Sequence[Example], prior: Any, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """(texts,) squared errors after so many passes, and those of an even spread."""
    errors, even = [], []
    for example in examples:
        rest = np.setdiff1d(np.arange(len(example.x)), informative(example.x, max(BUDGETS) // 2))
        errors.append(error_of(example, prior, informative(example.x, budget // 2), rest))
        uneven = example.contrasted - example.contrasted.mean()
        even.append(float(((example.missed + example.x @ uneven)[rest] ** 2).sum()))
    return np.array(errors), np.array(even)


def main() -> None:
    options = make_parser(__doc__, "data", "work", page=False, texts=40).parse_args()
    be_quiet()
    model, tokenizer, _ = prepared("entities", 0, options.data, options.work)
    examples = held_out_examples(model, tokenizer, entity_parts(options.data)[2], options.texts)
    plain = [example for example, _ in examples]
    prior = estimate_prior(plain)
    assert prior is not None
    report: dict[str, Any] = {"machine": machine(), "texts": len(plain), "budgets": {}}
    alone = {budget: judged(plain, prior, budget) for budget in BUDGETS}
    for budget, (errors, even) in alone.items():
        report["budgets"][budget] = {"no gradients": {"paired_skill": 1 - errors.sum() / even.sum()}}
    for steps in STEPS:
        given = [example._replace(gradients=np.asarray(gradients[steps])) for example, gradients in examples]
        mix = Mix(steps, *mix_factors(given), least=0, prior=prior)
        mixed = [example.mixed(mix) for example in given]
        after = estimate_prior(mixed)
        assert after is not None
        for budget, (before, even) in alone.items():
            if budget >= STEP_PASSES * steps:
                errors, _ = judged(mixed, after, budget - mix.passes)
                logs = np.log((errors + 1e-12) / (before + 1e-12))
                report["budgets"][budget][f"{steps} steps"] = {
                    "paired_skill": 1 - errors.sum() / even.sum(),
                    "log_error_ratio": float(logs.mean()),
                    "standard_error": float(logs.std() / len(logs) ** 0.5),
                }
    write_json(options.output, report)


if __name__ == "__main__":
    main()
