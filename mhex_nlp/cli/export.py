# SPDX-License-Identifier: Apache-2.0
"""`mhex export`: a classifier with its explanations as one graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from .process import quiet_libraries
from .say import say

HELP = "write a classifier with its explanations as one graph, for ONNX Runtime, Triton or torch.export"
EXAMPLE = """examples:
  mhex export --model fitted --output exported
  mhex export --model fitted --output exported --int8 --triton
  mhex export --model fitted --output exported --format pt2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex export`."""
    add = parser.add_argument
    add("--model", required=True, help="folder or hub name of a fitted classifier, or one with trained heads")
    add("--output", type=Path, required=True, help="folder for the graph, its tokenizer and its record")
    add("--format", default="onnx", choices=["onnx", "pt2"], help="(default: %(default)s)")
    add("--opset", type=int, help="version of the ONNX standard, 18 or later (default: 20)")
    add("--int8", action="store_true", help="quantise the model's matrices to 8 bits")
    add("--triton", action="store_true", help="write a model repository of Triton Inference Server as well")
    add("--aggregation", default="auto", help="what explains: auto, fitted, mean, last or ema (default: %(default)s)")
    add("--max-length", type=int, help="tokens a text is cut at, by default what the model takes")
    add("--stride", type=int, help="read longer texts in windows that share this many tokens")


@quiet_libraries()
def run(args: argparse.Namespace) -> int:
    """Exports, and says what the scores of the graph are; 0."""
    from ..explain.explainer import MhexExplainer
    from ..explain.explainers import task_of_checkpoint
    from ..integrations.onnx.export import OPSET, export_onnx, export_pt2

    if task_of_checkpoint(args.model) != "sequence_classification":
        raise ValueError(f"--model must be a classifier of texts to be exported, got {args.model}.")
    for name, value in (("--opset", args.opset), ("--int8", args.int8), ("--triton", args.triton)):
        if args.format == "pt2" and value:
            raise ValueError(f"{name} is for --format onnx, got --format pt2.")
    options = {"aggregation": args.aggregation, "max_length": args.max_length, "stride": args.stride}
    explainer = MhexExplainer.from_pretrained(args.model, **options)
    if args.format == "pt2":
        export = export_pt2(explainer, args.output)
    else:
        opset = OPSET if args.opset is None else args.opset
        export = export_onnx(explainer, args.output, opset=opset, int8=args.int8, triton=args.triton)
    say(f"scores: {export.explains}; the graph differs from the model by {export.difference:.1g} at most")
    say(args.output)
    return 0
