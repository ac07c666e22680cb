# SPDX-License-Identifier: Apache-2.0
"""`mhex demo --images`: a small vision transformer learns scanned digits, and shows which strokes made it decide.

Experimental. The digits are scikit-learn's: 1,797 scans of 8 x 8 pixels, part of its package; nothing is downloaded.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...corpus.jsonl import write_jsonl
from ...corpus.report import write_image_report
from ...inputs.atomic_files import durable
from ...render import image_page, image_terminal
from ..process import quiet_libraries
from ..say import say
from .output import check_output, put_in_place, scratch

EPOCHS = 15
LEARNING_RATE = 2e-3
SIZE = 32  # pixels a side that the scans are scaled up to
PATCH = 4  # of these make a cell, which is a pixel of the scan
HELD_OUT = 397  # the others, 1,400, are trained on and fitted to
FITTED_TO = 1000  # images are the advice
SHOWN = 2  # on the terminal
JSONL, PAGE, REPORT = "explanations.jsonl", "image.html", "report"


@quiet_libraries()
def run_image_demo(
    output: Path, *, epochs: int = EPOCHS, seed: int = 0, fitted_to: int = FITTED_TO, held_out: int = HELD_OUT
) -> dict[str, Any]:
    """Trains a vision transformer on scanned digits, fits, prints figures and maps, writes files to `output`.

    Writes `model/`, `explanations.jsonl`, `image.html`, `report/` with pages of all held-out digits, and
    `mhex-demo.json`, by which a later demo knows that it may replace them.

    Args:
        output: a new or empty folder, or that of an earlier demo.
        epochs: passes over the 1,400 digits of training.
        seed: of weights, order, split and fit.
        fitted_to: digits of training that the fit learns from.
        held_out: digits that are explained, of those that training never saw.

    Returns:
        the printed figures: accuracy on the held-out digits, and the paired skill of the fit with its interval.
    """
    console, start = Console(), time.perf_counter()
    check_output(output, "images")
    digits, labels = load_digits(seed)
    with scratch(output) as folder:
        say(f"Training a vision transformer of random weights on {len(digits) - HELD_OUT:,} scanned digits ...")
        _train(digits[HELD_OUT:], labels[HELD_OUT:], folder, epochs, seed)
        say("Fitting the equivalent matrices to what the model does when parts of a digit are taken away ...")
        figures = _fit(folder / "model", digits[HELD_OUT:][:fitted_to], seed)
        put_in_place(folder, output, {"task": "images", "seed": seed, "epochs": epochs})
    from ...explain.images.explainer import MhexImageExplainer

    explainer = MhexImageExplainer.from_pretrained(str(output / "model"))
    shown, right = digits[:held_out], [str(label) for label in labels[:held_out]]
    explanations = explainer(shown, ids=[f"digit-{number}" for number in range(len(shown))])
    forms = [explanation.to_dict() for explanation in explanations]
    predicted = [form["prediction"]["label"] for form in forms]
    hits = [answer == label for answer, label in zip(predicted, right, strict=True)]
    figures |= {"images": len(shown), "accuracy": sum(hits) / len(hits)}
    _print_results(console, figures, random.Random(1).sample(forms, min(SHOWN, len(forms))))
    write_jsonl(explanations, output / JSONL)
    first = hits.index(False) if False in hits else 0
    with durable(output / PAGE) as file:
        title = f"A {right[first]}, taken for a {predicted[first]}" if not hits[first] else f"A {right[first]}"
        file.write(image_page(forms[first], shown[first], title=title).encode())
    index = write_image_report(forms, output / REPORT, pixels=shown, labels=right, title="Held-out digits")
    for path, what in ((index, "all held-out digits: open this first"), (output / PAGE, "one digit, large")):
        say(f"  {path}  ({what})")
    for path in (output / JSONL, output / "model"):
        say(f"  {path}")
    say(f"Done in {time.perf_counter() - start:.0f} s.")
    return figures


def load_digits(seed: int = 0) -> tuple[list[Any], list[int]]:
    """All 1,797 digits as RGB pictures of 32 x 32 pixels, and what they are, in an order that the seed draws."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits as load

    scans = load()
    order = np.random.default_rng(seed).permutation(len(scans.images))
    grey = np.round(scans.images[order] * (255 / 16)).astype(np.uint8)
    pictures = [Image.fromarray(one).resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB") for one in grey]
    return pictures, [int(label) for label in scans.target[order]]


def _train(digits: Sequence[Any], labels: Sequence[int], folder: Path, epochs: int, seed: int) -> None:
    """A ViT from its config, with its processor, into `folder / "model"`."""
    from datasets import ClassLabel, Dataset, Features, Image
    from transformers import ViTConfig
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    from ...training import FinetuneConfig, finetune

    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
    ViTConfig(image_size=SIZE, patch_size=PATCH, **sizes).save_pretrained(folder / "config")
    ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(folder / "config")
    features = Features({"image": Image(), "label": ClassLabel(names=[str(digit) for digit in range(10)])})
    finetune(
        FinetuneConfig(
            model=folder / "config",
            data=Dataset.from_dict({"image": list(digits), "label": list(labels)}, features=features),
            output_dir=folder / "model",
            epochs=epochs,
            batch_size=32,
            lr=LEARNING_RATE,
            seed=seed,
            logging_steps=10**6,  # a line after each epoch is enough here
            save_steps=10**6,  # no checkpoints
        )
    )


def _fit(folder: Path, digits: Sequence[Any], seed: int) -> dict[str, Any]:
    """Fits the saved model on digits that it was trained on, which needs no labels; how good the fit is."""
    from ...models.auto import AutoMhexModelForImageClassification
    from ...training.finetuning.images import load_processor
    from ...training.fitting.fit import fit_equivalent_matrices

    model = AutoMhexModelForImageClassification.from_pretrained(folder).eval()
    measured = max(2, len(digits) // 50)
    report = fit_equivalent_matrices(
        model, load_processor(str(folder)), list(digits), seed=seed, attainable_images=measured
    )
    model.save_pretrained(folder)
    return {"skill": report.skill, "skill_interval": tuple(report.skill_interval), "attainable": report.attainable}


def _print_results(console: Console, figures: dict[str, Any], forms: Sequence[dict[str, Any]]) -> None:
    say("")
    for form in forms:
        image_terminal(form, console)
        console.print()
    low, high = figures["skill_interval"]
    best = "" if figures["attainable"] is None else f"; {figures['attainable']:.2f} attainable"
    say(f"Accuracy on {figures['images']} held-out digits: {figures['accuracy']:.3f}")
    say(f"Paired skill of the fit on digits that it held out: {figures['skill']:.2f} [{low:.2f}, {high:.2f}]{best}")
