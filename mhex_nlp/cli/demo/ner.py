# SPDX-License-Identifier: Apache-2.0
"""`mhex demo --task ner`: a real encoder learns to tag entities, and shows which other words made it tag each so."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...corpus.jsonl import write_jsonl
from ...explain.positioned import PositionedExplanation
from ...inputs.atomic_files import durable
from ...render import render_positioned_page, render_positioned_terminal
from ..process import quiet_libraries
from ..say import say
from .encoder import NAME, given_encoder, minilm_path
from .entities import LABELS, TYPES, TaggedSentence, load_entities, names, shown_entities
from .output import check_output, put_in_place, scratch

JSONL, PAGE = "entities.jsonl", "entities.html"
BUDGET = 16  # further passes for each entity shown
MASKS = 16  # subsets of each sentence in the fit: many, since the sentences are few
MASKED_WORDS = 0.3  # share of the sentences that lose some words in training, since explanations ask about such
LEARNING_RATE = 2e-4  # of the backbone
PRINTED, PAGED = 2, 20  # sentences


@quiet_libraries()
def run_ner_demo(output: Path, *, model: Path | None = None, epochs: int = 6, seed: int = 0) -> dict[str, Any]:
    """Fine-tunes the packaged MiniLM on composed sentences, prints figures and entities, writes files to `output`.

    `model` is the folder of an encoder to take in its place.

    Writes `model/`, `entities.html`, `entities.jsonl`, and `mhex-demo.json`, by which a later demo knows that it may
    replace them.

    Returns:
        the printed figures, which `model/metrics.json` holds too.
    """
    console, start = Console(), time.perf_counter()
    check_output(output, "ner")
    encoder, named = minilm_path() if model is None else given_encoder(model), NAME if model is None else model.name
    trained_on, held_out, shown = load_entities("train"), load_entities("test"), shown_entities()
    with scratch(output) as folder:
        say(f"Fine-tuning {named} with MHEX heads on {len(trained_on)} sentences ...")
        tagger, tokenizer = _train(encoder, trained_on, epochs, seed)
        say("Fitting the equivalent matrices to what the model does when words are masked ...")
        figures = _fit(tagger, tokenizer, [sentence.text for sentence in trained_on], seed)
        say(f"Explaining entities, with {BUDGET} further passes for each on the page ...")
        tagger.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        from ...explain.entities import MhexEntityExplainer

        explainer = MhexEntityExplainer.from_pretrained(str(folder / "model"))
        figures |= _agreement(explainer([sentence.text for sentence in held_out]), held_out)
        figures["held_out_skill"] = explainer.judge([sentence.text for sentence in held_out]).skill
        texts = [sentence.text for sentence in (*shown, *held_out)][:PAGED]
        ids = [f"entities-{number}" for number in range(len(texts))]
        explanations = explainer(texts, budget=BUDGET, seed=seed, ids=ids)
        figures |= {"shown": len(shown), "shown_right": _right(explanations[: len(shown)], shown)}
        metrics = {"settings": {"output_dir": "", "epochs": epochs, "seed": seed}, **figures}
        (folder / "model" / "metrics.json").write_text(json.dumps(metrics), "utf-8")
        put_in_place(folder, output, {"task": "ner", "seed": seed, "epochs": epochs})
    _print_results(console, figures, explanations[:PRINTED])
    write_jsonl(explanations, output / JSONL)
    page = render_positioned_page((e.to_dict() for e in explanations), title="Entities of held-out sentences")
    with durable(output / PAGE) as file:
        file.write(page.encode())
    for name in (JSONL, PAGE, "model"):
        say(f"  {output / name}")
    say(f"Done in {time.perf_counter() - start:.0f} s.")
    return figures


def _print_results(console: Console, figures: dict[str, Any], explanations: Sequence[PositionedExplanation]) -> None:
    say("")
    for explanation in explanations:
        render_positioned_terminal(explanation.to_dict(), console)
        console.print()
    say(
        f"Entity F1 on {figures['texts']} held-out sentences, whose templates and names training never saw: "
        f"{figures['f1']:.3f} ({figures['entities']} entities). "
        f"Names of several types: {figures['ambiguous_right']} of {figures['ambiguous']} right."
    )
    say(f"Sentences written to mislead: all entities right in {figures['shown_right']} of {figures['shown']}.")
    best = "" if figures["attainable"] is None else f" ({figures['attainable']:.2f} attainable)"
    say(
        f"Skill of the fit on the words beside an entity, without further passes: {figures['skill']:.2f}{best}; "
        f"on the held-out sentences {figures['held_out_skill']:.2f}."
    )


def _train(encoder: Path, sentences: Sequence[TaggedSentence], epochs: int, seed: int) -> tuple[Any, Any]:
    """The fine-tuned model, in eval mode, and its tokenizer."""
    import torch
    from transformers import (
        AutoTokenizer,
        DataCollatorForTokenClassification,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    from ...models.auto import AutoMhexModelForTokenClassification
    from ...training import MhexCallback, mhex_param_groups

    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    labels = {name: index for index, name in enumerate(LABELS)}
    model = AutoMhexModelForTokenClassification.from_pretrained(
        encoder, id2label=dict(enumerate(LABELS)), label2id=labels
    )
    arguments = TrainingArguments(
        per_device_train_batch_size=16,
        num_train_epochs=epochs,
        seed=seed,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=encode_tagged(tokenizer, sentences),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
        callbacks=[MhexCallback(masked_words=MASKED_WORDS)],
        optimizers=(torch.optim.AdamW(mhex_param_groups(model, LEARNING_RATE)), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return model.eval(), tokenizer


def encode_tagged(tokenizer: Any, sentences: Sequence[TaggedSentence]) -> list[dict[str, Any]]:
    """Features, and the label id of each word at its first token; -100 at other tokens."""
    rows = []
    for sentence in sentences:
        row = tokenizer(sentence.text, return_offsets_mapping=True)
        ids = {start: LABELS.index(label) for start, _, label in sentence.words()}
        offsets = row.pop("offset_mapping")
        rows.append({**row, "labels": [ids.get(start, -100) if start < end else -100 for start, end in offsets]})
    return rows


def _fit(model: Any, tokenizer: Any, texts: Sequence[str], seed: int) -> dict[str, Any]:
    from ...training.fitting.fit import fit_equivalent_matrices

    report = fit_equivalent_matrices(model, tokenizer, texts, masks=MASKS, seed=seed)
    return {"skill": report.skill, "attainable": report.attainable}


def _entities(explanation: PositionedExplanation) -> set[tuple[int, int, str]]:
    return {(one.place.start, one.place.end, one.place.label) for one in explanation if one.place is not None}


def _right(explanations: Sequence[PositionedExplanation], sentences: Sequence[TaggedSentence]) -> int:
    """Sentences of which exactly the right entities are predicted."""
    return sum(_entities(e) == set(s.entities) for e, s in zip(explanations, sentences, strict=True))


def _agreement(
    explanations: Sequence[PositionedExplanation], sentences: Sequence[TaggedSentence]
) -> dict[str, float | int]:
    """F1 of whole entities, type and both ends right; and how many are right whose name is of several types."""
    several = {name for kind in TYPES for name in names("test")[kind][1]}
    right, predicted, gold, ambiguous, ambiguous_right = 0, 0, 0, 0, 0
    for explanation, sentence in zip(explanations, sentences, strict=True):
        said = _entities(explanation)
        hits = said & set(sentence.entities)
        right, predicted, gold = right + len(hits), predicted + len(said), gold + len(sentence.entities)
        ambiguous += sum(sentence.text[start:end] in several for start, end, _ in sentence.entities)
        ambiguous_right += sum(sentence.text[start:end] in several for start, end, _ in hits)
    return {
        "texts": len(sentences),
        "entities": gold,
        "f1": 2 * right / max(1, predicted + gold),
        "ambiguous": ambiguous,
        "ambiguous_right": ambiguous_right,
    }
