# SPDX-License-Identifier: Apache-2.0
"""A LoRA classifier: trained with its heads by a plain Trainer, saved beside the adapter, loaded in one call."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import peft
import torch
from standin import options, small_model, word_tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from mhex_nlp import (
    MhexCallback,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
    mhex_param_groups,
    save_explainer,
)

THINGS = ["the room", "the breakfast", "our host", "the view", "the bed", "the garden"]
GOOD, BAD = ["was lovely", "was superb", "was a delight"], ["was dirty", "was awful", "was a nightmare"]
ENDS = ["on monday", "as usual", "in may"]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = options(__doc__)
    parser.add_argument("--output", help="folder of base, adapter and heads; by default one that goes again")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        return run(args.model, Path(args.output or temporary))


def run(base: str | None, folder: Path) -> dict[str, Any]:
    rows = list(itertools.product(THINGS, [*GOOD, *BAD], ENDS))
    texts, labels = [" ".join(row) for row in rows], [int(row[1] in GOOD) for row in rows]
    if base is None:
        base = str(folder / "base")
        tokenizer = word_tokenizer(texts, r"\w+|[^\w\s]")
        small_model("bert", len(tokenizer), id2label={0: "bad", 1: "good"}, initializer_range=0.2).save_pretrained(base)
        tokenizer.save_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = AutoModelForSequenceClassification.from_pretrained(base, id2label={0: "bad", 1: "good"})
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=8, target_modules=["query", "value", "dense"])
    model = get_mhex_model(peft.get_peft_model(plain, lora), MhexConfig(gate=False))  # heads, trained with the adapter

    data = [{**tokenizer(text), "labels": label} for text, label in zip(texts, labels, strict=True)]
    settings = TrainingArguments(
        str(folder / "run"),
        num_train_epochs=8,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
    )
    trainer = Trainer(
        model,
        settings,
        train_dataset=data,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[MhexCallback()],
        optimizers=(torch.optim.AdamW(mhex_param_groups(model, lr=5e-3, head_lr=1e-2)), None),
    )
    trainer.train()

    fit_equivalent_matrices(model.eval(), tokenizer, texts, attainable_texts=0, held_out=0.2, progress=False)
    adapter = folder / "adapter"
    model.save_pretrained(adapter)  # the adapter, as PEFT has it
    save_explainer(model, adapter)  # heads and fit beside it
    print("saved:", ", ".join(sorted(path.name for path in adapter.iterdir())))

    loaded = MhexExplainer.from_pretrained(str(adapter))  # base, adapter, heads and fit
    before, after = (one("the view was superb as usual") for one in (MhexExplainer(model, tokenizer), loaded))
    print(after)
    print("the same scores to the bit:", before.tokens == after.tokens)
    return {"before": before, "after": after}


if __name__ == "__main__":
    main()
