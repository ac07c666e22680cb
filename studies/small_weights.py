# SPDX-License-Identifier: Apache-2.0
"""What a model in 8 or 4 bits loses: predictions, and the skill of its explanations, beside the full model's.

    python -m studies.small_weights --model MODEL --data SST2 --output docs/results/small_weights.json \\
        --page docs/small_weights.md

`--model` is a fine-tuned MiniLM with a fit, such as `mhex demo --output` makes, `--data` the folder of `train.tsv`,
`dev.tsv` and `test.tsv` (a sentence, a tab, 0 or 1 a line). Weights are quantised by torchao as transformers loads
them. All rows judge the same test texts: with the matrices of the full model's fit, and with a fit of their own. Rows
that are in `--output` already are not measured again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, TorchAoConfig

from mhex_nlp import AutoMhexModelForSequenceClassification, MhexExplainer, fit_equivalent_matrices
from mhex_nlp.evaluation.metrics.ranking import rank_agreement
from mhex_nlp.inputs.folders import read_object
from mhex_nlp.models.weights_hash import stored_tensors

from .common import be_quiet, cell, grid, machine, make_parser, mean_interval, read_sst2, span, write_json, write_page

KINDS = {
    "full": "32 bits",
    "int8": "8 bits (int8, weights only)",
    "int4": "4 bits (groups of 32, weights only)",
}
MASKS = 8


def main() -> None:
    parser = make_parser(__doc__, "model", "data", texts=400, fit=400, judged=60, seed=0)
    args = parser.parse_args()
    be_quiet()
    report: dict[str, Any] = {
        "model": Path(args.model).name,
        "machine": machine(),
        "options": {name: getattr(args, name) for name in ("texts", "fit", "judged", "seed")} | {"masks": MASKS},
        "rows": {},
    }
    before = read_object(args.output)
    if all(before.get(key) == report[key] for key in ("model", "machine", "options")):  # goes on where it was stopped
        report["rows"] = before["rows"]
    kinds = [kind for kind in KINDS if kind not in report["rows"]]
    for kind, figures in measure(args.model, args.data, args.texts, args.fit, args.judged, args.seed, kinds):
        report["rows"][kind] = figures
        write_json(args.output, report)
        print(kind, figures, flush=True)
    write_page(args.page, table(report))


def load(folder: str, kind: str) -> Any:
    """The model with heads and fit, its weights stored in so many bits."""
    if kind == "full":
        return AutoMhexModelForSequenceClassification.from_pretrained(folder).eval()
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig
    from torchao.quantization.granularity import PerGroup

    eight = Int8WeightOnlyConfig(version=2)
    four = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))
    settings = TorchAoConfig(eight if kind == "int8" else four)
    return AutoMhexModelForSequenceClassification.from_pretrained(folder, quantization_config=settings).eval()


def measure(
    folder: str, data: Path, count: int, fit: int, judged: int, seed: int, kinds: Sequence[str] = tuple(KINDS)
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Figures of each of these kinds of weights."""
    tokenizer, draw = AutoTokenizer.from_pretrained(folder), np.random.default_rng(seed)
    test, train = read_sst2(data / "test.tsv").shuffle(seed=seed), read_sst2(data / "train.tsv")
    texts, labels = list(test["text"][:count]), np.asarray(test["label"][:count])
    learnt = [train["text"][int(index)] for index in draw.permutation(len(train))[:fit]]
    first = list(MhexExplainer(load(folder, "full"), tokenizer).stream(texts, target=1)) if kinds else []
    for kind in kinds:
        model = load(folder, kind)
        explainer = MhexExplainer(model, tokenizer, changed_weights="note")
        explanations = list(explainer.stream(texts, target=1))
        right = np.asarray([one.prediction.id for one in explanations]) == labels
        same = [one.prediction.id == other.prediction.id for one, other in zip(explanations, first, strict=True)]
        figures: dict[str, Any] = {
            "megabytes": round(sum(part.nbytes for part in stored(model)) / 2**20, 1),
            "accuracy": mean_interval(right.astype(float)),
            "same_prediction": mean_interval(np.asarray(same, dtype=float)),
        }
        long = [index for index, one in enumerate(explanations) if len(one.tokens) > 4]
        figures["spearman"] = mean_interval(
            rank_agreement([explanations[i].scores for i in long], [first[i].scores for i in long])
        )
        figures["fit_of_full"] = judgement(explainer, texts[:judged], seed)
        fit_equivalent_matrices(model, tokenizer, learnt, masks=MASKS, seed=seed, attainable_texts=0, progress=False)
        figures["own_fit"] = judgement(MhexExplainer(model, tokenizer), texts[:judged], seed)
        yield kind, figures


def stored(model: Any) -> Iterator[torch.Tensor]:
    """The tensors that weights without heads and fit consist of."""
    for name, value in model.state_dict().items():
        if not name.startswith("mhex"):
            yield from (part for _, part in stored_tensors(name, value))


def judgement(explainer: MhexExplainer, texts: Sequence[str], seed: int) -> dict[str, Any]:
    """The paired skill on these texts with its interval."""
    said = explainer.judge(texts, seed=seed)
    return {"skill": round(said.skill, 4), "interval95": [round(end, 4) for end in said.skill_interval]}


def table(report: dict[str, Any]) -> list[str]:
    """The Markdown of a report."""
    options = report["options"]
    rows = [
        [
            KINDS[kind],
            f"{row['megabytes']:.1f}",
            cell(row["accuracy"]),
            cell(row["same_prediction"]),
            cell(row["spearman"]),
            *(span(row[fit]["skill"], row[fit]["interval95"]) for fit in ("fit_of_full", "own_fit")),
        ]
        for kind, row in report["rows"].items()
    ]
    skills = ["skill, fit of 32 bits", "skill, own fit"]
    head = ["weights", "MB", "accuracy", "same prediction", "Spearman of scores", *skills]
    return [
        f"SST-2, {options['texts']} test texts, of which {options['judged']} judge the skill; own fits of "
        f"{options['fit']} training texts with {options['masks']} masks; MiniLM, seed {options['seed']}; 95 % "
        f"bootstrap intervals. {report['machine']}. Made by `studies/small_weights.py`.",
        "",
        *grid(head, rows),
    ]


if __name__ == "__main__":
    main()
