# SPDX-License-Identifier: Apache-2.0
"""Several positions explained in one pass, against a plain one: `python -m studies.positions.cost [rounds] [threads]`.

MiniLM as a token classifier of seven labels with random heads and matrices, one text a batch. Rounds are paired: each
times the plain model and ours one after the other; the median of the rounds' ratios is printed with its quartiles.
"""

from __future__ import annotations

import sys
import time

import torch
from transformers import BertForTokenClassification

from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.models.heads.readout import FeatureLayout

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
def main(rounds: int = 60, threads: int = 1) -> None:
    """Prints a row for each length and number of places."""
    torch.set_num_threads(threads)
    plain, model = fitted_model()
    print("tokens  places  plain ms  ours / plain [quartiles]")
    for tokens in (32, 128):
        ids = torch.randint(1000, 20000, (1, tokens))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "return_dict": True}
        for places in (1, 10, tokens):
            positions = torch.linspace(0, tokens - 1, places).long()[None]
            ours = {**inputs, "positions": positions, "output_attributions": True, "output_head_logits": False}
            ratios, base = [], []
            for number in range(rounds + 3):
                start = time.perf_counter()
                plain(**inputs)
                middle = time.perf_counter()
                model(**ours)
                end = time.perf_counter()
                if number >= 3:
                    base.append(middle - start)
                    ratios.append((end - middle) / (middle - start))
            low, median, high = torch.tensor(ratios).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
            milliseconds = 1000 * torch.tensor(base).median().item()
            print(f"{tokens:6}  {places:6}  {milliseconds:8.1f}  {median:.3f} [{low:.3f}, {high:.3f}]", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
