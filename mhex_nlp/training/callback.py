# SPDX-License-Identifier: Apache-2.0
"""What the heads do during training with a plain `transformers.Trainer`: figures in its logs, highlights on disk."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from .head_metrics import HeadWatch
from .optimizer import require_heads
from .snapshots import heads_untrained, write_highlights

logger = logging.get_logger(__name__)
Moment = Literal["evaluate", "epoch"]


class MhexCallback(TrainerCallback):
    """Adds the heads' figures to the logs, and writes highlights of a few texts as training goes on.

    >>> callback = MhexCallback(texts=["The plot was thin but the acting was superb."])
    >>> trainer = Trainer(model, args, ..., callbacks=[callback])
    >>> callback.attach(trainer)  # so that TensorBoard and others see the figures too

    Added to every training log, averaged over the texts since the last one: `mhex/task_loss`,
    `mhex/supervision_loss`, for each depth `mhex/layer_0_accuracy` (regression: `mhex/layer_0_mse`) and
    `mhex/layer_0_loss`, and of the gates `mhex/gate_mean`, `mhex/gate_std` and `mhex/gate_saturated`, the share below
    0.1 or above 1.9. To every evaluation the same with its own prefix, `eval_mhex/...`, which `metric_for_best_model`
    may name. They are measured on the forward passes that run anyway and read once a log. With several processes each
    one measures its own texts: what is logged is the share of process 0. (Inside causal models, whose gates differ
    from token to token, padding is counted in the gates' figures.)

    Args:
        texts: highlighted at each `every`, into `step-000120.html` and `.jsonl`, by process 0; training goes on
            exactly as without. `None` or empty: none are written. Not for FSDP or DeepSpeed stage 3, where one process
            does not hold the weights.
        output_dir: folder of the highlights; by default `highlights` in the trainer's own `output_dir`.
        tokenizer: by default the trainer's `processing_class`.
        every: "evaluate", at each evaluation, or "epoch", at the end of each epoch.

    Raises:
        TypeError, ValueError: an argument of the wrong type or value. At the begin of training ValueError for a model
            without heads, and for what makes Trainer keep the labels from the model, where the heads would not learn.
    """

    def __init__(
        self,
        texts: Sequence[str] | None = None,
        output_dir: str | PathLike[str] | None = None,
        tokenizer: Any = None,
        every: Moment = "evaluate",
    ) -> None:
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts or ()):
            raise TypeError("texts must be a list of strings, such as ['The plot was thin.'].")
        if not all(text.strip() for text in texts or ()):
            raise ValueError("texts must not be empty, got one without a single character to highlight.")
        if every not in get_args(Moment):
            raise ValueError(f"every must be one of {list(get_args(Moment))}, got {every!r}.")
        self.texts = list(texts or ())
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.tokenizer, self.every = tokenizer, every
        self._watch: HeadWatch | None = None
        self._trainer: Trainer | None = None
        self._written = -1  # step of the last highlights

    def attach(self, trainer: Trainer) -> MhexCallback:
        """Puts this callback ahead of the others of `trainer`, which report the logs; returns itself."""
        callbacks = trainer.callback_handler.callbacks
        trainer.callback_handler.callbacks = [self, *(callback for callback in callbacks if callback is not self)]
        self._trainer = trainer
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        require_heads(kwargs["model"])
        withheld = [f"label_smoothing_factor={args.label_smoothing_factor}"] if args.label_smoothing_factor > 0 else []
        if self._trainer is not None and self._trainer.compute_loss_func is not None:
            withheld.append("a compute_loss_func")
        if withheld:
            raise ValueError(
                f"Trainer keeps the labels from the model with {' and '.join(withheld)}, so deep_supervision_loss "
                "would never reach the MHEX heads; leave it out."
            )
        if self.texts and self._tokenizer(kwargs) is None:
            raise ValueError("tokenizer must be given to MhexCallback or, as processing_class, to Trainer.")
        self._stop()
        self._written = -1
        self._watch = HeadWatch(kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._stop()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._watch is None or logs is None:
            return
        if "loss" in logs:
            prefix, values = "", self._watch.take(training=True)
        else:  # an evaluation logs eval_samples_per_second, under whatever prefix it was given
            speeds = [key for key in logs if key.endswith("_samples_per_second") and not key.startswith("train_")]
            if not speeds:
                return
            prefix, values = speeds[0].removesuffix("samples_per_second"), self._watch.take(training=False)
        figures = {f"{prefix}mhex/{name}": value for name, value in values.items()}
        logs.update(figures)
        if state.log_history:
            state.log_history[-1].update(figures)  # a copy of `logs` made before the callbacks ran

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.every == "evaluate":
            self._highlight(args, state, kwargs)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.every == "epoch":
            self._highlight(args, state, kwargs)

    def _highlight(self, args: TrainingArguments, state: TrainerState, kwargs: dict[str, Any]) -> None:
        # once a step: several evaluation sets evaluate several times, and after training the best model is back
        if not self.texts or not state.is_world_process_zero or state.global_step == self._written:
            return
        self._written, model = state.global_step, require_heads(kwargs["model"])
        if heads_untrained(model):
            logger.warning(f"step {state.global_step}: no highlights yet, the MHEX heads are untrained.")
            return
        directory = self.output_dir or Path(args.output_dir or ".") / "highlights"
        write_highlights(model, self._tokenizer(kwargs), self.texts, directory, state.global_step)

    def _tokenizer(self, kwargs: dict[str, Any]) -> Any:
        return kwargs.get("processing_class") if self.tokenizer is None else self.tokenizer

    def _stop(self) -> None:
        if self._watch is not None:
            self._watch.remove()
            self._watch = None
