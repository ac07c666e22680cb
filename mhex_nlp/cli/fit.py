# SPDX-License-Identifier: Apache-2.0
"""`mhex fit`: equivalent matrices fitted to a model's own behaviour."""

from __future__ import annotations

import argparse
from pathlib import Path

_EXAMPLES = """examples:
  mhex fit --model demo-output/model --data reviews.csv --text-column review --output fitted
  mhex fit --model distilbert-base-uncased-finetuned-sst-2-english --data reviews.jsonl --output explained
"""


def add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mhex fit`."""
    parser.epilog, parser.formatter_class = _EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--model", required=True, help="folder or hub name of a fine-tuned classifier, with heads or not"
    )
    parser.add_argument(
        "--data", required=True, help="CSV, TSV, JSON, JSONL, Parquet or text file, or name of a dataset"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the fitted model")
    parser.add_argument("--split", default="train", help="split of a dataset (default: %(default)s)")
    parser.add_argument("--text-column", default="text", help="column of the text (default: %(default)s)")
    parser.add_argument("--text-pair-column", help="column of a second text")
    parser.add_argument("--masks", type=int, default=8, help="random subsets of each text (default: %(default)s)")
    parser.add_argument(
        "--held-out", type=float, default=0.1, help="share of the texts to judge on (default: %(default)s)"
    )
    parser.add_argument(
        "--max-features", type=int, default=8192, help="depths are thinned above (default: %(default)s)"
    )
    parser.add_argument("--removal", default="auto", help="auto, mask or attention (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--device", help="such as cuda:0 (default: cpu)")


def run_fit(args: argparse.Namespace) -> int:
    """Fits, saves model and tokenizer, prints how good the fit is; 0."""
    from transformers import AutoConfig
    from transformers.utils import logging

    from ..corpus.readers.opening import read_texts
    from ..inputs.tokenizer import load_tokenizer
    from ..models.auto import AutoMhexModelForSequenceClassification
    from ..models.config import MhexConfig
    from ..models.devices import resolve
    from ..models.modeling import HEAD_PREFIXES
    from ..training.fitting.fit import fit_equivalent_matrices

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    texts, pairs = read_texts(args.data, args.text_column, args.text_pair_column, args.split)
    device, _ = resolve(args.device, None)
    # heads that are new only read: no prediction of the model changes
    fresh = getattr(AutoConfig.from_pretrained(args.model), "mhex", None) is None
    given = {"mhex": MhexConfig(gate=False)} if fresh else {}
    model, info = AutoMhexModelForSequenceClassification.from_pretrained(args.model, output_loading_info=True, **given)
    if untrained := sorted(key for key in info["missing_keys"] if not key.startswith(HEAD_PREFIXES)):
        raise ValueError(
            f"{args.model} must be a fine-tuned classifier, got one without weights for {', '.join(untrained)}: its "
            "predictions would be random."
        )
    model.to(device)
    tokenizer = load_tokenizer(args.model, None)
    report = fit_equivalent_matrices(
        model,
        tokenizer,
        texts,
        pairs,
        masks=args.masks,
        held_out=args.held_out,
        max_features=args.max_features,
        removal=args.removal,
        seed=args.seed,
    )
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    low, high = report.skill_interval
    reads = f"{len(report.depths)} depths, {sum(width > 0 for width in report.flow_widths)} of them with writes"
    print(f"reads {reads}; removal by {report.removal}")
    print(f"skill {report.skill:.3f} [{low:.3f}, {high:.3f}]  R² {report.r2:.3f}  on {report.held_out} held-out texts")
    if not report.trusted:
        print("The interval reaches 0: do not trust single words; more texts may help.")
    print(args.output)
    return 0
