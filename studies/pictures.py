# SPDX-License-Identifier: Apache-2.0
"""The pictures of README and guide: two sentences highlighted, explanations side by side, and the top of a report.

    ./scripts/demo.sh
    .venv/bin/mhex demo --images --output digits
    .venv/bin/pip install '.[bench]'
    python -m studies.pictures --model demo-output/model --image-demo digits --output pictures

Writes a page for each picture (highlight, methods, versions, classes, and models where there is `--other-model`), a
report of the embedded corpus' sentences that are not for training, beside those that are (`report/`), and
photographs them, and the large image of `--image-demo`, with playwright and a chromium. `--methods` takes one to three
names that `mhex evaluate` knows.
"""

from __future__ import annotations

from pathlib import Path

from mhex_nlp import Explanation, MhexExplainer, ScoredText, TrainingTexts, compare_explanations, write_report
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.evaluation.benchmark import available_methods
from mhex_nlp.evaluation.model_values import ModelValues
from mhex_nlp.render import render_page

from .common import chromium, make_parser

TEXT = "The staff were kind, but the room was noisy and the bed was awful."
REVISED = "The staff were kind, but the room was quiet and the bed was awful."
OTHER = "Slow service, but the cake was superb and the staff were lovely."


def scored_by(explainer: MhexExplainer, explanation: Explanation, methods: list[str]) -> list[ScoredText]:
    """The same text and target, scored by other methods."""
    values = ModelValues(explainer.model, explainer.tokenizer)
    text = values.of(explanation.text)
    places = [(text.tokens[group[0]].start, text.tokens[group[-1]].end) for group in text.units]
    return [
        ScoredText(
            explanation.text,
            [(*place, score) for place, score in zip(places, scores, strict=True)],
            method.label,
            label=explanation.label,
            probability=explanation.probability,
            target=explanation.target.label,
        )
        for method in available_methods(values, explainer, methods)
        for scores in method.explain([text], [explanation.target.id])
    ]


def report_of(explainer: MhexExplainer, folder: Path) -> Path:
    """The index of a report of validation and test sentences, with their domains and the nearest training sentences."""
    sentences = [*load_corpus("validation"), *load_corpus("test")]
    learnt = load_corpus("train")
    return write_report(
        explainer.stream([one.text for one in sentences], ids=[one.id for one in sentences]),
        folder,
        labels=[one.label for one in sentences],
        slices={"domain": [one.domain for one in sentences]},
        title="Sentences the model has not seen",
        train=TrainingTexts(explainer, [one.text for one in learnt], [one.label for one in learnt]),
    )


def main() -> None:
    parser = make_parser(__doc__, "model", page=False, output="folder of the pages and pictures")
    parser.add_argument("--other-model")
    parser.add_argument("--image-demo", type=Path, help="what `mhex demo --images` wrote")
    parser.add_argument("--methods", nargs="+", default=["captum_integrated_gradients"])
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    args = parser.parse_args()
    explainer = MhexExplainer.from_pretrained(args.model)
    explanation, other = explainer([TEXT, OTHER])
    comparisons = {
        "methods": [explanation, *scored_by(explainer, explanation, args.methods)],
        "versions": [explanation, explainer(REVISED)],
        "classes": [explainer(TEXT, target=label) for label in explainer.classes.labels[:2]],
    }
    if args.other_model:
        models = explainer, MhexExplainer.from_pretrained(args.other_model)
        comparisons["models"] = [model(TEXT, target=explanation.target.label) for model in models]
    args.output.mkdir(parents=True, exist_ok=True)
    page = render_page([explanation.to_dict(), other.to_dict()], title="Why?")
    (args.output / "highlight.html").write_text(page, "utf-8")
    for name, explanations in comparisons.items():
        compare_explanations(explanations, title=name.capitalize()).to_html(args.output / f"{name}.html")
    index = report_of(explainer, args.output / "report")
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 1100, "height": 1000}, color_scheme=args.scheme)
        tab.goto(index.resolve().as_uri())
        tab.screenshot(path=str(args.output / "report.png"))
        tab.close()
        if args.image_demo:
            tab = browser.new_page(viewport={"width": 1000, "height": 860}, color_scheme=args.scheme)
            tab.goto((args.image_demo / "image.html").resolve().as_uri())
            tab.screenshot(path=str(args.output / "image.png"))
            tab.close()
        for name in ("highlight", *comparisons):
            file, width = args.output / f"{name}.html", 720 if name == "highlight" else 1280
            view = {"viewport": {"width": width, "height": 400}, "color_scheme": args.scheme}
            tab = browser.new_page(**view, device_scale_factor=2 if name == "highlight" else 1)
            tab.goto(file.resolve().as_uri())
            tab.screenshot(path=str(file.with_suffix(".png")), full_page=True)
            tab.close()
            print(file, file.with_suffix(".png"))


if __name__ == "__main__":
    main()
