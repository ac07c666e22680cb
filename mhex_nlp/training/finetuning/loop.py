# SPDX-License-Identifier: Apache-2.0
"""The steps of `finetune`: forward, backward, step, log, checkpoint; all of it accelerate's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator

from .config import FinetuneConfig

_LOSSES = ("loss", "task_loss", "supervision_loss", "faithfulness_loss")


@dataclass
class Progress:
    """Where training stands; saved with each checkpoint."""

    step: int = 0  # optimiser steps done
    epoch: int = 0
    batch: int = 0  # batches of this epoch done, on each process
    history: list[dict[str, Any]] = field(default_factory=list)  # the figures after each epoch

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


@dataclass
class Run:
    """The moving parts of one training run."""

    accelerator: Accelerator
    config: FinetuneConfig
    model: Any
    optimizer: Any
    scheduler: Any
    progress: Progress
    steps: int
    bar: Any

    def __post_init__(self) -> None:
        # the losses, and batches
        self.sums = torch.zeros(len(_LOSSES) + 1, dtype=torch.float32, device=self.accelerator.device)

    def epoch(self, batches: Any) -> None:
        """The rest of one epoch, or of the run."""
        accelerator, progress = self.accelerator, self.progress
        self.model.train()
        for batch in batches:
            with accelerator.accumulate(self.model):
                output = self.model(**batch)
                accelerator.backward(output.loss)
                norm = None
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
            losses = [getattr(output, name) for name in _LOSSES]
            values = [self.sums.new_zeros(()) if loss is None else loss.detach().float() for loss in losses]
            self.sums += torch.stack([*values, self.sums.new_ones(())])
            progress.batch += 1
            if not accelerator.sync_gradients:
                continue
            progress.step += 1
            self.bar.update()
            if progress.step % self.config.logging_steps == 0 or progress.step == self.steps:
                self.log(norm)
            if self.config.save_steps is not None and progress.step % self.config.save_steps == 0:
                accelerator.save_state()
            if progress.step == self.steps:
                return

    def log(self, norm: torch.Tensor | None) -> None:
        """Means since the last log, over all processes: the only place where training waits for the device."""
        *losses, batches = self.accelerator.reduce(self.sums, "sum").tolist()
        self.sums.zero_()
        values = {name: loss / batches for name, loss in zip(_LOSSES, losses, strict=True)}
        if not self.accelerator.unwrap_model(self.model).config.mhex["faithfulness_weight"]:
            del values["faithfulness_loss"]
        values["lr"] = self.scheduler.get_last_lr()[0]
        if norm is not None:
            values["grad_norm"] = float(norm)
        self.report("train", values)

    def report(self, phase: str, values: dict[str, Any]) -> None:
        """One line above the progress bar, and the trackers."""
        flat = {name: value for name, value in values.items() if name not in ("step", "texts")}
        for name in [name for name, value in flat.items() if isinstance(value, list)]:
            flat |= {f"{name}_{depth}": value for depth, value in enumerate(flat.pop(name))}
        self.accelerator.log({f"{phase}/{name}": value for name, value in flat.items()}, step=self.progress.step)
        if self.accelerator.is_main_process:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in flat.items() if "head_" not in name)
            self.bar.write(f"{phase}  step {self.progress.step}/{self.steps}  {shown}")
