# SPDX-License-Identifier: Apache-2.0
"""`Dataset.map` with an explainer finds its cache in another process, and only while the explainer says the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from datasets.fingerprint import Hasher

from helpers.families import train_heads
from helpers.tiny import tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexExplainer
from mhex_nlp.training.fitting.fit import fit_equivalent_matrices

SCRIPT = """
import sys
from pathlib import Path
from datasets import load_from_disk
from mhex_nlp import MhexExplainer

data, use, *models = sys.argv[1:]
for model in models:
    explainer = MhexExplainer.from_pretrained(model)
    if use == "used":
        explainer("a film", layers=True, classes="all")
    load_from_disk(data).map(lambda row: {"sum": explainer(row["text"]).sum})
    print(len(list(Path(data).glob("cache-*.arrow"))))
"""


@pytest.mark.slow
def test_another_process_finds_the_cache(tmp_path):
    model = train_heads(tiny_mhex(gate=False)).eval()
    fit_equivalent_matrices(model, tiny_tokenizer(), tiny_texts(30)[0], masks=2, progress=False)
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    Dataset.from_dict({"text": tiny_texts(3)[0]}).save_to_disk(tmp_path / "data")
    (tmp_path / "script.py").write_text(SCRIPT)

    with torch.no_grad():
        model.mhex_fit.constant += 1
    model.save_pretrained(tmp_path / "changed")
    tiny_tokenizer().save_pretrained(tmp_path / "changed")

    def caches(seed: str, use: str, *models: str) -> list[int]:
        """How many caches there are after each of the models, in a process of its own."""
        command = [
            sys.executable,
            tmp_path / "script.py",
            tmp_path / "data",
            use,
            *(tmp_path / name for name in models),
        ]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return [int(line) for line in done.stdout.split()]

    assert caches("1", "new", "model") == [1]
    assert caches("2", "used", "model", "changed") == [1, 2]


def test_the_hash_follows_what_an_explainer_says():
    model, tokenizer = train_heads(tiny_mhex()).eval(), tiny_tokenizer()
    explainer = MhexExplainer(model, tokenizer)
    before = Hasher.hash(explainer)
    for _ in explainer.stream(tiny_texts(9)[0], classes="all", layers=True):
        pass
    assert Hasher.hash(explainer) == before == Hasher.hash(MhexExplainer(model, tokenizer))
    for options in ({"aggregation": "last"}, {"non_negative": True}, {"max_length": 9}, {"max_length": 9, "stride": 2}):
        assert Hasher.hash(MhexExplainer(model, tokenizer, **options)) != before
    with torch.no_grad():
        model.mhex[0].bias += 1
    assert Hasher.hash(explainer) != before
