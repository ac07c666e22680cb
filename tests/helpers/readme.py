# SPDX-License-Identifier: Apache-2.0
"""Runs the Python of README.md as it stands there, with small things for what it takes as given.

    python tests/helpers/readme.py README.md MODEL

MODEL is the folder of a fitted classifier, whose labels may be any two, with its tokenizer. Needs neither pytest nor
the rest of `tests/`, so that it runs where only the package is installed.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(page: Path) -> list[str]:
    """Its Python, block by block, in order."""
    return BLOCK.findall(page.read_text("utf-8"))


def given(model: Path) -> dict[str, Any]:
    """What README's lines take as given, by name."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments

    from mhex_nlp import AutoMhexModelForSequenceClassification, MhexExplainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [
        f"the {thing} was {how} ."
        for thing in ("film", "plot", "music", "acting", "room")
        for how in ("good", "bad", "dull", "lovely", "fine", "awful")
    ]
    rows = Dataset.from_dict({"text": texts[:8], "labels": [0, 1, 2, 3] * 2})
    rows = rows.map(lambda batch: tokenizer(batch["text"]), batched=True, remove_columns="text")
    return {
        "MhexExplainer": MhexExplainer,
        "args": TrainingArguments("out", max_steps=1, use_cpu=True, report_to="none", disable_tqdm=True),
        "train": rows,
        "dev": rows,
        "tokenizer": tokenizer,
        "fitted": AutoMhexModelForSequenceClassification.from_pretrained(model),
        "deployed": AutoModelForSequenceClassification.from_pretrained(model).eval(),
        "dataset": Dataset.from_dict({"text": texts[:4]}),
        "ds": Dataset.from_dict({"review": texts[:4]}),
        "texts": texts,
        "other_texts": texts[:5],
        "text": texts[0],
        "premise": texts[0],
        "hypothesis": texts[1],
    }


def run(page: Path, model: Path, most: int | None = None) -> int:
    """Runs the blocks, or the first `most`, one after the other in a folder of their own; how many there are."""
    names, blocks = given(model), blocks_of(page)[:most]
    labels = names["deployed"].config.id2label
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for number, block in enumerate(blocks):
                names["model"] = names["fitted"]  # a block that fits or trains one says so
                code = block.replace('"runs/mood-fitted"', repr(str(model))).replace('"roberta-base"', repr(str(model)))
                code = code.replace("num_labels=4", "num_labels=4, ignore_mismatched_sizes=True")
                code = code.replace('"negative"', repr(labels[0])).replace('"positive"', repr(labels[1]))
                exec(compile(code, f"{page.name}, Python block {number + 1}", "exec"), names)
        finally:
            os.chdir(before)
    return len(blocks)


if __name__ == "__main__":
    print(f"{run(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())} blocks of Python ran.")
