# SPDX-License-Identifier: Apache-2.0
"""What the heads do during training with a plain `transformers.Trainer`: figures in its logs, highlights on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.utils import logging

from ..inputs.checks import check_share
from ..models.heads.head import MhexHead, trained
from .adapter_heads import checkpoint_folder, keep_heads, restore_heads
from .head_watch import HeadWatch
from .masked_words import MaskedWords
from .optimizer import find_heads, require_heads
from .snapshots import check_highlights, write_highlights
from .trackers import Tracker, check_trackers, log_highlights

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
    0.1 or above 1.9. To every evaluation, before, during or after training, the same with its own prefix,
    `eval_mhex/...`, which `metric_for_best_model` may name. (A callback that came by `trainer.add_callback` sees those
    before training once it is attached.) They are measured by forward hooks on the passes that run anyway and read
    once a log; the hooks go when trainer and callback do. With several processes each one measures its own texts: what
    is logged is the share of process 0. (Inside causal models, whose gates differ from token to token, padding is
    counted in the gates' figures.)

    Of a `PeftModel`, whose checkpoints are its adapter alone, it keeps the heads beside it (`save_explainer`), and puts
    them back where Trainer resumes, or takes the best model in the end.

    Args:
        texts: highlighted at each `every`, into `step-000120.html` and `.jsonl`, by process 0; training goes on
            exactly as without. `None` or empty: none are written. Not for FSDP or DeepSpeed stage 3, where one process
            does not hold the weights.
        output_dir: folder of the highlights; by default `highlights` in the trainer's own `output_dir`.
        tokenizer: by default the trainer's `processing_class`.
        every: "evaluate", at each evaluation, or "epoch", at the end of each epoch.
        masked_words: share of the texts of each training batch of which a random part of the words is masked while
            `Trainer.train` runs (`MaskedWords` says what it gives and costs). The logged training losses are then of
            masked texts, those of evaluation are not.
        log_to: "mlflow", "wandb" or a list of both: the highlights become artifacts of the run that is active there.
            (The figures reach them by TrainingArguments(report_to=...).)

    Raises:
        TypeError, ValueError: an argument of the wrong type or value. At the begin of training ValueError for a model
            without heads or with `config.return_dict=False`, for texts where labels are read at positions, for a text
            without any token, for `masked_words` with a tokenizer without mask token, and for what makes Trainer keep
            the labels from the model, where the heads would not learn.
    """

    def __init__(
        self,
        texts: Iterable[str] | None = None,
        output_dir: str | PathLike[str] | None = None,
        tokenizer: Any = None,
        every: Moment = "evaluate",
        masked_words: float = 0.0,
        log_to: Tracker | Iterable[Tracker] | None = None,
    ) -> None:
        if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable | None):
            raise TypeError("texts must be a list of strings, such as ['The plot was thin.'].")
        self.texts = [] if texts is None else list(texts)
        if not all(isinstance(text, str) for text in self.texts):
            raise TypeError("texts must be a list of strings, such as ['The plot was thin.'].")
        if not all(text.strip() for text in self.texts):
            raise ValueError("texts must not be empty, got one without a single character to highlight.")
        if every not in get_args(Moment):
            raise ValueError(f"every must be one of {list(get_args(Moment))}, got {every!r}.")
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.tokenizer, self.every = tokenizer, every
        self.masked_words = check_share(masked_words, "masked_words")
        self.log_to = check_trackers(log_to)
        self._masking: MaskedWords | None = None
        self._watch: HeadWatch | None = None
        self._trainer: Trainer | None = None
        self._loader: Any = None  # of the evaluation that runs now
        self._written = -1  # step of the last highlights

    def attach(self, trainer: Trainer) -> MhexCallback:
        """Puts this callback ahead of the others of `trainer`, which report the logs; returns itself."""
        callbacks = trainer.callback_handler.callbacks
        trainer.callback_handler.callbacks = [self, *(callback for callback in callbacks if callback is not self)]
        self._trainer = trainer
        self._follow(trainer.model)
        return self

    def on_init_end(self, *args: Any, **kwargs: Any) -> None:
        self._follow(kwargs.get("model"))

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        model = require_heads(kwargs["model"])
        if getattr(model, "mhex_fit", None) is not None:
            logger.warning("The fitted matrices are dropped, since training changes the model: fit again afterwards.")
            model.drop_readout()
        heads = [module for module in model.mhex.modules() if isinstance(module, MhexHead)]
        if not trained(heads) and not all(any(weight.requires_grad for weight in head.parameters()) for head in heads):
            logger.warning(
                "The MHEX heads are untrained and frozen, so they will learn nothing. peft freezes them with the rest, "
                "and its modules_to_save cannot hold them: call model.mhex.requires_grad_(True) after get_peft_model, "
                "or give the PEFT model heads: get_mhex_model(peft_model)."
            )
        if not model.config.return_dict:
            raise ValueError("config.return_dict must be True in training with MhexCallback, got False.")
        withheld = [f"label_smoothing_factor={args.label_smoothing_factor}"] if args.label_smoothing_factor > 0 else []
        if self._trainer is not None and self._trainer.compute_loss_func is not None:
            withheld.append("a compute_loss_func")
        if withheld:
            raise ValueError(
                f"Trainer keeps the labels from the model with {' and '.join(withheld)}, so deep_supervision_loss "
                "would never reach the MHEX heads; leave it out."
            )
        if (self.texts or self.masked_words) and model.task == "image_classification":
            name = "texts" if self.texts else "masked_words"
            raise ValueError(f"{name} must be left out for {type(model).__name__}, which reads images.")
        if (self.texts or self.masked_words) and self._tokenizer(kwargs) is None:
            raise ValueError("tokenizer must be given to MhexCallback or, as processing_class, to Trainer.")
        if self.texts and model.task != "sequence_classification":
            raise ValueError(
                f"texts must be left out for {type(model).__name__}, whose heads say nothing of other tokens: fit the "
                "model after training, and explain it then."
            )
        if self.texts:
            check_highlights(model, self._tokenizer(kwargs), self.texts)
        self._written = -1
        if state.global_step:  # resumed
            restore_heads(kwargs["model"], checkpoint_folder(args, state))
        self._follow(model)
        self._stop_masking()
        if self.masked_words:
            self._masking = MaskedWords(kwargs["model"], self._tokenizer(kwargs), self.masked_words)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self._stop_masking()
        if args.load_best_model_at_end and state.best_model_checkpoint:
            restore_heads(kwargs["model"], Path(state.best_model_checkpoint))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            keep_heads(kwargs["model"], checkpoint_folder(args, state))

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        if self._watch is not None:
            self._watch.step_begins()

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        if self._watch is not None:
            self._watch.check_step()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if self._watch is not None:
            self._watch.step_ends()

    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        if self._watch is None:
            return
        if kwargs.get("eval_dataloader") is not self._loader:  # what an interrupted evaluation has left goes
            self._loader = kwargs.get("eval_dataloader")
            self._watch.drop(training=False)
        self._watch.evaluated()

    def on_predict(self, *args: Any, **kwargs: Any) -> None:
        if self._watch is not None:
            self._watch.drop(training=False)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any
    ) -> None:
        if self._watch is None or logs is None:
            return
        # an evaluation logs eval_samples_per_second, under whatever prefix it was given; so does the end of training
        speeds = [key for key in logs if key.endswith("_samples_per_second") and "total_flos" not in logs]
        if "loss" in logs:
            prefix, values = "", self._watch.take(training=True)
        elif speeds:
            prefix, values = speeds[0].removesuffix("samples_per_second"), self._watch.take(training=False)
        else:
            return
        figures = {f"{prefix}mhex/{name}": value for name, value in values.items()}
        logs.update(figures)
        if state.log_history:
            state.log_history[-1].update(figures)  # a copy of `logs` made before the callbacks ran

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if self.every == "evaluate":
            self._highlight(args, state, kwargs)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if self.every == "epoch":
            self._highlight(args, state, kwargs)

    def _highlight(self, args: TrainingArguments, state: TrainerState, kwargs: dict[str, Any]) -> None:
        # once a step: several evaluation sets evaluate several times, and after training the best model is back
        if not self.texts or not state.is_world_process_zero or state.global_step == self._written:
            return
        self._written, model = state.global_step, require_heads(kwargs["model"])
        if not trained(model.mhex.modules()):
            logger.warning(f"step {state.global_step}: no highlights yet, the MHEX heads are untrained.")
            return
        directory = self.output_dir or Path(args.output_dir or ".") / "highlights"
        files = write_highlights(model, self._tokenizer(kwargs), self.texts, directory, state.global_step)
        log_highlights(self.log_to, files, state.global_step)

    def _tokenizer(self, kwargs: dict[str, Any]) -> Any:
        return kwargs.get("processing_class") if self.tokenizer is None else self.tokenizer

    def _stop_masking(self) -> None:
        if self._masking is not None:
            self._masking.remove()
            self._masking = None

    def _follow(self, model: Any) -> None:
        """Watches the heads of `model`, if it has any, from now on and them alone."""
        heads = None if model is None else find_heads(model)
        if self._watch is not None and self._watch.model is heads:
            self._watch.drop(training=True)
            self._watch.drop(training=False)
            return
        if self._watch is not None:
            self._watch.remove()
        self._watch = None if heads is None else HeadWatch(heads)
