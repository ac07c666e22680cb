# SPDX-License-Identifier: Apache-2.0
"""DecompX and ALTI for BERT classifiers, written from their papers: one forward pass and arithmetic on what it left.

DecompX (Modarressi et al. 2023) writes each state as a sum of one vector a token, x_i = sum_k x_{i<-k}, and carries
the vectors through all layers and the classifier. Attention weights, standard deviations and act(z) / z are taken from
the pass and held constant, so that every step is linear in the vectors; a bias b is shared among them in proportion to
|b . x_{i<-k}|. ALTI (Ferrando et al. 2022) measures in each layer's attention block how near each token's transformed
vector comes to the block's output, and multiplies these contributions over the layers.

The gates of MHEX heads scale what attention adds, by factors that are constants of the pass like the others.

Both need one pass, but DecompX does T times its arithmetic: at 24, 48 and 100 tokens it took 9, 28 and 66 times a
plain pass, ALTI 1.6, 3 and 6 times (MiniLM of 6 layers, one thread of a busy CPU, medians of 3 to 5 rounds).

Axes: T tokens of one text, K of them as sources (K = T), L layers, N attention heads, D units each, H hidden units, C
labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mhex_nlp.evaluation.benchmark.attention import eager_view
from mhex_nlp.evaluation.metrics.arrays import Floats
from mhex_nlp.evaluation.model_values import TextValues


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """What a pass did with a text, in order of depth.

    `states` (T, H) enter the layers, the last leaves them; `attention` (N, T, T), rows attend to columns; `gates`
    (1, H), ones where there are none; `logits` (C,).
    """

    layers: tuple[Any, ...]
    states: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    gates: tuple[Tensor, ...]
    logits: Tensor


@torch.no_grad()
def forward_pass(text: TextValues) -> ForwardPass:
    """One pass over the whole text; ValueError for another architecture than BERT's."""
    model = text.owner.model
    if model.config.model_type != "bert":
        raise ValueError(
            f"DecompX and ALTI are written for BERT alone, got a model of type {model.config.model_type!r}."
        )
    gates: list[Tensor] = []
    hooks = [
        head.activation.register_forward_hook(lambda module, args, gate: gates.append(gate[0]))
        for head in getattr(model, "mhex", ())
    ]
    try:
        ((_, inputs),) = text.owner.batches([text.item])
        output = eager_view(model)(**inputs, output_attentions=True, output_hidden_states=True, return_dict=True)
    finally:
        for hook in hooks:
            hook.remove()
    layers = tuple(model.bert.encoder.layer)
    ones = torch.ones(1, model.config.hidden_size, device=model.device)
    return ForwardPass(
        layers,
        tuple(state[0] for state in output.hidden_states),
        tuple(weights[0] for weights in output.attentions),
        tuple(gates) or (ones,) * len(layers),
        output.logits[0],
    )


def decompx(text: TextValues, target: int) -> Floats:
    """DecompX's share of each unit in what is explained of a class, signed: (n,) float64."""
    shares, _ = decomposed_logits(text.owner.model, forward_pass(text))
    explained = text.owner.explained(shares, torch.full((len(shares),), target, device=shares.device))
    return text.unit_scores(explained.double().cpu().numpy())


def alti(text: TextValues) -> Floats:
    """ALTI's contribution of each unit to the position that the classifier reads, never negative: (n,) float64."""
    run = forward_pass(text)
    rollout = torch.eye(len(run.states[0]), device=run.states[0].device)
    for depth in range(len(run.layers)):
        rollout = contributions(*transformed_vectors(run, depth)) @ rollout
    return text.unit_scores(rollout[0].double().cpu().numpy())


@torch.no_grad()
def decomposed_states(run: ForwardPass) -> Iterator[Tensor]:
    """(T, K, H) after each layer, row i the vectors that add up to the state of token i; before the first layer too."""
    state = run.states[0]
    parts = torch.eye(len(state), device=state.device)[..., None] * state
    yield parts
    for layer, weights, gate in zip(run.layers, run.attention, run.gates, strict=True):
        added = _attention(parts, layer.attention, weights) * gate[:, None]
        parts = _layer_norm(parts + added, layer.attention.output.LayerNorm)
        inner = _activation(_affine(parts, layer.intermediate.dense), layer.intermediate.intermediate_act_fn)
        parts = _layer_norm(parts + _affine(inner, layer.output.dense), layer.output.LayerNorm)
        yield parts


