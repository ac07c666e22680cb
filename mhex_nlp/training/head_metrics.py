# SPDX-License-Identifier: Apache-2.0
"""How well each head predicts by itself, and running means of it over the batches of a log interval.

Axes: B texts, L depths, C labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from ..heads import GateActivation
from ..outputs import MhexOutput
from ..supervision import IGNORE_INDEX, deep_supervision_loss, problem_type
from .optimizer import require_heads

_CLOSED, _OPEN = 0.1, 1.9  # beyond these a gate hardly learns any more


def score_name(config: PretrainedConfig) -> str:
    """What `head_scores` gives: "mse" for regression, else "accuracy"."""
    return "mse" if problem_type(config) == "regression" else "accuracy"


def head_scores(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> tuple[Tensor, Tensor]:
    """Each head as a predictor: accuracy, or the mean squared error in regression.

    Args:
        head_logits: (B, L, C).
        labels: as the model takes them; -100 is left out. Several labels: each of them is right or wrong by itself.

    Returns:
        (L,) float32, and () float32: how many labels it was measured on.
    """
    logits, labels = head_logits.detach().float(), labels.to(head_logits.device)
    task, batch, classes = problem_type(config, labels), logits.shape[0], logits.shape[2]
    if task == "single_label_classification":
        labels = labels.reshape(batch, 1)
        right, kept = logits.argmax(-1) == labels, (labels != IGNORE_INDEX)[..., None]  # (B, L), (B, 1, 1)
        right = right[..., None]
    else:
        labels = labels.reshape(batch, 1, classes).float()
        if task == "regression":
            count = logits.new_tensor(float(batch * classes))
            return (logits - labels).square().mean((0, 2)), count
        right, kept = (logits > 0) == (labels > 0.5), labels != IGNORE_INDEX  # (B, L, C), (B, 1, C)
    count = kept.sum().float()
    return (right & kept).sum((0, 2)).float() / count.clamp(min=1), count


def head_losses(head_logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """(L,) float32: each head's share of the deep supervision, whose mean is `supervision_loss`."""
    depths = head_logits.detach().split(1, dim=1)
    return torch.stack([deep_supervision_loss(depth, labels, config) for depth in depths])


class RunningMeans:
    """Weighted means that stay on the device until they are read: no synchronisation per step."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, name: str, value: Tensor, weight: Tensor) -> None:
        """One batch. A value of weight 0 may be NaN: the loss of a batch without any label is."""
        share = torch.where(weight > 0, value.detach().float() * weight, 0.0)
        if name in self._sums:
            total, weights = self._sums[name]
            share, weight = total + share.to(total.device), weights + weight.to(total.device)
        self._sums[name] = share, weight

    def take(self) -> dict[str, list[float]]:
        """The means since the last call, each as a flat list, and begins anew."""
        sums, self._sums = self._sums, {}
        return {name: (total / weight).flatten().tolist() for name, (total, weight) in sums.items() if weight > 0}


class HeadWatch:
    """Forward hooks on a model with heads that average what the heads do, apart for training and evaluation.

    A forward pass without labels is not counted. In training it raises, because then the heads learn nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = require_heads(model)
        self._means = {True: RunningMeans(), False: RunningMeans()}
        self._gates: list[Tensor] = []  # of the forward pass that runs now
        self._handles = [
            self.model.register_forward_pre_hook(self._begin),
            self.model.register_forward_hook(self._end, with_kwargs=True),
            *(m.register_forward_hook(self._gate) for m in self.model.modules() if isinstance(m, GateActivation)),
        ]

    def remove(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._gates = []  # gradient checkpointing leaves those of its recomputation

    @torch.no_grad()
    def _gate(self, module: nn.Module, args: tuple[Any, ...], gate: Tensor) -> None:
        gate = gate.detach().float()
        saturated = (gate < _CLOSED) | (gate > _OPEN)
        self._gates.append(torch.stack([(gate - 1).mean(), (gate - 1).square().mean(), saturated.float().mean()]))

    @torch.no_grad()
    def _end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not isinstance(output, MhexOutput):  # config.return_dict=False
            return
        labels = kwargs.get("labels")
        if labels is None or output.supervision_loss is None or output.head_logits is None:
            if module.training:
                raise ValueError(
                    "a model with MHEX heads must get its labels in training, so that deep_supervision_loss can reach "
                    "the heads: Trainer keeps them back with label_smoothing_factor > 0 or a compute_loss_func; leave "
                    "both out, or add deep_supervision_loss in a loop of your own."
                )
            return
        scores, count = head_scores(output.head_logits, labels, self.model.config)
        means = self._means[module.training]
        means.add("scores", scores, count)
        means.add("losses", head_losses(output.head_logits, labels, self.model.config), count)
        means.add("supervision_loss", output.supervision_loss, count)
        if output.task_loss is not None:
            means.add("task_loss", output.task_loss, count)
        if self._gates:
            device = self._gates[0].device
            means.add("gates", torch.stack([g.to(device) for g in self._gates]).mean(0), count.to(device))

    def take(self, training: bool) -> dict[str, float]:
        """Means over the labelled forward passes of one phase since the last call, by name; empty without any."""
        means = self._means[training].take()
        values: dict[str, float] = {name: means[name][0] for name in ("task_loss", "supervision_loss") if name in means}
        score = score_name(self.model.config)
        for depth, (one, loss) in enumerate(zip(means.get("scores", []), means.get("losses", []), strict=True)):
            values[f"layer_{depth}_{score}"] = one
            values[f"layer_{depth}_loss"] = loss
        if "gates" in means:
            shift, square, saturated = means["gates"]
            values["gate_mean"] = 1 + shift
            values["gate_std"] = max(square - shift**2, 0.0) ** 0.5
            values["gate_saturated"] = saturated
        return values
