# SPDX-License-Identifier: Apache-2.0
"""How well scores of units say what ablations do, and how long ablations take.

Axes: N units, E subsets that no method was fitted on, B texts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import product
from math import factorial

import numpy as np
import torch
from scipy.stats import spearmanr

from mhex_nlp import ContextExplainer
from mhex_nlp.explain.context.estimate import chosen_subsets

from .data import Table
from .methods import BUDGETS, Answer, Method

TOP, HELD_OUT, FEWEST = (1, 3, 5), 64, 8
LENGTH, UNITS, ABLATIONS, PLAIN = 1000, 40, 32, 4  # of the timed context; plain passes, of which all take equally long


def shapley(table: Table) -> np.ndarray:
    """(N,), exact."""
    units, phi = table.units, np.zeros(table.units)
    for unit, rest in product(range(units), range(2**units)):
        if not rest >> unit & 1:
            size = rest.bit_count()
            weight = factorial(size) * factorial(units - size - 1) / factorial(units)
            phi[unit] += weight * (table.values[rest | 1 << unit] - table.values[rest])
    return phi


def measure(table: Table, methods: Mapping[str, Method], seeds: int) -> dict[str, dict[str, float]]:
    """Figures of one text, means over seeds: {"method|budget": {"lds", "top1", "top3", "top5", "shapley", "covered"}}.

    LDS (Park et al. 2023) is Spearman's correlation of the sum of the scores of what is kept and of the model's answer,
    on subsets drawn evenly from those that no method asked about at this budget and seed; none is given where fewer
    than 8 are left. Drops are those of the log-probability when the units with the highest scores go.
    """
    exact, found = shapley(table), dict[str, list[dict[str, float]]]()
    for budget, seed in product(BUDGETS, range(seeds)):
        answers = {name: answer for name, method in methods.items() if (answer := method(table, budget, seed))}
        asked = np.concatenate([[0, 2**table.units - 1], *(answer.asked for answer in answers.values())])
        left = np.setdiff1d(np.arange(2**table.units), asked)
        held_out = np.random.default_rng([seed, 4]).permutation(left)[:HELD_OUT]
        for name, answer in answers.items():
            found.setdefault(f"{name}|{budget}", []).append(_figures(table, answer, held_out, exact))
    return {
        key: {figure: float(np.mean([one[figure] for one in some])) for figure in some[0]}
        for key, some in found.items()
    }


def _figures(table: Table, answer: Answer, held_out: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    figures, scores = {}, answer.scores
    if len(held_out) >= FEWEST:
        kept = held_out[:, None] >> np.arange(table.units) & 1
        figures["lds"] = _rank_correlation(kept @ scores, table.values[held_out])
    order = np.argsort(-scores, kind="stable")
    for count in TOP:
        figures[f"top{count}"] = float(table.values[-1] - table.values[-1 - int((1 << order[:count]).sum())])
    figures["shapley"] = _rank_correlation(scores, exact)
    if answer.errors is not None:
        figures["covered"] = float((np.abs(scores - exact) <= 2 * answer.errors + 1e-6).mean())
    return figures


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(spearmanr(one, other).statistic) if np.ptp(one) > 0 and np.ptp(other) > 0 else 0.0


def cost(explainer: ContextExplainer) -> dict[str, float]:
    """CPU seconds of 32 ablations of a context of 1,000 tokens in 40 units, and of as many plain passes.

    Plain: the whole length, hidden by the mask, no cache, one row at a time, and logits of the answer alone, as ours.
    """
    model, answer, query = explainer.model, 20, 30
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(100, model.config.vocab_size, (LENGTH + query + answer,), generator=draw)
    prompt, size = LENGTH + query, LENGTH // UNITS
    units = torch.from_numpy(chosen_subsets(np.arange(UNITS), ABLATIONS, 0)[:ABLATIONS])
    kept = torch.cat([units.repeat_interleave(size, 1), torch.ones(ABLATIONS, query, dtype=torch.bool)], 1)
    kept[:, 0] = True
    start = time.process_time()
    ours = explainer._ablated.log_probabilities(ids, prompt, kept)
    seconds = time.process_time() - start
    rows: list[torch.Tensor] = []
    start = time.process_time()
    for row in kept[:PLAIN]:
        mask = torch.cat([row, torch.ones(answer, dtype=torch.bool)])[None].long()
        positions = torch.arange(len(ids))[None]
        with torch.inference_mode():
            logits = model(
                input_ids=ids[None],
                attention_mask=mask,
                position_ids=positions,
                logits_to_keep=answer + 1,
                use_cache=False,
            ).logits[0, :-1]
        rows.append(logits.double().log_softmax(-1).gather(1, ids[prompt:, None])[:, 0])
    plain = (time.process_time() - start) * ABLATIONS / PLAIN
    apart = float((torch.stack(rows) - ours[:PLAIN]).abs().max())
    return {"ours": seconds, "plain": plain, "ratio": seconds / plain, "largest_difference": apart}


def by_text(texts: Sequence[Table], methods: Mapping[str, Method], seeds: int) -> list[dict[str, dict[str, float]]]:
    """`measure` of each text."""
    return [measure(table, methods, seeds) for table in texts]
