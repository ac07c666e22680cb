# SPDX-License-Identifier: Apache-2.0
"""Exported graphs: how near they are to the model, what scores cost beside logits, and what 8 bits change.

    python -m studies.onnx --model MODEL --work WORK --output docs/results/onnx.json --page docs/onnx.md

MODEL is a fitted classifier of texts, such as the one that `mhex demo` leaves. Texts are sentences of the embedded
corpus, for parity joined to mixed lengths. WORK keeps the graphs. Times are for two threads on an idle machine; with
`--only parity,int8` they are left as they were.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mhex_nlp import MhexExplainer
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.explain.skill import Rows, errors, interval, ratio
from mhex_nlp.inputs.subsets import drawn_subsets
from mhex_nlp.integrations.onnx import OnnxExplainer, export_onnx
from mhex_nlp.integrations.onnx.graph_files import open_session, quiet
from mhex_nlp.models.heads import attention_flow
from mhex_nlp.models.hooks import shared_copy

from . import common
from .common import be_quiet, grid, machine, make_parser, mean_interval, span, timed_rounds, write_json, write_page

SIZES = ((1, 16), (1, 32), (1, 64), (1, 128), (8, 32), (8, 128), (1, 256), (1, 512))  # texts, tokens
MOST_SENTENCES = 20  # in a text
PARTS = "parity,latency,throughput,int8"
ATTENTIONS = ("sdpa", "eager")  # of the graphs with logits alone


def main() -> None:
    parser = make_parser(__doc__, "model", "work", texts=200, rounds=40, seed=0, threads=2, only=PARTS)
    options = parser.parse_args()
    be_quiet()
    torch.set_num_threads(options.threads)
    report = json.loads(options.output.read_text("utf-8")) if options.output.is_file() else {}
    explainer = MhexExplainer.from_pretrained(options.model)
    folders = graphs(explainer, options.work)
    texts = mixed_texts(options.texts, options.seed)
    measures = {
        "parity": partial(parity, explainer, folders["float32"], texts),
        "latency": partial(latency, folders, options),
        "throughput": partial(throughput, explainer, folders, options),
        "int8": partial(drift, folders, texts, options.seed),
    }
    for name in options.only.split(","):
        report[name] = {"machine": machine(), "seed": options.seed, **measures[name]()}
        write_json(options.output, report)
    write_page(options.page, tables(report))


def graphs(explainer: MhexExplainer, work: Path) -> dict[str, Path]:
    """The folders of the graphs with scores, and the graph of logits alone, each written once."""
    for name, options in {"float32": {}, "int8": {"int8": True}}.items():
        if not (work / name / "mhex_graph.json").is_file():
            export_onnx(explainer, work / name, **options)
    plain = {attention: work / f"logits-{attention}.onnx" for attention in ATTENTIONS}
    for attention, path in plain.items():
        if not path.is_file():
            write_logits(explainer, path, attention)
    return {"float32": work / "float32", "int8": work / "int8", **plain}


class Logits(torch.nn.Module):
    """The same model without anything that explains."""

    def __init__(self, model: Any, attention: str) -> None:
        super().__init__()
        self.model = shared_copy(model).eval()
        self.model.set_attn_implementation(attention)

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.model(**inputs, output_head_logits=False, return_dict=True).logits


def write_logits(explainer: MhexExplainer, path: Path, attention: str) -> None:
    ids, free = torch.randint(5, 1000, (2, 9)), torch.export.Dim.DYNAMIC
    axes, names = {0: free, 1: free}, ["input_ids", "attention_mask", "token_type_ids"]
    inputs = ids, torch.ones_like(ids), torch.zeros_like(ids)
    with quiet(), torch.no_grad():
        plain = Logits(explainer.model, attention)
        program = torch.export.export(plain, inputs, dynamic_shapes=(axes,) * 3, strict=False)
        graph = torch.onnx.export(
            program, dynamo=True, opset_version=20, input_names=names, output_names=["logits"], verbose=False
        )
        graph.save(str(path))


def mixed_texts(count: int, seed: int) -> list[str]:
    """Sentences alone, and joined: as many texts of one or two as of ten to twenty."""
    sentences, draw = [one.text for one in load_corpus()], np.random.default_rng(seed)
    numbers = np.round(np.exp(draw.uniform(0, np.log(MOST_SENTENCES), count))).astype(int)
    return [" ".join(draw.choice(sentences, number, replace=False)) for number in numbers]


def parity(explainer: MhexExplainer, folder: Path, texts: list[str]) -> dict[str, Any]:
    """The largest differences of explanations, beside the explainer as it is and beside one that merges no rows."""
    ours, merged = OnnxExplainer.from_pretrained(folder, threads=1)(texts), explainer(texts)
    rows, attention_flow.MOST_ROWS = attention_flow.MOST_ROWS, 2**20
    longer = [number for number, one in enumerate(merged) if len(one.tokens) > rows]
    exact = list(merged)
    for number, one in zip(longer, explainer([texts[number] for number in longer]), strict=True):
        exact[number] = one
    attention_flow.MOST_ROWS = rows
    lengths = [len(one.tokens) for one in ours]
    figures: dict[str, Any] = {"texts": len(texts), "tokens": [min(lengths), int(np.median(lengths)), max(lengths)]}
    chances = [
        [abs(a - b) for a, b in zip(probabilities(one), probabilities(other), strict=True)]
        for one, other in zip(ours, exact, strict=True)
    ]
    figures["probabilities"] = float(np.max(chances))
    figures["base_values"] = max(abs(a.base_value - b.base_value) for a, b in zip(ours, exact, strict=True))
    for name, theirs in (("scores", exact), ("scores_beside_merged_rows", merged)):
        figures[name] = max(float(np.abs(a.scores - b.scores).max()) for a, b in zip(ours, theirs, strict=True))
    figures["largest_score"] = max(float(np.abs(one.scores).max()) for one in exact)
    return figures


def probabilities(explanation: Any) -> list[float]:
    return list((explanation.prediction.probabilities or {}).values())


def latency(folders: dict[str, Path], options: Any) -> dict[str, Any]:
    """Seconds of one pass of the graph with scores and of those with logits alone, round by round, by size."""
    plain = {attention: open_session(folders[attention], options.threads) for attention in ATTENTIONS}
    scored = open_session(folders["float32"] / "model.onnx", options.threads)
    draw, sizes = np.random.default_rng(options.seed), []
    for texts, tokens in SIZES:
        ids = draw.integers(1000, 2000, (texts, tokens))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        runs = {attention: partial(session.run, ["logits"], inputs) for attention, session in plain.items()}
        runs["scores"] = partial(scored.run, ["logits", "scores"], inputs)
        seconds = timed_rounds(runs, dict.fromkeys(runs, options.rounds), warm_up=3, seed=options.seed)
        medians = {f"{name}_ms": round(1000 * float(np.median(values)), 3) for name, values in seconds.items()}
        ratios = {attention: common.ratio(seconds["scores"], seconds[attention]) for attention in ATTENTIONS}
        sizes.append({"texts": texts, "tokens": tokens, **medians, "ratios": ratios})
    return {"threads": options.threads, "rounds": options.rounds, "sizes": sizes}


def throughput(explainer: MhexExplainer, folders: dict[str, Path], options: Any) -> dict[str, Any]:
    """Texts a second of whole explanations, from text to Explanation."""
    texts = [one.text for one in load_corpus()][:500]
    runs: dict[str, Any] = {"torch": partial(explainer, texts)}
    for name in ("float32", "int8"):
        runs[name] = partial(OnnxExplainer.from_pretrained(folders[name], threads=options.threads), texts)
    seconds = timed_rounds(runs, dict.fromkeys(runs, max(3, options.rounds // 8)), seed=options.seed)
    rates = {name: round(len(texts) / float(np.median(values)), 1) for name, values in seconds.items()}
    ratios = {f"{name}_ratio": common.ratio(seconds["torch"], seconds[name]) for name in ("float32", "int8")}
    return {"threads": options.threads, "texts": len(texts), "rates": rates, **ratios}


def drift(folders: dict[str, Path], texts: list[str], seed: int) -> dict[str, Any]:
    """What 8 bits change: predictions, scores, and how well scores predict what their own graph does."""
    explainers = {name: OnnxExplainer.from_pretrained(folders[name], threads=1) for name in ("float32", "int8")}
    whole, small = (explainer(texts) for explainer in explainers.values())
    pairs = list(zip(whole, small, strict=True))
    several = [(a, b) for a, b in pairs if len(a.words()) > 2]
    correlations = [np.corrcoef(word_scores(a), word_scores(b))[0, 1] for a, b in several]
    short = [text for text, one in zip(texts, whole, strict=True) if len(one.tokens) <= 64]
    return {
        "texts": len(texts),
        "same_prediction": float(np.mean([a.label == b.label for a, b in pairs])),
        "probability_apart": mean_interval([abs((a.probability or 0) - (b.probability or 0)) for a, b in pairs]),
        "correlation": {**mean_interval(correlations), "median": round(float(np.median(correlations)), 4)},
        "same_first_word": mean_interval([float(first_word(a) == first_word(b)) for a, b in several]),
        "skill": {name: skill_of(explainer, short, seed) for name, explainer in explainers.items()},
        "megabytes": {name: round((folders[name] / "model.onnx").stat().st_size / 1e6, 1) for name in explainers},
    }


def word_scores(explanation: Any) -> list[float]:
    return [word.score for word in explanation.words()]


def first_word(explanation: Any) -> int:
    return int(np.argmax(np.abs(word_scores(explanation))))


def skill_of(explainer: OnnxExplainer, texts: list[str], seed: int, masks: int = 8) -> dict[str, Any]:
    """The paired skill of a graph's scores, by what the same graph says of texts with tokens masked."""
    mask_id, held, request = explainer.tokenizer.mask_token_id, list[Rows](), explainer.request()
    for number, item in enumerate(explainer.tokenise(texts)):
        positions = item.content_positions(request.causal)
        if len(positions) < 2:
            continue
        kept = drawn_subsets(len(positions), masks, [seed, number])
        kept = np.concatenate([kept, np.zeros_like(kept[:1])])
        ids = np.repeat(item.features["input_ids"][None], len(kept), 0)
        ids[:, positions] = np.where(kept, ids[:, positions], mask_id)
        inputs = {name: np.repeat(value[None], len(kept), 0) for name, value in item.features.items()}
        inputs |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        logits, scores = explainer.session.run(["logits", "token_scores"], inputs)
        phi, said = scores[-2][positions], logits
        phi, said = (values - values.mean(-1, keepdims=True) for values in (phi, said))
        sums, values = (kept[:-1].astype(np.float32) @ phi), said[:-1] - said[-1]
        parts = [torch.from_numpy(np.asarray(part)) for part in (sums, values, kept[:-1].sum(1).astype(np.float32))]
        held.append(Rows(*parts, target=int(logits[-2].argmax())))
    squared = errors(torch.eye(held[0].values.shape[1], dtype=torch.float64), held)
    return {"skill": round(ratio(squared), 4), "interval95": [round(end, 4) for end in interval(squared, seed)]}


