# SPDX-License-Identifier: Apache-2.0
"""What was tried to refine scores better: designs of the questions and priors, on the study's texts and references.

    python -m studies.budget.variants --data path/to/data --work path/to/work \\
        --output docs/results/budget_variants.json --page docs/budget.md

After `studies.budget`, whose models, texts, references and one-pass scores are taken. Each text is asked about 400
random pairs once; every variant picks its questions among them. A variant's variances are the likeliest for all texts'
answers to pairs that it does not pick from.

Axes: N content tokens of a text, P pairs of complementary subsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from mhex_nlp.evaluation.metrics.arrays import Floats
from mhex_nlp.evaluation.metrics.ranking import spearman
from mhex_nlp.render.errors import SETTLED_FROM

from ..common import be_quiet, cell, grid, machine, make_parser, mean_interval, write_json, write_page
from ..faithfulness import settings
from ..faithfulness.models import Case, Columns
from .measuring import BLOCK, FIT_TEXTS, TABLE, ask_pairs, block_texts
from .report import Block

PAIRS, LONGEST, FEWEST, BUDGETS = 400, 40, 20, (16, 64, 128)


@dataclass(frozen=True)
class Variant:
    """A way to choose questions, and a prior."""

    name: str
    design: str = "determinant"  # or "random", "trace"
    shared: float = 0.4  # of a token's prior variance, what does not grow with its score
    neighbours: float = 0.0  # correlation of the errors of tokens side by side
    size: float = 0.5  # variance of the term for the size of what is kept
    triples: float = 0.8  # of the noise, interactions of three
    weighted: bool = False  # interactions of tokens with large scores are larger


KEPT = Variant("as it is")
VARIANTS = (
    KEPT,
    replace(KEPT, name="random pairs, white noise, no term for size", design="random", size=0.0, triples=0.0),
    replace(KEPT, name="white noise, no term for size", size=0.0, triples=0.0),
    replace(KEPT, name="white noise", triples=0.0),
    replace(KEPT, name="random pairs", design="random"),
    replace(KEPT, name="pairs chosen for the trace", design="trace"),
    replace(KEPT, name="errors of all tokens alike", shared=1.0),
    replace(KEPT, name="errors that grow with the score alone", shared=0.1),
    replace(KEPT, name="errors of neighbours correlated by 0.3", neighbours=0.3),
    replace(KEPT, name="interactions of large scores larger", weighted=True),
)


class Text(NamedTuple):
    """What is known of one text."""

    scores: Floats  # (N,) one-pass, shifted to their total
    truth: Floats  # (N,) reference
    truth_variance: Floats  # (N,) of the reference's own error
    x: Floats  # (P, N) signs of the pairs
    answers: Floats  # (P,)


class Terms(NamedTuple):
    """Covariances for noise of variance 1 and a `ratio` of 1."""

    errors: Floats  # (N, N) of the scores' errors
    answers: Floats  # (P, P) what these and the size give the answers
    noise: Floats  # (P, P)
    across: Floats  # (N, P) of what interactions give the Shapley values and the answers
    values: Floats  # (N, N)


def terms(variant: Variant, text: Text, x: Floats) -> Terms:
    """Closed forms as in `explain/refinement.py`, with weights of the tokens where the variant has some.

    What is white in the answers is left out of the Shapley values here, of which it is next to nothing.
    """
    tokens = x.shape[1]
    centring = np.eye(tokens) - 1 / tokens
    apart = (text.scores - text.scores.mean()) ** 2
    share = variant.shared + (1 - variant.shared) * apart / max(apart.mean(), 1e-12)
    root, places = np.sqrt(share), np.arange(tokens)
    alike = variant.neighbours ** np.abs(np.subtract.outer(places, places))  # 0 ** 0 is 1
    errors = centring @ (root[:, None] * alike * root) @ centring
    size = x.sum(1)
    answers = x @ errors @ x.T + variant.size / tokens * np.outer(size, size)
    weight = 0.5 + 0.5 * share if variant.weighted else np.ones(tokens)
    one, two, three = weight.sum(), (weight**2).sum(), (weight**3).sum()
    scale = (one**3 - 3 * one * two + 2 * three) / 6  # variance of all triples together
    first = (x * weight) @ x.T
    triples = (first**3 - 3 * first * two + 2 * (x * weight**3) @ x.T) / 6 / scale
    signed = x * weight
    total = signed.sum(1, keepdims=True)
    rest = (total**2 - (signed**2).sum(1, keepdims=True)) / 2 - signed * total + signed**2  # pairs without the token
    across = centring @ (signed * rest / 3 / scale).T
    values = np.outer(weight, weight) * (one - weight[:, None] - weight) / 9
    np.fill_diagonal(values, weight * ((one**2 - two) / 2 - weight * one + weight**2) / 9)
    white = 1 - variant.triples
    return Terms(
        errors,
        answers,
        variant.triples * triples + white * np.eye(len(x)),
        variant.triples * across,
        variant.triples * centring @ values @ centring / scale,
    )


def chosen(variant: Variant, text: Text, count: int, rows: Floats, seed: int) -> np.ndarray:
    """Indices of the pairs asked about, among `rows` (P, N)."""
    if variant.design == "random":
        return np.random.default_rng(seed).permutation(len(rows))[:count]
    even = text._replace(scores=np.zeros_like(text.scores))  # questions must not depend on scores
    parts = terms(replace(variant, neighbours=0.0, weighted=False), even, rows)
    joint, across = parts.noise + parts.answers / 4, parts.errors @ rows.T / 4 + parts.across
    variance, picked, steps = joint.diagonal().copy(), list[int](), list[Floats]()
    for _ in range(count):
        gain = (across**2).sum(0) / variance if variant.design == "trace" else variance.copy()
        gain[picked] = -np.inf
        best = int(gain.argmax())
        column = joint[best] - sum(step[best] * step for step in steps)
        step = column / np.sqrt(variance[best])
        across = across - np.outer(across[:, best] / np.sqrt(variance[best]), step)
        variance = np.maximum(variance - step**2, 1e-9)
        picked.append(best)
        steps.append(step)
    return np.array(picked)


def likeliest(variant: Variant, texts: Sequence[Text]) -> tuple[Floats, float]:
    """(ratio, noise, freedom), and the log density of an answer."""
    spectra = []
    for text in texts:
        rows = slice(PAIRS // 2, PAIRS // 2 + 2 * len(text.scores))
        x, missed = text.x[rows], text.answers[rows] - text.x[rows] @ text.scores
        parts = terms(variant, text, x)
        lower = np.linalg.inv(np.linalg.cholesky(parts.noise + 1e-9 * np.eye(len(x))))
        spread, axes = np.linalg.eigh(lower @ parts.answers @ lower.T)
        spectra.append((np.maximum(spread, 0), (lower @ missed @ axes) ** 2, 2 * np.log(lower.diagonal()).sum()))

    def loss(logs: Floats) -> float:
        (ratio, noise, freedom), density = np.exp(logs), 0.0
        for spread, squares, scale in spectra:
            count, variance = len(squares), noise * (1 + spread / ratio)
            density += gammaln((freedom + count) / 2) - gammaln(freedom / 2) - count / 2 * np.log(freedom * np.pi)
            density += (scale - np.log(variance).sum()) / 2
            density -= (freedom + count) / 2 * np.log1p((squares / variance).sum() / freedom)
        return -float(density)

    best = minimize(loss, np.log([4, 0.05, 2]), method="Nelder-Mead", options={"maxiter": 300})
    return np.exp(best.x), -float(best.fun) / sum(len(squares) for _, squares, _ in spectra)


def measured(variant: Variant, texts: Sequence[Text], budget: int, prior: Floats) -> tuple[Floats, Floats]:
    """(B,) Spearman to the reference; (B,) share of tokens whose reference the 90 % interval holds, its error added."""
    ratio, noise, freedom = prior
    agreement, held = [], []
    for seed, text in enumerate(texts):
        rows = chosen(variant, text, budget // 2, text.x[: PAIRS // 2], seed)
        x, missed = text.x[rows], text.answers[rows] - text.x[rows] @ text.scores
        parts = terms(variant, text, x)
        joint, across = parts.noise + parts.answers / ratio, parts.errors @ x.T / ratio + parts.across
        gain = np.linalg.solve(joint, across.T).T
        left = (parts.errors / ratio + parts.values - gain @ across.T).diagonal()
        known = freedom + len(x)
        scale = (freedom * noise + missed @ np.linalg.solve(joint, missed)) / max(known - 2, 0.5)
        width = SETTLED_FROM * np.sqrt(np.maximum(left, 0) * scale + text.truth_variance)
        scores = text.scores + gain @ missed
        agreement.append(spearman(scores, text.truth))
        held.append(float((np.abs(scores - text.truth) <= width).mean()))
    return np.array(agreement), np.array(held)


def read(case: Case, blocks: int) -> Iterator[Text]:
    """The texts of up to `LONGEST` tokens that the study has references of, asked about pairs where they were not."""
    for number in range(blocks):
        block = Block(case, number)
        fitted = block.load("mhex_fitted", 0)
        if not fitted or not block.reference or not block.answers:
            return
        case.unit(TABLE, f"pool-{number}", BLOCK, partial(_pool, case, number))
        pool = case.load(TABLE, f"pool-{number}")
        columns = (fitted["scores"], block.reference["scores"], block.reference["halves"])
        for index, (scores, truth, halves) in enumerate(zip(*map(block.rows, columns), strict=True)):
            if 6 <= len(scores) <= LONGEST:
                shifted = scores + (block.answers["total"][index] - scores.sum()) / len(scores)
                x = pool["kept"][index][:, : len(scores)] * 2.0 - 1
                variance = np.full(len(scores), ((halves[0] - halves[1]) ** 2).mean() / 4)
                yield Text(shifted, truth, variance, x, pool["differences"][index])


def _pool(case: Case, number: int) -> Columns:
    """`kept` (B, P, most N) and `differences` (B, P); texts that are too long are not asked about."""
    texts, targets = block_texts(case, number)
    kept = np.zeros((len(texts), PAIRS, max(text.n for text in texts)), dtype=bool)
    differences = np.zeros((len(texts), PAIRS))
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        if text.n <= LONGEST:
            kept[index, :, : text.n], differences[index] = ask_pairs(text, target, PAIRS, [7, number, index])
    return {"kept": kept, "differences": differences}


def main() -> None:
    parser = make_parser(__doc__, "data", "work", seed=0, blocks=4)
    args = parser.parse_args()
    be_quiet()
    report: dict[str, Any] = {"machine": machine(), "pairs": PAIRS, "longest": LONGEST, "data": {}}
    lines = []
    for data, name in settings.NAMES.items():
        texts = list(read(Case(data, args.seed, args.data, args.work, fit_texts=FIT_TEXTS[data]), args.blocks))
        if len(texts) < FEWEST:
            continue
        rows, figures = [], {}
        for variant in VARIANTS:
            prior, density = likeliest(variant, texts)
            figure: dict[str, Any] = {"prior": prior.round(4).tolist(), "log_density": round(density, 4)}
            for budget in BUDGETS:
                agreement, held = measured(variant, texts, budget, prior)
                figure[str(budget)] = {"spearman": mean_interval(agreement), "held": mean_interval(held)}
            figures[variant.name] = figure
            agreed = [cell(figure[str(budget)]["spearman"]) for budget in BUDGETS]
            shares = ", ".join(f"{figure[str(budget)]['held']['mean']:.2f}" for budget in BUDGETS)
            rows.append([variant.name, *agreed, shares, f"{density:+.3f}"])
        report["data"][data] = {"texts": len(texts), "variants": figures}
        head = ["variant", *(f"Spearman, {budget} passes" for budget in BUDGETS), "held", "log density"]
        lines += [
            f"**{name}**, {len(texts)} texts of 6 to {LONGEST} tokens, seed {args.seed}:",
            "",
            *grid(head, rows),
            "",
        ]
    write_json(args.output, report)
    write_page(args.page, lines, "variants")


if __name__ == "__main__":
    main()
