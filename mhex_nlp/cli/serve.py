# SPDX-License-Identifier: Apache-2.0
"""`mhex serve`: a web service whose predictions come with their explanations."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from .process import quiet_libraries

HELP = "serve a model over HTTP, predictions with their explanations"
EXAMPLE = """examples:
  mhex serve --model demo-output/model --port 8000
  curl "http://127.0.0.1:8000/predict?explain=true" -H "Content-Type: application/json" \\
       -d '{"text": "The soup was cold, but the staff were lovely."}'

Other paths: /healthz, /readyz, /metrics, /openapi.json. Logs are lines of JSON on standard error, without any text.
SIGTERM and Ctrl-C finish the requests that were taken, and end with exit status 0.
"""
_LIMITS = {
    "max_characters": "of a text",
    "max_texts": "of a request",
    "max_bytes": "of a request's body",
    "max_budget": "passes over each text that a request may ask for; 0 for none",
    "max_waiting": "texts that wait for the model; more are refused",
    "batch_texts": "texts of several requests that are explained together",
    "timeout": "seconds for a request",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex serve`."""
    from ..integrations.service.settings import ServiceSettings

    add, usual = parser.add_argument, ServiceSettings()
    add("--model", required=True, help="folder or hub name of a model with heads, or folder of an ONNX export")
    add("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine alone)")
    add("--port", type=int, default=8000, help="0 takes a free one, which the log names (default: %(default)s)")
    for name, meaning in _LIMITS.items():
        value = getattr(usual, name)
        add(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"{meaning} (default: {value})")
    add("--separate", action="store_true", help="batch no requests together: slower, and bit-equal to direct calls")
    add("--aggregation", help="auto, fitted, mean, last or ema (default: auto)")
    add("--max-length", type=int, help="tokens a text is cut at; by default what the model takes")
    add("--stride", type=int, help="read longer texts in windows that share this many tokens, instead of cutting them")
    add("--batch-tokens", type=int, help="tokens in a pass; by default 1024 on a CPU, else 4096")
    add("--dtype", help="float32, bfloat16 or float16; by default the checkpoint's")
    add("--device", help="such as cuda:0; by default the CPU")


def run(args: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    from ..integrations.service import ServiceSettings, serve
    from ..integrations.service.served import is_graph

    settings = ServiceSettings(**{name: getattr(args, name) for name in _LIMITS}, mix_requests=not args.separate)
    names = ("aggregation", "max_length", "stride", "batch_tokens", "dtype", "device")
    options = {name: getattr(args, name) for name in names}
    with nullcontext() if is_graph(args.model) else quiet_libraries():  # a graph needs neither torch nor transformers
        serve(args.model, host=args.host, port=args.port, settings=settings, **options)
    return 0
