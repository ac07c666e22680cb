# SPDX-License-Identifier: Apache-2.0
"""Several positions explained in one pass, against a plain one, in paired rounds.

    python -m studies.positions.cost --output docs/results/positions_cost.json

MiniLM as a token classifier of seven labels with random heads and matrices, one text a batch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import BertForTokenClassification

from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.models.heads.readout import FeatureLayout

from ..common import MINILM, be_quiet, machine, make_parser, ratio, timed_rounds, write_json

LABELS = 7


def fitted_model() -> tuple[torch.nn.Module, torch.nn.Module]:
    """The plain model, and it with heads that only read and random matrices."""
    torch.manual_seed(0)
    plain = BertForTokenClassification.from_pretrained(minilm_path(), num_labels=LABELS).eval()
    model = get_mhex_model(plain, MhexConfig(gate=False)).eval()
    layers, width = plain.config.num_hidden_layers, plain.config.hidden_size
    depths = tuple(range(layers + 2))
    layout = FeatureLayout(depths, (width,) * len(depths), (0, *(width,) * layers, 0), "position").with_own_states(4)
    record = {"depths": depths, "widths": layout.widths, "flow_widths": layout.flow_widths, "at": "position"}
    model.add_readout({**record, "task": "token_classification"}, torch.randn(layout.features, LABELS) * 0.01)
    return plain, model


@torch.inference_mode()
def main() -> None:
    """Writes the ratio of each length and number of places."""
    options = make_parser(__doc__, page=False, rounds=60, threads=1).parse_args()
    be_quiet()
    torch.set_num_threads(options.threads)
    plain, model = fitted_model()
    report: dict[str, Any] = {"machine": machine(), "model": MINILM, "labels": LABELS, "rounds": options.rounds}
    for tokens in (32, 128):
        ids = torch.randint(1000, 20000, (1, tokens))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "return_dict": True}
        runs: dict[Any, Any] = {"plain": partial(plain, **inputs)}
        for places in (1, 10, tokens):
            positions = torch.linspace(0, tokens - 1, places).long()[None]
            ours = {"positions": positions, "output_attributions": True, "output_head_logits": False}
            runs[f"{places} places"] = partial(model, **inputs, **ours)
        seconds = timed_rounds(runs, dict.fromkeys(runs, options.rounds), warm_up=5)
        for name in list(runs)[1:]:
            report[f"{tokens} tokens, {name}"] = ratio(seconds[name], seconds["plain"])
    write_json(options.output, report)


if __name__ == "__main__":
    main()
