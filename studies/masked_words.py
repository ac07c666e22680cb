# SPDX-License-Identifier: Apache-2.0
"""What training with masked words gives, and what it costs: plain fine-tuning beside it, from the same seeds.

    python -m studies.masked_words --data DATA --work WORK --output docs/results/masked_words.json \\
        --page docs/masked_words.md

`--data` holds ag_news/ and sst2/, `--work` keeps the models. What is in the output is not done again, so it can be
stopped at any time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback

from mhex_nlp import AutoMhexModelForSequenceClassification, MhexCallback, MhexConfig, fit_equivalent_matrices
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.explain import skill
from mhex_nlp.inputs.removal import random_subsets
from mhex_nlp.training.fitting.attainable import MIN_PAIRS, attainable
from mhex_nlp.training.fitting.equations import EquationSource
from mhex_nlp.training.masked_words import MaskedWords

from . import common
from .accuracy import unpack
from .faithfulness import data as corpus
from .faithfulness.settings import MAX_LENGTH, NAMES, TRAINING

# share of the texts masked, epochs, faithfulness weight, and whether a masked copy joins every text instead
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "masked 0.5": {"share": 0.5},
    "masked 0.3": {"share": 0.3},
    "masked 1": {"share": 1.0},
    "plain, 2 epochs": {"epochs": 2},
    "masked 0.5, 2 epochs": {"share": 0.5, "epochs": 2},
    "masked copies": {"share": 1.0, "copies": True},
    "plain, then 60 steps": {"after": "plain", "max_steps": 60, "warmup_steps": 6},
    "plain, then 60 steps with faithfulness 1": {
        "faithfulness": 1.0,
        "after": "plain",
        "max_steps": 60,
        "warmup_steps": 6,
    },
}
BOTH = ("plain", "masked 0.5")
FURTHER = ("plain, then 60 steps with faithfulness 1", "plain, then 60 steps")
PLAN = [
    *[("ag_news", 0, way, "answers") for way in (*BOTH, *FURTHER)],
    *[("ag_news", 0, way, "sizes") for way in (*BOTH, *FURTHER)],
    *[("sst2", 0, way, "answers") for way in BOTH],
    *[(data, 0, way, "fit") for data in NAMES for way in BOTH],
    *[("ag_news", seed, way, "answers") for seed in (1, 2) for way in BOTH],
    ("ag_news", 0, "masked copies", "answers"),
]
_KEPT = ("10–20 % kept", "40–50 % kept", "70–80 % kept")
JUDGED, SIZED, FIT_TEXTS, MASKS = 40, 12, 1500, 8


class MaskedCopies(MaskedWords):
    """Every text of a batch as it is, and once more with masked words."""

    def _before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        changed = super()._before(module, args, kwargs)
        if changed is None:
            return None
        batch = {name: value for name, value in kwargs.items() if isinstance(value, torch.Tensor) and value.dim()}
        return (), {**kwargs, **{name: torch.cat([batch[name], changed[1][name]]) for name in batch}}


class CopiesCallback(TrainerCallback):
    """Trains with masked copies."""

    def on_train_begin(self, *args: Any, model: Any, processing_class: Any, **kwargs: Any) -> None:
        self.copies = MaskedCopies(model, processing_class, 1.0)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.copies.remove()


class Case:
    """One data set, one seed and one way of training; its model is made once and kept."""

    def __init__(self, data: str, seed: int, way: str, args: Any) -> None:
        self.data, self.seed, self.way = data, seed, way
        self.train, self.test = corpus.read(args.data, data)
        self.folder, after = (self._place(args.work, name) for name in (way, WAYS[way].get("after")))
        self.start = minilm_path() if after is None else after

    def _place(self, work: Path, way: str | None) -> Path | None:
        return None if way is None else work / f"{self.data}-{self.seed}-{way.replace(' ', '-').replace(',', '')}"

    def answers(self) -> dict[str, Any]:
        """Accuracy and attainable skill of the model, which is trained first."""
        model, tokenizer, hits, seconds = self._trained()
        model.save_pretrained(self.folder)
        tokenizer.save_pretrained(self.folder)
        return {
            "accuracy": float(hits.mean()),
            "hits": np.packbits(hits).tobytes().hex(),
            "seconds": round(seconds, 1),
            "attainable": _attainable(model.eval(), tokenizer, corpus.shuffled(self.test, JUDGED, self.seed)),
        }

    def _trained(self) -> tuple[Any, Any, np.ndarray, float]:
        way = WAYS[self.way]
        weight, share = way.get("faithfulness", 0.0), way.get("share", 0.0)
        mask = AutoTokenizer.from_pretrained(minilm_path()).mask_token_id
        settings = MhexConfig(faithfulness_weight=weight, mask_token_id=mask)
        load = AutoMhexModelForSequenceClassification.from_pretrained
        return common.fine_tune(
            SimpleNamespace(from_pretrained=lambda _, **options: load(self.start, mhex=settings, **options)),
            self.train,
            self.test,
            max_length=MAX_LENGTH[self.data],
            seed=self.seed,
            head_rate=True,
            callbacks=[CopiesCallback() if way.get("copies") else MhexCallback(masked_words=share)],
            train_sampling_strategy="group_by_length",
            **TRAINING | {name: way[name] for name in ("epochs", "max_steps", "warmup_steps") if name in way},
        )

    def fit(self) -> dict[str, Any]:
        """Paired skill of a fit on training texts."""
        model = AutoMhexModelForSequenceClassification.from_pretrained(self.folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(self.folder)
        texts = list(corpus.shuffled(self.train, FIT_TEXTS, self.seed)["text"])
        report = fit_equivalent_matrices(
            model, tokenizer, texts, masks=MASKS, seed=self.seed, attainable_texts=0, progress=False
        ).to_dict()
        return {name: report[name] for name in ("skill", "skill_interval", "absolute_skill", "texts", "held_out")}

    def sizes(self) -> dict[str, Any]:
        """How much of the answers the number of kept tokens alone explains, and how much with additive scores."""
        model = AutoMhexModelForSequenceClassification.from_pretrained(self.folder).eval()
        texts = corpus.shuffled(self.test, JUDGED, self.seed)["text"][:SIZED]
        source = _source(model, AutoTokenizer.from_pretrained(self.folder), texts[0])
        rows = []
        with torch.inference_mode():
            for number, text in enumerate(texts):
                tokens = source.content_sizes([text], None)[0]
                masks = 2 * max(2 * (tokens - 1), MIN_PAIRS)
                (row,) = source.rows([text], None, [number], 0, masks)
                rows.append((random_subsets(tokens, masks, [0, number]), row.values.double(), row.target))
        return size_figures(rows)


def size_figures(rows: Sequence[tuple[torch.Tensor, torch.Tensor, int]]) -> dict[str, Any]:
    """Shares of the paired answers' variance about the even spread, of texts' subsets (S, N), values (S, C) and target.

    `additive` is what `attainable` is; `curve` an odd polynomial of the number of kept tokens for each text and label,
    `both` the two together; `halves` the mean square of v(S) - v(N - S), over that of the whole texts' logits; `kept`
    the median v(S) / v(N) of the predicted class where 10 to 20, 40 to 50 and 70 to 80 % of the tokens are kept.
    """
    errors: dict[str, list[tuple[float, float]]] = {"additive": [], "curve": [], "both": []}
    answers, wholes = 0.0, 0.0
    for kept, values, _ in rows:
        half, total = (len(values) - 1) // 2, values[-1].numpy()
        x, y = kept[:half].numpy() * 2.0 - 1, (values[:half] - values[half : 2 * half]).numpy()
        size = x.mean(1, keepdims=True)  # -1 to 1
        even = y - size * total
        tokens = x @ np.linalg.svd(np.ones((1, x.shape[1])))[2][1:].T  # scores that add up to 0
        curve = np.hstack([size - size**3, size - size**5])  # 0 for the whole text
        for name, design in (("additive", tokens), ("curve", curve), ("both", np.hstack([tokens, curve]))):
            solution, _, rank, _ = np.linalg.lstsq(design, even)
            missed = ((even - design @ solution) ** 2).sum() * len(x) / max(len(x) - rank, 1)
            errors[name].append((float(missed), float((even**2).sum())))
        answers, wholes = answers + float((y**2).mean()), wholes + float((total**2).mean())
    shares = {name: np.array(pairs) for name, pairs in errors.items()}
    figures = {
        name: {"skill": skill.ratio(pairs), "interval": skill.interval(pairs, 0)} for name, pairs in shares.items()
    }
    kept_share = torch.cat([kept[:-1].double().mean(1) for kept, _, _ in rows])
    said = torch.cat([values[:-1, target] / values[-1, target] for _, values, target in rows])
    among = {low: (kept_share >= low / 100) & (kept_share < low / 100 + 0.1) for low in (10, 40, 70)}
    medians = {str(low): float(said[chosen].median()) for low, chosen in among.items()}
    return {**figures, "halves": answers / wholes, "kept": medians, "texts": len(rows)}


def _source(model: Any, tokenizer: Any, text: str) -> EquationSource:
    source = EquationSource(model, tokenizer, "mask", MASKS, 4096)
    with torch.inference_mode():
        source.layout = source.find_layout(text, None)
    return source


def _attainable(model: Any, tokenizer: Any, texts: Dataset) -> dict[str, Any]:
    source = _source(model, tokenizer, texts[0]["text"])
    with torch.inference_mode():
        weights = torch.zeros(source.layout.features, model.config.num_labels, dtype=torch.float64)
        numbers = range(len(texts))
        best = attainable(source, weights, list(texts["text"]), None, numbers, passes=10**9, seed=0)
    assert best is not None
    return {name: getattr(best, name) for name in ("skill", "interval", "reliability", "texts")}


def table(report: dict[str, Any]) -> list[str]:
    """A row for each data set and way that has been measured."""
    rows, runs, settings = [], report["runs"], report["settings"]
    for data, way in dict.fromkeys((data, way) for data, _, way, _ in PLAN):
        seeds = [seed for seed in (0, 1, 2) if "answers" in runs.get(f"{data}/{seed}/{way}", {})]
        if not seeds:
            continue
        done = [runs[f"{data}/{seed}/{way}"] for seed in seeds]
        answers, fits = [run["answers"] for run in done], [run["fit"] for run in done if "fit" in run]
        rows.append(
            [
                NAMES[data],
                way,
                ", ".join(map(str, seeds)),
                ", ".join(f"{answer['accuracy']:.4f}" for answer in answers),
                _accuracy_gain(report, data, way, seeds),
                _by_seed([(answer["attainable"]["skill"], answer["attainable"]["interval"]) for answer in answers]),
                ", ".join(f"{answer['attainable']['reliability']:.2f}" for answer in answers),
                _by_seed([(fit["skill"], fit["skill_interval"]) for fit in fits]),
            ]
        )
    head = ("data", "training", "seeds", "accuracy", "accuracy − plain", "attainable", "its reliability", "fit")
    return [
        f"{report['model']} with heads fine-tuned for {settings['epochs']} epoch at batch {settings['batch']} and "
        f"learning rate {settings['lr']:g}, each way from the same seeds. Accuracy on all evaluation texts "
        f"({', '.join(f'{NAMES[data]}: {count:,}' for data, count in report['test_texts'].items())}), the difference "
        "with its 95 % paired bootstrap interval over those texts, of the mean over seeds where there are several. "
        f"Attainable paired skill on {JUDGED} evaluation texts, the same for every way; paired skill of a fit on "
        f"{settings['fit_texts']:,} training texts, {settings['masks']} masks each, a tenth held out; both with 95 % "
        f"bootstrap intervals over texts, a value for each seed. {report['machine']}; made by "
        "`studies/masked_words.py`.",
        "",
        *common.grid(head, rows),
        "",
        *_size_table(runs),
    ]


def _size_table(runs: dict[str, Any]) -> list[str]:
    """What the number of kept tokens explains; nothing where it was not measured."""
    head = ("data, seed, training", "additive scores", "number of kept tokens", "both", "halves / whole", *_KEPT)
    rows = []
    for name, sizes in ((name, run["sizes"]) for name, run in runs.items() if "sizes" in run):
        shares = [common.span(sizes[key]["skill"], sizes[key]["interval"], 2) for key in ("additive", "curve", "both")]
        kept = [f"{value:.2f}" for value in sizes["kept"].values()]
        rows.append([name.replace("/", ", "), *shares, f"{sizes['halves']:.2f}", *kept])
    if not rows:
        return []
    return [
        f"What explains the answers v(S) − v(N−S) about the even spread, on the first {SIZED} of those texts: additive "
        "scores, an odd polynomial of the number of kept tokens (two terms for each text and label), both; errors are "
        "counted by degrees of freedom. Halves / whole: the mean square of those answers over that of the whole texts' "
        "logits. Then the median v(S) / v(N) of the predicted class, by how many of the tokens are kept.",
        "",
        *common.grid(head, rows),
    ]


def _accuracy_gain(report: dict[str, Any], data: str, way: str, seeds: list[int]) -> str:
    """Of the seeds that were trained plainly too; those of all ways have the same evaluation texts."""
    runs, count = report["runs"], report["test_texts"][data]
    both = [seed for seed in seeds if way != "plain" and "answers" in runs.get(f"{data}/{seed}/plain", {})]
    pairs = [[unpack(runs[f"{data}/{seed}/{name}"]["answers"], count) for name in (way, "plain")] for seed in both]
    return "–" if not pairs else common.cell(common.mean_interval(np.mean([a - b for a, b in pairs], 0)), signed=True)


def _by_seed(figures: list[tuple[float, list[float]]]) -> str:
    return "; ".join(common.span(*figure, digits=2) for figure in figures) or "–"


def main() -> None:
    args = common.make_parser(__doc__, "data", "work").parse_args()
    common.be_quiet()
    known = json.loads(args.output.read_text("utf-8"))["runs"] if args.output.exists() else {}
    report: dict[str, Any] = {
        "model": common.MINILM,
        "test_texts": {data: len(corpus.read(args.data, data)[1]) for data in NAMES},
        "settings": {**TRAINING, "max_length": MAX_LENGTH, "fit_texts": FIT_TEXTS, "masks": MASKS},
        "machine": common.machine(),
        "runs": known,
    }
    for data, seed, way, what in PLAN:
        run = report["runs"].setdefault(f"{data}/{seed}/{way}", {})
        if what not in run:
            start = time.perf_counter()
            run[what] = getattr(Case(data, seed, way, args), what)()
            common.write_json(args.output, report)
            shown = {name: value for name, value in run[what].items() if name != "hits"}
            print(f"{data} {seed} {way} {what}: {shown}, {time.perf_counter() - start:.0f} s in all", flush=True)
    common.write_page(args.page, table(report))


if __name__ == "__main__":
    main()
