# SPDX-License-Identifier: Apache-2.0
"""Whether a graph says what the model says that it was exported from, on a few random texts of several lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...models.eval_mode import run_in_eval_mode
from ...models.heads.attribution import aggregate, depth_weights

TOLERANCE = 1e-4
LENGTHS = ((9, 6), (1,), (17, 3, 12))  # tokens of the texts of each batch


def random_inputs(explainer: Any, names: list[str], lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Random texts of so many tokens, padded, as the graph takes them."""
    generator = torch.Generator().manual_seed(len(lengths))
    rows = len(lengths)
    highest = min(len(explainer.tokenizer), int(explainer.model.get_input_embeddings().num_embeddings))
    ids = torch.randint(highest, (rows, max(lengths)), generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    pad = explainer._batcher.pad or 0
    ids[ids == pad] = (pad + 1) % highest  # a decoder takes it for the end
    ids[~mask] = pad
    others = {name: torch.zeros_like(ids) for name in names[2:]}
    return {"input_ids": ids, "attention_mask": mask.long(), **others}


def difference(explainer: Any, aggregation: str, run: Callable[..., Any], names: list[str]) -> float:
    """The largest difference of the graph's logits and token scores from the model's own.

    Raises:
        RuntimeError: it is above the tolerance, for the size of what is compared.
    """
    largest = 0.0
    for lengths in LENGTHS:
        if len(lengths) > 1 and (explainer._batcher.pad is None or not explainer._batcher.site.pads):
            continue
        inputs = random_inputs(explainer, names, lengths)
        arguments = {name: value for name, value in inputs.items() if name in explainer._batcher.accepts}
        options = {"output_attributions": True, "output_head_logits": aggregation != "fitted", "return_dict": True}
        with torch.inference_mode():
            output = run_in_eval_mode(explainer.model, {**arguments, **options})
        scores = _scores_of(output, aggregation, explainer.model.mhex_config.beta)
        scores = scores * inputs["attention_mask"][..., None]
        logits, _, token_scores = (torch.as_tensor(part) for part in run(inputs))
        for ours, theirs in ((logits, output.logits), (token_scores, scores)):
            apart = float((ours - theirs).abs().max())
            if not apart <= TOLERANCE * max(1.0, float(theirs.abs().max())):
                raise RuntimeError(
                    f"the graph of the family {explainer.model.config.model_type!r} says something else than its "
                    f"model: {apart:.2g} apart, with texts of {lengths} tokens."
                )
            largest = max(largest, apart)
    return largest


def _scores_of(output: Any, aggregation: str, beta: float) -> Tensor:
    """(B, T, C): what an explainer would make of the output of a forward pass."""
    if aggregation == "fitted":
        fitted: Tensor = output.fitted_attributions
        return fitted.sum(2)
    return aggregate(output.layer_attributions, depth_weights(aggregation, output.layer_attributions.shape[2], beta))


def bias_of_heads(explainer: Any, aggregation: str) -> tuple[float, ...]:
    """(C,): what the heads' logits, weighted by depth, are beyond the sum of their scores."""
    inputs = random_inputs(explainer, ["input_ids", "attention_mask"], LENGTHS[1])
    arguments = {name: value for name, value in inputs.items() if name in explainer._batcher.accepts}
    with torch.inference_mode():
        output = run_in_eval_mode(explainer.model, {**arguments, "output_attributions": True, "return_dict": True})
    biases = output.head_logits[0].double() - output.layer_attributions[0].double().sum(0)  # (L, C)
    weights = depth_weights(aggregation, len(biases), explainer.model.mhex_config.beta)
    return tuple((weights[:, None] * biases).sum(0).tolist())