def tables(report: dict[str, Any]) -> list[str]:
    """The page's part: a table for what was measured."""
    lines: list[str] = []
    if one := report.get("parity"):
        low, middle, high = one["tokens"]
        lines += [
            f"**Parity**, {one['texts']} texts of {low} to {high} tokens (median {middle}), largest difference from "
            f"the explainer in torch: scores {one['scores']:.1e} (the largest score is {one['largest_score']:.2f}), "
            f"base values {one['base_values']:.1e}, probabilities {one['probabilities']:.1e}. In long texts "
            "the explainer merges rows of attention: from it as it is, scores are up to "
            f"{one['scores_beside_merged_rows']:.1e} apart.",
            "",
        ]
    if one := report.get("latency"):
        rows = [
            [str(size["texts"]), str(size["tokens"]), f"{size['scores_ms']:.2f}"]
            + [span(ratio["ratio"], ratio["interval95"]) for ratio in size["ratios"].values()]
            for size in one["sizes"]
        ]
        beside = [f"/ logits alone, {attention}" for attention in ATTENTIONS]
        head = ["texts", "tokens", "logits and scores, ms", *beside]
        lines += [f"**One pass** of ONNX Runtime, medians of {one['rounds']} rounds ({one['machine']})", ""]
        lines += [*grid(head, rows), ""]
    if one := report.get("throughput"):
        ratios = {name: one.get(f"{name}_ratio") for name in one["rates"]}
        rates = [
            [name, f"{rate:.1f}", span(ratios[name]["ratio"], ratios[name]["interval95"]) if ratios[name] else "1"]
            for name, rate in one["rates"].items()
        ]
        lines += [f"**Whole explanations**, texts a second of {one['texts']} sentences ({one['machine']})", ""]
        lines += [*grid(["explainer", "texts/s", "beside torch"], rates), ""]
    if one := report.get("int8"):
        skills = {name: span(figure["skill"], figure["interval95"]) for name, figure in one["skill"].items()}
        rows = [
            ["same prediction", f"{one['same_prediction']:.3f}"],
            ["difference of the probability", common.cell(one["probability_apart"])],
            ["correlation of word scores", common.cell(one["correlation"])],
            ["same strongest word", common.cell(one["same_first_word"])],
            ["skill, float32", skills["float32"]],
            ["skill, int8", skills["int8"]],
            ["megabytes, float32 and int8", f"{one['megabytes']['float32']} and {one['megabytes']['int8']}"],
        ]
        lines += [f"**8 bits** beside float32, {one['texts']} texts, 95 % intervals", "", *grid(["", "figure"], rows)]
    return lines


if __name__ == "__main__":
    main()
