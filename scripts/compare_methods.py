# SPDX-License-Identifier: Apache-2.0
"""Pages that put explanations side by side: MHEX, captum and shap; two models; two versions of a text; two classes.

    ./scripts/demo.sh
    .venv/bin/pip install '.[bench]'
    .venv/bin/python scripts/compare_methods.py --model demo-output/model --output comparisons

A second model (`--other-model`) adds `models.html`; `--screenshots` needs playwright and a chromium, and photographs
each page in light and dark, on a desktop and on a phone.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mhex_nlp import Explanation, MhexExplainer, ScoredText, compare_explanations

TEXT = "The staff were kind, but the room was noisy and the bed was awful."
REVISED = "The staff were kind, but the room was quiet and the bed was awful."


def captum_scores(explainer: MhexExplainer, of: Explanation, steps: int = 50) -> ScoredText:
    """Integrated gradients of the target's logit on the word embeddings, from a text of [MASK]."""
    from captum.attr import LayerIntegratedGradients

    model, tokenizer = explainer.model, explainer.tokenizer
    encoding = tokenizer(of.text, return_tensors="pt", return_offsets_mapping=True, return_special_tokens_mask=True)
    offsets, special = encoding.pop("offset_mapping")[0], encoding.pop("special_tokens_mask").bool()
    baseline = torch.where(special, encoding["input_ids"], tokenizer.mask_token_id)

    def logit(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=ids, attention_mask=mask).logits
        return logits[:, of.target.id] - logits.mean(-1)

    scores = LayerIntegratedGradients(logit, model.get_input_embeddings()).attribute(
        encoding["input_ids"], baselines=baseline, additional_forward_args=(encoding["attention_mask"],), n_steps=steps
    )
    return ScoredText.from_offsets(
        of.text,
        offsets,
        scores[0].sum(-1),
        "captum LayerIntegratedGradients",
        label=of.label,
        probability=of.probability,
        target=of.target.label,
    )


def shap_scores(explainer: MhexExplainer, of: Explanation) -> ScoredText:
    """shap's PartitionExplainer, which masks spans; its pieces, joined, are the text."""
    import shap

    model, tokenizer = explainer.model, explainer.tokenizer

    def logits(texts: Any) -> Any:
        with torch.inference_mode():
            found = model(**tokenizer(list(texts), padding=True, return_tensors="pt")).logits
        return (found - found.mean(-1, keepdim=True)).numpy()

    found = shap.Explainer(logits, shap.maskers.Text(tokenizer))([of.text], silent=True)
    ends = np.cumsum([len(piece) for piece in found.data[0]])
    starts = ends - [len(piece) for piece in found.data[0]]
    return ScoredText.from_offsets(
        of.text,
        zip(starts, ends, strict=True),
        found.values[0][:, of.target.id],
        "shap PartitionExplainer",
        label=of.label,
        probability=of.probability,
        target=of.target.label,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--other-model")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--revised", default=REVISED, help="a second version of the text")
    parser.add_argument("--screenshots", action="store_true")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="captum|shap")
    explainer = MhexExplainer.from_pretrained(args.model)
    explanation = explainer(args.text)
    captum, shap = captum_scores(explainer, explanation), shap_scores(explainer, explanation)
    classes = [explainer(args.text, target=label) for label in explainer.classes.labels[:2]]
    pages = {
        "methods": compare_explanations([explanation, captum], title="MHEX beside captum"),
        "three-methods": compare_explanations([explanation, captum, shap], title="Three methods"),
        "versions": compare_explanations(
            [explanation, explainer(args.revised)], names=["first version", "revised"], title="Two versions of a text"
        ),
        "classes": compare_explanations(classes, title="Two classes"),
    }
    if args.other_model:
        other = MhexExplainer.from_pretrained(args.other_model)
        pages["models"] = compare_explanations(
            [explanation, other(args.text, target=explanation.target.label)],
            names=[Path(args.model).parent.name, Path(args.other_model).parent.name],
            title="Two models",
        )
    args.output.mkdir(parents=True, exist_ok=True)
    for name, comparison in pages.items():
        comparison.to_html(args.output / f"{name}.html")
        comparison.show()
        print(args.output / f"{name}.html")
    if args.screenshots:
        photograph([args.output / f"{name}.html" for name in pages])


def photograph(pages: list[Path]) -> None:
    """`<page>-<width>-<scheme>.png` beside each page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        for page_file in pages:
            for width, scheme in ((1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")):
                page = browser.new_page(viewport={"width": width, "height": 400}, color_scheme=scheme)
                page.goto(page_file.resolve().as_uri())
                page.screenshot(path=page_file.with_name(f"{page_file.stem}-{width}-{scheme}.png"), full_page=True)
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
