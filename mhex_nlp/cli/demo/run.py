# SPDX-License-Identifier: Apache-2.0
"""The demo: a real encoder learns the embedded corpus with MHEX heads and explains its own predictions."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...explain.explanation import Explanation
from ...render import render_terminal
from ..process import quiet_libraries
from ..say import say
from ..texts import write_explanations
from .corpus import CorpusSentence, as_dataset, load_corpus
from .encoder import NAME, given_encoder, minilm_path
from .output import check_output, put_in_place, scratch

SHOWN = 6  # sentences on the terminal
MASKS = 16  # subsets of each sentence in the fit: many, since the sentences are few


@quiet_libraries()
def run_demo(
    output: Path, *, model: Path | None = None, epochs: int = 6, seed: int = 0, comparison: bool = True
) -> dict[str, Any]:
    """Fine-tunes the packaged MiniLM on the embedded corpus, prints figures and highlights, writes files to `output`.

    `model` is the folder of an encoder to take in its place.

    Writes `model/`, `report.html`, `explanations.jsonl`, and `mhex-demo.json`, by which a later demo knows that it may
    replace them. With `comparison` the same model is trained a second time without gates and without head loss, which
    is plain fine-tuning: the heads only read, and nothing they do reaches the backbone.

    Returns:
        the printed figures: accuracies on the held-out sentences, the skill of the fit and what is attainable, and the
        share of sentences whose top word lies in the words that people marked, also without the fit and for a word
        drawn at random.
    """
    console, start = Console(), time.perf_counter()
    check_output(output)
    encoder, held_out = minilm_path() if model is None else given_encoder(model), load_corpus("test")
    from ...explain.explainer import MhexExplainer

    figures: dict[str, Any] = {"texts": len(held_out)}
    with scratch(output) as folder:
        named = NAME if model is None else model.name
        console.print(f"Fine-tuning {named} with MHEX heads on the embedded sentences ...", highlight=False)
        _train(encoder, folder / "model", epochs, seed)
        console.print("Fitting the equivalent matrices to what the model does when words are masked ...")
        figures |= _fit(folder / "model", seed)
        if comparison:
            console.print("... and once more without heads, to compare ...")
            _train(encoder, folder / "plain", epochs, seed, gate=False, loss_weight=0.0)
            figures["plain_accuracy"] = _plain_accuracy(MhexExplainer.from_pretrained(str(folder / "plain")), held_out)
        put_in_place(folder, output, {"seed": seed, "epochs": epochs})
    explainer = MhexExplainer.from_pretrained(str(output / "model"))
    explanations = explainer([s.text for s in held_out], layers=True, ids=[s.id for s in held_out])
    supervised = MhexExplainer(explainer.model, explainer.tokenizer, aggregation="mean")([s.text for s in held_out])
    accuracy = _accuracy([explanation.label for explanation in explanations], held_out)
    figures |= {"accuracy": accuracy, **_pointing(explanations, held_out)}
    figures["supervised_pointing"] = _pointing(supervised, held_out)["pointing"]
    _print_results(console, figures, _chosen(explanations, held_out))
    paths = write_explanations(explanations, output, title="Held-out sentences of the embedded corpus")
    for path in [*paths, output / "model"]:
        say(f"  {path}")
    console.print(f"Done in {time.perf_counter() - start:.0f} s.", highlight=False)
    return figures


def _print_results(console: Console, figures: dict[str, Any], explanations: Sequence[Explanation]) -> None:
    console.print()
    for explanation in explanations:
        render_terminal(explanation.to_dict(), console)
        console.print()
    plain = figures.get("plain_accuracy")
    comparison = "" if plain is None else f" (fine-tuned without heads: {plain:.3f})"
    console.print(
        f"Accuracy on {figures['texts']} held-out sentences: {figures['accuracy']:.3f}{comparison}", highlight=False
    )
    best = "" if figures["attainable"] is None else f" ({figures['attainable']:.2f} attainable)"
    console.print(
        f"Top word is one that people marked: {figures['pointing']:.0%} of the sentences "
        f"(without the fit: {figures['supervised_pointing']:.0%}, a random word: {figures['random_pointing']:.0%}); "
        f"skill of the fit {figures['skill']:.2f}{best}",
        highlight=False,
    )


def _train(encoder: Path, folder: Path, epochs: int, seed: int, **options: Any) -> None:
    from datasets import DatasetDict

    from ...training import FinetuneConfig, finetune

    finetune(
        FinetuneConfig(
            model=encoder,
            data=DatasetDict({split: as_dataset(split) for split in ("train", "validation")}),
            output_dir=folder,
            epochs=epochs,
            lr=5e-5,
            seed=seed,
            logging_steps=10**6,  # a line after each epoch is enough here
            save_steps=10**6,  # no checkpoints
            **options,
        )
    )


def _fit(folder: Path, seed: int) -> dict[str, float | None]:
    """Fits the saved model on the sentences it was trained on, which needs no labels; how good the fit is."""
    from ...explain.explainer import MhexExplainer
    from ...training.fitting.fit import fit_equivalent_matrices

    explainer = MhexExplainer.from_pretrained(str(folder))
    texts = [sentence.text for split in ("train", "validation") for sentence in load_corpus(split)]
    report = fit_equivalent_matrices(explainer.model, explainer.tokenizer, texts, masks=MASKS, seed=seed)
    explainer.model.save_pretrained(folder)
    return {"skill": report.skill, "attainable": report.attainable}


def _accuracy(predicted: Sequence[str | None], sentences: Sequence[CorpusSentence]) -> float:
    return sum(label == s.label for label, s in zip(predicted, sentences, strict=True)) / len(sentences)


def _plain_accuracy(explainer: Any, sentences: Sequence[CorpusSentence]) -> float:
    """Its heads were not trained, so only its predictions are of use."""
    import torch

    model, tokenizer = explainer.model, explainer.tokenizer
    with torch.inference_mode():
        texts, longest = [s.text for s in sentences], explainer.max_length
        batch = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        predicted = model(**batch).logits.argmax(-1).tolist()
    return _accuracy([model.config.id2label[index] for index in predicted], sentences)


def _pointing(explanations: Sequence[Explanation], sentences: Sequence[CorpusSentence]) -> dict[str, float]:
    """The share of texts whose highest-scored word overlaps a marked span, and what a random word would reach."""
    hits, chance = 0, 0.0
    for explanation, sentence in zip(explanations, sentences, strict=True):
        marked = [any(w.start < end and start < w.end for start, end in sentence.spans) for w in explanation.words()]
        best = max(range(len(marked)), key=lambda index: explanation.words()[index].score)
        hits += marked[best]
        chance += sum(marked) / len(marked)
    return {"pointing": hits / len(sentences), "random_pointing": chance / len(sentences)}


def _chosen(explanations: Sequence[Explanation], sentences: Sequence[CorpusSentence]) -> list[Explanation]:
    """A few sentences of middling length, of both classes, errors among them as they come."""
    fits = [e for e, s in zip(explanations, sentences, strict=True) if 40 <= len(s.text) <= 110]
    return random.Random(1).sample(fits, min(SHOWN, len(fits)))
