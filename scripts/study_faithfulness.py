# SPDX-License-Identifier: Apache-2.0
"""A first look at faithfulness: the demo's model on the held-out sentences of the embedded corpus, all methods alike.

    ./scripts/demo.sh
    .venv/bin/python scripts/study_faithfulness.py --model demo-output/model --output docs/faithfulness.json

Writes the figures as JSON, and as a table to the file of the same name with .md.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import logging

from mhex_nlp import MhexExplainer
from mhex_nlp.demo.corpus import load_corpus
from mhex_nlp.metrics.games import leave_one_out
from mhex_nlp.metrics.perturbation import comprehensiveness, sufficiency
from mhex_nlp.metrics.ranking import spearman
from mhex_nlp.metrics.shapley import sampled_shapley
from mhex_nlp.metrics.text_values import TextValues, perturb
from mhex_nlp.metrics.values import ModelValues

Scores = Callable[[TextValues], np.ndarray]
RANDOM_SEEDS = 5


def gradients(model: Any, features: dict[str, torch.Tensor], target: int, steps: int, mask_id: int) -> torch.Tensor:
    """(steps, T, H): gradients of the target's centred logit along the line from [MASK] to the text, and the line."""
    embed = model.get_input_embeddings()
    ids = features["input_ids"]
    full = embed(ids)  # (T, H)
    special = features["special"]
    base = torch.where(special[:, None], full, embed(torch.full_like(ids, mask_id)))
    places = torch.ones(1) if steps == 1 else (torch.arange(steps) + 0.5) / steps
    path = (base + places[:, None, None] * (full - base)).detach().requires_grad_()
    logits = model(inputs_embeds=path).logits
    (gradient,) = torch.autograd.grad((logits[:, target] - logits.mean(-1)).sum(), path)
    return torch.stack([gradient.mean(0), (full - base).detach(), full.detach()])


def methods(explainer: MhexExplainer, supervised: MhexExplainer, permutations: int) -> dict[str, Scores]:
    def by_gradient(steps: int, kind: str) -> Scores:
        def scores(text: TextValues) -> np.ndarray:
            special = torch.tensor([token.special for token in text.tokens])
            features = {"input_ids": text.item.features["input_ids"], "special": special}
            mask_id = explainer.tokenizer.mask_token_id
            mean, line, full = gradients(explainer.model, features, text.predicted(), steps, mask_id)
            found = {"path": (mean * line).sum(-1), "norm": mean.norm(dim=-1), "input": (mean * full).sum(-1)}[kind]
            return text.unit_scores(found.detach().numpy())

        return scores

    def explained(by: MhexExplainer) -> Scores:
        return lambda text: text.unit_scores(by(text.item.text).scores)

    def shapley(text: TextValues) -> np.ndarray:
        return sampled_shapley(text.value(output="centred"), text.n, permutations=permutations).values

    return {
        "MHEX, fitted": explained(explainer),
        "MHEX, supervised": explained(supervised),
        "integrated gradients, 50 steps": by_gradient(50, "path"),
        "leave one out": lambda text: leave_one_out(text.value(output="centred"), text.n),
        "gradient norm": by_gradient(1, "norm"),
        "gradient × input": by_gradient(1, "input"),
        f"Shapley, {permutations} permutations": shapley,
    }


def interval(values: np.ndarray, seed: int = 0) -> list[float]:
    draws = values[np.random.default_rng(seed).integers(0, len(values), (5000, len(values)))].mean(1)
    return [round(float(q), 4) for q in np.quantile(draws, [0.025, 0.975])]


def measure(texts: list[TextValues], scores: list[np.ndarray]) -> dict[str, np.ndarray]:
    probabilities = perturb(texts, scores)
    return {
        "comprehensiveness": comprehensiveness(probabilities.full, probabilities.without),
        "sufficiency": sufficiency(probabilities.full, probabilities.only),
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        "# Faithfulness: a first look",
        "",
        f"{report['model']}, fine-tuned by the demo on the embedded corpus; its {report['texts']} held-out sentences, "
        "tokens removed by [MASK], scores for the predicted class, ERASER bins (1, 5, 10, 20, 50 % of the tokens, mean "
        f"over the five). Skill of the fit {report['skill']:.2f} {report['skill_interval']}. 95 % bootstrap intervals "
        f"over the sentences; random is the mean of {RANDOM_SEEDS} seeds; {report['machine']}. Made by "
        "`scripts/study_faithfulness.py`.",
        "",
        "| scores | comprehensiveness ↑ | sufficiency ↓ | Spearman to Shapley ↑ |",
        "|---|---|---|---|",
    ]
    for name, row in report["methods"].items():
        cells = [f"{row[key]['mean']:.3f} {row[key]['interval95']}" for key in ("comprehensiveness", "sufficiency")]
        rank = f"{row['spearman']['mean']:.2f} {row['spearman']['interval95']}"
        lines.append(f"| {name} | {' | '.join(cells)} | {rank} |")
    lines += ["", "One small model and easy sentences: no substitute for a study on real data with several seeds.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--permutations", type=int, default=32)
    parser.add_argument("--texts", type=int, help="only so many")
    args = parser.parse_args()
    logging.set_verbosity_error()
    explainer = MhexExplainer.from_pretrained(args.model, aggregation="fitted")
    supervised = MhexExplainer(explainer.model, explainer.tokenizer, aggregation="mean")
    values = ModelValues(explainer.model, explainer.tokenizer)
    texts = [values.of(sentence.text) for sentence in load_corpus("test")][: args.texts]
    texts = [text for text in texts if text.n > 1]
    found: dict[str, list[np.ndarray]] = {}
    for name, scores in methods(explainer, supervised, args.permutations).items():
        found[name] = [scores(text) for text in texts]
    reference = list(found.values())[-1]
    rows: dict[str, Any] = {}
    draws = [
        [np.random.default_rng([seed, i]).random(text.n) for i, text in enumerate(texts)]
        for seed in range(RANDOM_SEEDS)
    ]
    for name, runs in {**{name: [each] for name, each in found.items()}, "random": draws}.items():
        measured = [measure(texts, run) for run in runs]
        figures = {key: np.mean([each[key] for each in measured], axis=0) for key in measured[0]}
        figures["spearman"] = np.mean(
            [[spearman(a, b) for a, b in zip(run, reference, strict=True)] for run in runs], axis=0
        )
        rows[name] = {
            key: {"mean": round(float(value.mean()), 4), "interval95": interval(value)}
            for key, value in figures.items()
        }
    fit = explainer.model.config.mhex_fit
    report = {
        "model": "all-MiniLM-L6-v2",
        "texts": len(texts),
        "skill": fit["skill"],
        "skill_interval": [round(end, 2) for end in fit["skill_interval"]],
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "methods": rows,
    }
    args.output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    args.output.with_suffix(".md").write_text(table(report), "utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
