# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/earlier: what a version leaves on disk, for later versions to read.

    PYTHONPATH=CHECKOUT_OF_THE_VERSION python tests/helpers/earlier.py tests/data/earlier

Uses public names alone, so that any version can run it. The job is killed when it has written its second part.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

NOUNS, TONES = ["film", "plot", "music"], ["very", "not", "good", "fine", "superb", "bad", "poor", "dull"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", *NOUNS, "was", "and", *TONES, "."]
TEXTS = [f"the {noun} was {tone} ." for noun in NOUNS for tone in TONES] * 5
JOB = ["--part-rows", "10", "--format", "jsonl", "--batch-tokens", "256"]


def tokenizer() -> PreTrainedTokenizerFast:
    ids = {word: index for index, word in enumerate(VOCABULARY)}
    words = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=24, **special)


def main(folder: Path) -> None:
    from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, save_explainer

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    plain = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    plain.save_pretrained(folder / "plain")
    tokenizer().save_pretrained(folder / "plain")
    gated = get_mhex_model(plain, MhexConfig(gate=True))
    with torch.no_grad():
        for parameter in gated.mhex.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    fit_equivalent_matrices(gated, tokenizer(), TEXTS[:60], progress=False)
    gated.save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    beside = get_mhex_model(plain, MhexConfig(gate=False))
    fit_equivalent_matrices(beside, tokenizer(), TEXTS[:60], progress=False)
    save_explainer(beside, folder / "sidecar")
    for name, model in (("model", gated), ("sidecar", beside)):
        explanations = MhexExplainer(model, tokenizer())(TEXTS[:24:3], classes="all", layers=True)
        (folder / f"{name}.jsonl").write_text("".join(f"{e.to_json()}\n" for e in explanations), "utf-8")
    write_pipeline(folder)
    kill_job(folder)


def write_pipeline(folder: Path) -> None:
    import os

    import spacy

    os.chdir(folder)  # the pipeline names its model: not by a path of this machine
    nlp = spacy.blank("en")
    nlp.add_pipe("mhex", config={"model": "model"})
    nlp.to_disk("pipeline")
    for path in [Path("pipeline/tokenizer"), *Path("pipeline/vocab").iterdir()]:  # spaCy's own, none of ours
        path.unlink()
    Path("pipeline/vocab").rmdir()
    scores = [[token._.mhex for token in nlp(text)] for text in TEXTS[:24:3]]
    Path("pipeline.json").write_text(json.dumps(scores) + "\n", "utf-8")


def kill_job(folder: Path) -> None:
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    command = [sys.executable, "-m", "mhex_nlp", "highlight", "--model", "model", "--data", "rows.jsonl"]
    process = subprocess.Popen([*command, "--output", "job", *JOB], cwd=folder)
    while len(list((folder / "job").glob("part-*.jsonl"))) < 2:
        time.sleep(0.001)
    process.kill()
    process.wait()


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True)
    main(target)
