# SPDX-License-Identifier: Apache-2.0
"""Forward hooks that average what the heads do over the batches of a log interval."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ..models.heads.head import GateActivation
from ..models.outputs import MhexOutput
from ..models.tasks import module_of
from .head_metrics import head_losses, head_scores, score_name
from .optimizer import require_heads

_CLOSED, _OPEN = 0.1, 1.9  # beyond these a gate hardly learns any more


class RunningMeans:
    """Weighted means that stay on the device until they are read: no synchronisation per step."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, name: str, value: Tensor, weight: Tensor) -> None:
        """One batch. A value of weight 0 may be NaN: the loss of a batch without any label is."""
        self._add(name, torch.where(weight > 0, value.detach().float() * weight, 0.0), weight)

    def merge(self, other: RunningMeans) -> None:
        """Adds what `other` holds and empties it."""
        sums, other._sums = other._sums, {}
        for name, (total, weight) in sums.items():
            self._add(name, total, weight)

    def _add(self, name: str, share: Tensor, weight: Tensor) -> None:
        if name in self._sums:
            total, weights = self._sums[name]
            share, weight = total + share.to(total.device), weights + weight.to(total.device)
        self._sums[name] = share, weight

    def take(self) -> dict[str, list[float]]:
        """The means since the last call, each as a flat list, and begins anew."""
        sums, self._sums = self._sums, {}
        return {name: (total / weight).flatten().tolist() for name, (total, weight) in sums.items() if weight > 0}


class IdleHook:
    """A hook that idles once the owner of its method is gone, and in copies of the model, pickled or not."""

    def __init__(self, method: Callable[..., Any] | None = None) -> None:
        self._method = None if method is None else weakref.WeakMethod(method)

    @torch.compiler.disable
    def __call__(self, *args: Any) -> Any:
        method = None if self._method is None else self._method()
        return None if method is None else method(*args)

    def __reduce__(self) -> tuple[type[IdleHook], tuple[()]]:
        return IdleHook, ()


class _Pass(threading.local):
    """The forward pass that runs in this thread: its gates; `None` between passes, when checkpointing recomputes."""

    gates: list[Tensor] | None = None


class HeadWatch:
    """Averages what the heads of a model do, apart for training and evaluation, for as long as somebody holds it.

    A forward pass counts once the trainer says that it was one of its own: of all those since `step_begins` at
    `step_ends`, of the last one in evaluation mode at `evaluated`. So passes that others run, while training is
    interrupted or over, neither count nor disturb. One without labels never counts.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = require_heads(model)
        self._task = module_of(self.model)
        self._running = {True: RunningMeans(), False: RunningMeans()}  # of passes nobody has claimed yet
        self._means = {True: RunningMeans(), False: RunningMeans()}
        self._labelled, self._unlabelled = False, False  # passes of the step that runs now
        self._pass = _Pass()
        gates = [module for module in self.model.modules() if isinstance(module, GateActivation)]
        hooks = ExitStack()
        hooks.enter_context(self.model.register_forward_pre_hook(IdleHook(self._begin)))
        hooks.enter_context(self.model.register_forward_hook(IdleHook(self._end), with_kwargs=True))
        for gate in gates:
            hooks.enter_context(gate.register_forward_hook(IdleHook(self._gate)))
        self.remove: Callable[[], object] = weakref.finalize(self, hooks.close)

    def step_begins(self) -> None:
        """An optimiser step of the trainer begins."""
        self._running[True] = RunningMeans()
        self._labelled = self._unlabelled = False

    def check_step(self) -> None:
        """ValueError where the model got no labels in this step, so that the heads would learn nothing."""
        if self._unlabelled and not self._labelled:
            raise ValueError(
                "a model with MHEX heads must get its labels in training, so that deep_supervision_loss can reach "
                "the heads: Trainer keeps them back with label_smoothing_factor > 0 or a compute_loss_func; leave "
                "both out, or add deep_supervision_loss in a loop of your own."
            )

    def step_ends(self) -> None:
        """The forward passes since `step_begins` count."""
        self._means[True].merge(self._running[True])

    def evaluated(self) -> None:
        """The last forward pass in evaluation mode counts."""
        self._means[False].merge(self._running[False])

    def drop(self, training: bool) -> None:
        """Forgets the means of one phase."""
        self._means[training] = RunningMeans()

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._pass.gates = []

    @torch.no_grad()
    def _gate(self, module: nn.Module, args: tuple[Any, ...], gate: Tensor) -> None:
        gate = gate.detach().float()
        saturated = (gate < _CLOSED) | (gate > _OPEN)
        shares = torch.stack([(gate - 1).mean(), (gate - 1).square().mean(), saturated.float().mean()])
        if self._pass.gates is not None:
            self._pass.gates.append(shares)

    @torch.no_grad()
    def _end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        gates, self._pass.gates = self._pass.gates, None
        if module is not self.model and not getattr(module, "_is_replica", False):
            return  # a view, through which others run the model in evaluation mode
        if not module.training and module is self.model:  # replicas of DataParallel make one pass together
            self._running[False] = RunningMeans()
        means = self._running[module.training]
        if not isinstance(output, MhexOutput):  # return_dict=False
            return
        labels = self._task.labels_in(kwargs)
        if labels is None or output.supervision_loss is None or output.head_logits is None:
            self._unlabelled |= module.training
            return
        self._labelled |= module.training
        said = (output.head_logits, labels, self.model.config, self._task)
        scores, count = head_scores(*said)
        means.add("scores", scores, count)
        means.add("losses", head_losses(*said), count)
        means.add("supervision_loss", output.supervision_loss, count)
        if output.task_loss is not None:
            means.add("task_loss", output.task_loss, count)
        if gates:
            device = gates[0].device
            means.add("gates", torch.stack([g.to(device) for g in gates]).mean(0), count.to(device))

    def take(self, training: bool) -> dict[str, float]:
        """Means over the forward passes of one phase that count since the last call, by name; empty without any."""
        means = self._means[training].take()
        values: dict[str, float] = {name: means[name][0] for name in ("task_loss", "supervision_loss") if name in means}
        score = score_name(self.model.config, self._task)
        for depth, (one, loss) in enumerate(zip(means.get("scores", []), means.get("losses", []), strict=True)):
            values[f"layer_{depth}_{score}"] = one
            values[f"layer_{depth}_loss"] = loss
        if "gates" in means:
            shift, square, saturated = means["gates"]
            values["gate_mean"] = 1 + shift
            values["gate_std"] = max(square - shift**2, 0.0) ** 0.5
            values["gate_saturated"] = saturated
        return values
