# SPDX-License-Identifier: Apache-2.0
"""What `compare_versions` has each of two versions do, in a process of its own: `version_worker.py NAME ARGUMENTS`.

The package may be older than this file, so nothing is imported but its public names and the standard library.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def explain(model: str, texts: list[str], output: str) -> None:
    """Explains the texts in many ways; what every explanation says goes to one file."""
    from mhex_nlp import MhexExplainer

    groups: dict[str, Any] = {}
    for aggregation in ("fitted", "mean", "ema", "last"):
        explainer = MhexExplainer.from_pretrained(model, aggregation=aggregation)
        groups[aggregation] = explainer(texts, classes="all", layers=True)
        groups[f"{aggregation}, alone"] = [explainer(text) for text in texts[:60]]
        groups[f"{aggregation}, pairs"] = explainer(texts[:60], text_pair=texts[60:120], target=0, foil=1)
    groups["windows"] = MhexExplainer.from_pretrained(model, max_length=32, stride=8)(texts[-20:])
    rows = {f"{name}, {index}": figures(one) for name, group in groups.items() for index, one in enumerate(group)}
    Path(output).write_text(json.dumps(rows), "utf-8")


def figures(explanation: Any) -> dict[str, Any]:
    """All numbers, which JSON gives back bit for bit."""
    plain = explanation.to_dict()
    words = [(word.start, word.end, word.score) for word in explanation.words()]
    return {"words": words, **{key: plain[key] for key in ("prediction", "target", "tokens", "sum", "base_value")}}


def write(model: str, texts: list[str], folder: str) -> None:
    """A side-car on a plain model, a spaCy pipeline and a JSONL file, with what they say of the texts."""
    import spacy
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, save_explainer

    texts, target = texts[:120], Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = AutoModelForSequenceClassification.from_pretrained(model).eval()
    plain.save_pretrained(target / "plain")
    with_heads = get_mhex_model(plain, MhexConfig(gate=False))
    fit_equivalent_matrices(with_heads, tokenizer, texts, masks=4, progress=False)
    save_explainer(with_heads, target / "sidecar")
    explanations = MhexExplainer(with_heads, tokenizer)(texts)
    (target / "explanations.jsonl").write_text("".join(f"{e.to_json()}\n" for e in explanations), "utf-8")
    nlp = spacy.blank("en")
    nlp.add_pipe("mhex", config={"model": model})
    nlp.to_disk(target / "pipeline")
    scores = [[token._.mhex for token in nlp(text)] for text in texts[:20]]
    (target / "spacy.json").write_text(json.dumps(scores), "utf-8")


def read(model: str, texts: list[str], folder: str) -> None:
    """What `write` of the other version wrote, loaded and asked again; AssertionError where an answer differs."""
    import spacy
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from mhex_nlp import AutoMhexModelForSequenceClassification, Explanation, MhexExplainer, get_mhex_model

    source = Path(folder)
    loaded = AutoMhexModelForSequenceClassification.from_pretrained(model)
    remote = AutoModelForSequenceClassification.from_pretrained(model, trust_remote_code=True)
    assert type(remote) is type(loaded), "the checkpoint's own word for its class"
    plain = AutoModelForSequenceClassification.from_pretrained(source / "plain").eval()
    with_heads = get_mhex_model(plain, source / "sidecar")
    explanations = MhexExplainer(with_heads, AutoTokenizer.from_pretrained(model))(texts[:120])
    lines = (source / "explanations.jsonl").read_text("utf-8").splitlines()
    for line, explanation in zip(lines, explanations, strict=True):
        stored = Explanation.from_json(line)
        assert Explanation.from_json(stored.to_json()) == stored, "the JSON form"
        assert stored.tokens == explanation.tokens and stored.sum == explanation.sum, "the side-car's scores"
    nlp = spacy.load(source / "pipeline")
    scores = [[token._.mhex for token in nlp(text)] for text in texts[:20]]
    assert scores == json.loads((source / "spacy.json").read_text("utf-8")), "the pipeline's scores"


def serve(model: str, texts: list[str]) -> None:
    """Prints the names of what can be timed, then does what each line of standard input names, and prints it."""
    import torch
    from datasets import Dataset, disable_caching, disable_progress_bars

    from mhex_nlp import MhexExplainer, highlight_dataset

    torch.set_num_threads(os.cpu_count() or 1)
    disable_caching()
    disable_progress_bars()
    explainer = MhexExplainer.from_pretrained(model)
    dataset = Dataset.from_dict({"text": texts[:552]})
    jobs = {
        "highlight_dataset, 552 sentences": lambda: highlight_dataset(dataset, explainer, text_column="text"),
        "one explanation, 40 in a row": lambda: [explainer(text) for text in texts[:40]],
    }
    print(json.dumps(list(jobs)), flush=True)
    for line in sys.stdin:
        jobs[line.strip()]()
        print(line.strip(), flush=True)


if __name__ == "__main__":
    name, model, texts_file, *arguments = sys.argv[1:]
    workers = {"explain": explain, "write": write, "read": read, "serve": serve}
    workers[name](model, json.loads(Path(texts_file).read_text("utf-8")), *arguments)
