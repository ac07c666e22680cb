# SPDX-License-Identifier: Apache-2.0
"""`mhex fit`: equivalent matrices fitted to a model's own behaviour."""

from __future__ import annotations

import argparse
from pathlib import Path

from .images import IMAGES, check_kind, fit_images
from .process import quiet_libraries
from .say import say
from .source import FILES, add_columns, add_images, check_columns, load_classifier, read_rows, texts_and_pairs

HELP = "fit a model's equivalent matrices to its own behaviour, without labels"
EXAMPLE = """examples:
  mhex fit --model demo-output/model --data reviews.csv --text-column review --output fitted
  mhex fit --model dslim/bert-base-NER --data sentences.txt --output explained-entities
  mhex fit --model distilbert-base-uncased-finetuned-sst-2-english --data reviews.jsonl --output explained
  mhex fit --model google/vit-base-patch16-224 --images scans --output explained-images
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex fit`."""
    add = parser.add_argument
    add("--model", required=True, help="folder or hub name of a fine-tuned model, with heads or not")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help=f"{FILES}, or name of a dataset")
    source.add_argument("--images", help=IMAGES)
    add("--output", type=Path, required=True, help="folder for the fitted model")
    add_columns(parser)
    add_images(parser)
    add("--masks", type=int, default=8, help="random subsets of each text (default: %(default)s)")
    add("--held-out", type=float, default=0.1, help="share to judge on, and to choose by (default: %(default)s)")
    add("--attainable-texts", type=int, help="texts, or images, that show what is attainable (default: 30, images 20)")
    add("--min-gain", type=float, help="stop when twice as many texts bring less skill than this, such as 0.005")
    add("--max-features", type=int, default=20_000, help="depths are thinned above (default: %(default)s)")
    add("--removal", default="auto", help="auto, mask or attention; of images auto, mean, blur or attention")
    add(
        "--positions",
        default="predicted",
        choices=["predicted", "all"],
        help="of a token classifier, what is learnt from",
    )
    add("--per-text", type=int, default=5, help="of these, in a text at most (default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--device", help="such as cuda:0 (default: cpu)")


@quiet_libraries()
def run(args: argparse.Namespace) -> int:
    """Fits, saves model and tokenizer, prints how good the fit is; 0."""
    from ..explain.explainers import task_of_checkpoint
    from ..models.checkpoint import check_output
    from ..training.fitting.fit import fit_equivalent_matrices

    check_output(args.output)
    if check_kind(args):
        return fit_images(args)
    check_columns(args, task_of_checkpoint(args.model))
    texts, pairs = texts_and_pairs(read_rows(args))
    model, tokenizer = load_classifier(args.model, args.device, add_heads=True)
    names = ("positions", "per_text", "masks", "held_out", "min_gain", "max_features", "removal")
    options = {name: getattr(args, name) for name in (*names, "seed")}
    if args.attainable_texts is not None:
        options["attainable_texts"] = args.attainable_texts
    report = fit_equivalent_matrices(model, tokenizer, texts, pairs, **options)
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    reads = f"{len(report.depths)} depths, {sum(width > 0 for width in report.flow_widths)} of them with writes"
    say(f"reads {reads}; removal by {report.removal}")
    say(report)
    say(args.output)
    return 0
