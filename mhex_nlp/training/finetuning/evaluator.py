# SPDX-License-Identifier: Apache-2.0
"""One pass over a validation split under accelerate: the model, each head, and the losses."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import PretrainedConfig

from ...evaluation import metrics
from ...models.config import MhexConfig
from ...models.tasks.sequence_classification import deep_supervision_loss
from ..head_metrics import head_losses, head_scores


class Evaluator:
    """Measures a single-label model; the metrics are loaded once, from the package, so that no hub is needed."""

    def __init__(self, accelerator: Accelerator, config: PretrainedConfig) -> None:
        self.accelerator, self.config = accelerator, config
        with accelerator.main_process_first():  # evaluate copies a module into its cache
            self.metrics = {name: metrics.load(name, keep_in_memory=True) for name in ("accuracy", "f1")}

    @torch.no_grad()
    def __call__(self, model: Any, loader: DataLoader) -> dict[str, Any]:
        """The same figures on every process, over each text once, however many processes share the split.

        Returns:
            `texts`, `accuracy`, `f1` (macro), `majority` (the share of the commonest class), `loss` with its parts
            `task_loss` and `supervision_loss`, and for the heads `head_accuracy` and `head_loss`, one value a depth.
        """
        training, parts = model.training, []
        model.eval()
        for batch in loader:
            output = model(**batch)
            gathered = self.accelerator.gather_for_metrics((output.logits, output.head_logits, batch["labels"]))
            parts.append([tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu() for tensor in gathered])
        model.train(training)
        logits, head_logits, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        pairs = {"predictions": logits.argmax(-1).tolist(), "references": labels.tolist()}
        values = {key: value for metric in self.metrics.values() for key, value in metric.compute(**pairs).items()}
        task_loss = torch.nn.functional.cross_entropy(logits, labels)
        supervision_loss = deep_supervision_loss(head_logits, labels, self.config)
        weight = MhexConfig.of(self.config.mhex).loss_weight
        return {
            "texts": len(labels),
            **values,
            "majority": labels.bincount().max().item() / len(labels),
            "loss": (task_loss + weight * supervision_loss).item(),
            "task_loss": task_loss.item(),
            "supervision_loss": supervision_loss.item(),
            "head_accuracy": head_scores(head_logits, labels, self.config)[0].tolist(),
            "head_loss": head_losses(head_logits, labels, self.config).tolist(),
        }
