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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mhex serve`."""
    add = parser.add_argument
    add("--model", required=True, help="folder or hub name of a model with heads, or folder of an ONNX export")
    add("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine alone)")
    add("--port", type=int, default=8000, help="0 takes a free one, which the log names (default: %(default)s)")
    add("--max-characters", type=int, default=20_000, help="of a text (default: %(default)s)")
    add("--max-texts", type=int, default=64, help="of a request (default: %(default)s)")
    add("--max-bytes", type=int, default=512 * 1024, help="of a request's body (default: %(default)s)")
    add("--max-budget", type=int, default=32, help="passes a request may ask for (default: %(default)s; 0: none)")
    add("--max-waiting", type=int, default=256, help="texts that wait; more are refused (default: %(default)s)")
    add("--batch-texts", type=int, default=32, help="texts that go through the model together (default: %(default)s)")
    add("--separate", action="store_true", help="batch no requests together: slower, and bit-equal to direct calls")
    add("--timeout", type=float, default=30.0, help="seconds for a request (default: %(default)s)")
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

    settings = ServiceSettings(
        max_characters=args.max_characters,
        max_texts=args.max_texts,
        max_bytes=args.max_bytes,
        max_budget=args.max_budget,
        max_waiting=args.max_waiting,
        batch_texts=args.batch_texts,
        mix_requests=not args.separate,
        timeout=args.timeout,
    )
    names = ("aggregation", "max_length", "stride", "batch_tokens", "dtype", "device")
    options = {name: getattr(args, name) for name in names}
    with nullcontext() if is_graph(args.model) else quiet_libraries():  # a graph needs neither torch nor transformers
        serve(args.model, host=args.host, port=args.port, settings=settings, **options)
    return 0