@torch.no_grad()
def decomposed_logits(model: Any, run: ForwardPass) -> tuple[Tensor, Tensor]:
    """(K, C), each token's share of the logits; and (C,), that of the classifier's bias, which is no token's."""
    *_, parts = decomposed_states(run)
    pooler = model.bert.pooler
    pooled = _activation(_affine(parts[0], pooler.dense), pooler.activation)
    return F.linear(pooled, model.classifier.weight), model.classifier.bias.detach()


@torch.no_grad()
def transformed_vectors(run: ForwardPass, depth: int) -> tuple[Tensor, Tensor]:
    """ALTI's T_i(x_j), (T, T, H): what j adds to i in a layer's attention block; and the block's output y, (T, H).

    Values carry their bias with them; of y, the other biases belong to no token.
    """
    state, weights, gate = run.states[depth], run.attention[depth], run.gates[depth]
    attention = run.layers[depth].attention
    dense, norm = attention.output.dense, attention.output.LayerNorm
    values = attention.self.value(state).unflatten(-1, (len(weights), -1))  # (T, N, D)
    by_head = torch.einsum("jnd,hnd->jnh", values, dense.weight.unflatten(1, (len(weights), -1)))
    moved = torch.einsum("nij,jnh->ijh", weights, by_head) * gate[:, None]
    moved += torch.eye(len(state), device=state.device)[..., None] * state
    whole = moved.sum(1) + dense.bias * gate
    return _linear_part(moved, _deviation(whole, norm), norm), norm(whole)


def contributions(transformed: Tensor, output: Tensor) -> Tensor:
    """(T, T), rows add up to 1: how much nearer T_i(x_j) comes to y_i than nothing does, in L1 norm.

    A row that no vector comes nearer to is the token's own.
    """
    distance = (output[:, None] - transformed).abs().sum(-1)
    nearer = (output.abs().sum(-1, keepdim=True) - distance).clamp(min=0)
    total = nearer.sum(-1, keepdim=True)
    return torch.where(total > 0, nearer / total, torch.eye(len(output), device=output.device))


def _attention(parts: Tensor, attention: Any, weights: Tensor) -> Tensor:
    """Value vectors under fixed weights (N, T, T); their bias reaches every token whole, as its weights add up to 1."""
    value, dense = attention.self.value, attention.output.dense
    values = F.linear(parts, value.weight).unflatten(-1, (len(weights), -1))  # (T, K, N, D)
    mixed = torch.einsum("nij,jknd->iknd", weights, values).flatten(-2)
    return _share_bias(F.linear(mixed, dense.weight), F.linear(value.bias, dense.weight, dense.bias))


def _affine(parts: Tensor, dense: nn.Linear) -> Tensor:
    return _share_bias(F.linear(parts, dense.weight), dense.bias)


def _layer_norm(parts: Tensor, norm: nn.LayerNorm) -> Tensor:
    return _share_bias(_linear_part(parts, _deviation(parts.sum(-2), norm), norm), norm.bias)


def _linear_part(parts: Tensor, deviation: Tensor, norm: nn.LayerNorm) -> Tensor:
    """A layer norm without its bias, of vectors whose sums have the standard deviations (T, 1)."""
    return (parts - parts.mean(-1, keepdim=True)) * (norm.weight / deviation)[:, None]


def _deviation(state: Tensor, norm: nn.LayerNorm) -> Tensor:
    """(T, 1), as the layer norm divides by."""
    return (state.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()


def _activation(parts: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Each unit times act(z) / z for its sum z."""
    whole = parts.sum(-2, keepdim=True)
    return parts * torch.where(whole == 0, 0.0, function(whole) / whole)


def _share_bias(parts: Tensor, bias: Tensor) -> Tensor:
    """Adds a bias to the sum of (..., K, H), shared by |bias . part|; evenly where it is orthogonal to all."""
    overlap = (parts @ bias).abs()
    total = overlap.sum(-1, keepdim=True)
    share = torch.where(total > 0, overlap / total, 1 / parts.shape[-2])
    return parts + share[..., None] * bias
