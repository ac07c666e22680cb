# SPDX-License-Identifier: Apache-2.0
"""`finetune`: a short accelerate loop that trains a classifier with MHEX heads."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration, skip_first_batches
from accelerate.utils import ProjectConfiguration, set_seed, tqdm
from datasets import DatasetDict
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, DataCollatorWithPadding, get_scheduler

from ...explain.explainers import is_image_checkpoint
from ...inputs.encoding import check_max_length
from ...models.auto import AutoMhexModelForSequenceClassification
from ...models.batches import longest_input
from ...models.checkpoint import check_output
from ...models.families import find_site
from ..masked_words import MaskedWords
from ..optimizer import mhex_param_groups
from .checkpoints import check_checkpoints, resume
from .config import FinetuneConfig
from .data import load_splits, tokenise_splits
from .evaluator import Evaluator
from .images import load_images
from .loop import Progress, Run
from .settings import SPLIT_OPTIONS, class_options, head_settings, named_classes


def finetune(config: FinetuneConfig) -> dict[str, Any]:
    """Trains as `config` says, in this process or as one of those `accelerate launch` started.

    Writes the model, its tokenizer or image processor, `metrics.json` and checkpoints to `config.output_dir`.

    Returns:
        what `metrics.json` holds, on every process: the figures of `Evaluator` on the validation split, its `step`,
        `history` (those figures after each epoch), `labels`, `mhex` (the heads' settings), and the `settings`.

    Raises:
        FileNotFoundError, TypeError, ValueError: data that cannot be used (see `load_splits`), a `max_length` beyond
            what the model takes, a `gate` other than that of the checkpoint's heads, `masked_words` without a mask
            token, a precision that the device cannot do, a number of processes other than expected, nothing to resume
            from, or checkpoints of an earlier run in the way.
    """
    accelerator = _accelerator(config)
    check_output(Path(config.output_dir), "output_dir")
    checkpoint = check_checkpoints(config)
    accelerator.wait_for_everyone()  # nobody writes one before all have looked
    set_seed(config.seed)
    with accelerator.main_process_first():  # the others find it in the cache
        parts = load_images(config) if is_image_checkpoint(str(config.model)) else _load(config, accelerator)
    splits, processing, model, collate = parts
    masking = MaskedWords(model, processing, config.masked_words) if config.masked_words else None
    labels = splits["train"].features["label"].names
    run, train_loader, eval_loader = _prepare(accelerator, config, model, _loaders(splits, collate, config))
    if checkpoint is not None:
        resume(accelerator, config, checkpoint)
    if config.log_with is not None:
        tracked = {name: value if value is not None else "default" for name, value in config.to_dict().items()}
        accelerator.init_trackers("mhex", tracked)
    history = _train(run, train_loader, eval_loader)
    if masking is not None:
        masking.remove()
    mhex = accelerator.unwrap_model(run.model).mhex_config.to_dict()
    report = {**history[-1], "labels": labels, "history": history, "mhex": mhex, "settings": config.to_dict()}
    _write(accelerator, run.model, processing, report, Path(config.output_dir))
    accelerator.end_training()
    return report


def _load(config: FinetuneConfig, accelerator: Accelerator) -> tuple[DatasetDict, Any, Any, Any]:
    """The tokenised splits, the tokenizer, the model, and what makes batches."""
    options = {name: getattr(config, name) for name in SPLIT_OPTIONS}
    texts = {name: getattr(config, name) for name in ("text_column", "text_pair_column", "max_characters")}
    splits = load_splits(config.data, **options, **texts, classes=named_classes(config.model))
    tokenizer, model = _tokenizer_and_model(config, splits["train"].features["label"].names)
    longest = longest_input(tokenizer, model.config, find_site(model.config.model_type))
    tokenised = tokenise_splits(splits, tokenizer, check_max_length(config.max_length, tokenizer, longest))
    collate = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=None if accelerator.mixed_precision == "no" else 8)
    return tokenised, tokenizer, model, collate


def _prepare(accelerator: Accelerator, config: FinetuneConfig, model: Any, loaders: Any) -> tuple[Run, Any, Any]:
    """The run, and the loaders of training and validation, for the processes that share them."""
    optimizer = torch.optim.AdamW(mhex_param_groups(model, config.lr, config.head_lr, config.weight_decay))
    model, optimizer, train_loader, eval_loader = accelerator.prepare(model, optimizer, *loaders)
    # accelerate steps the scheduler once for each process
    steps_per_epoch = math.ceil(len(train_loader) / config.gradient_accumulation_steps)
    steps, rounds = config.max_steps or steps_per_epoch * config.epochs, accelerator.num_processes
    warmup = round(config.warmup * steps)
    scheduler = accelerator.prepare(get_scheduler("linear", optimizer, warmup * rounds, steps * rounds))
    progress = Progress()
    accelerator.register_for_checkpointing(progress)
    set_seed(config.seed, device_specific=True)  # dropout differs between processes, weights did not
    bar = tqdm(total=steps, desc="finetune", disable=not sys.stderr.isatty())
    return Run(accelerator, config, model, optimizer, scheduler, progress, steps, bar), train_loader, eval_loader


def _train(run: Run, train_loader: Any, eval_loader: Any) -> list[dict[str, Any]]:
    """All epochs that are left to do; the figures after each epoch."""
    accelerator, progress = run.accelerator, run.progress
    evaluator = Evaluator(accelerator, accelerator.unwrap_model(run.model).config)
    history = progress.history

    def evaluate() -> None:
        history.append({"step": progress.step, **evaluator(run.model, eval_loader)})
        run.report("validation", history[-1])

    run.bar.n = run.bar.initial = progress.step
    while progress.step < run.steps:
        train_loader.set_epoch(progress.epoch)
        run.epoch(skip_first_batches(train_loader, progress.batch) if progress.batch else train_loader)
        if progress.batch == len(train_loader):  # not where max_steps ended the run in between
            progress.epoch, progress.batch = progress.epoch + 1, 0
        evaluate()
        if run.config.save_steps is None:
            accelerator.save_state()
    if not history or history[-1]["step"] != progress.step:  # resumed at the very end, from a checkpoint of a step
        evaluate()
    run.bar.close()
    return history


def _accelerator(config: FinetuneConfig) -> Accelerator:
    project = ProjectConfiguration(
        project_dir=str(config.output_dir),
        logging_dir=str(Path(config.output_dir) / "logs"),
        automatic_checkpoint_naming=True,
        total_limit=config.save_limit,
    )
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        log_with=config.log_with,
        project_config=project,
        # the order of the texts depends on seed and epoch alone, not on the number of processes
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, data_seed=config.seed),
    )
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("mixed_precision='fp16' needs an accelerator, got a CPU; use 'bf16' or 'no'.")
    if config.num_processes is not None and accelerator.num_processes != config.num_processes:
        raise ValueError(
            f"num_processes must be how many processes run, got {config.num_processes} but {accelerator.num_processes} "
            f"run; start them with `accelerate launch --multi_gpu --num_processes {config.num_processes}`, on a CPU "
            "with ACCELERATE_USE_CPU=true."
        )
    return accelerator


def _tokenizer_and_model(config: FinetuneConfig, labels: list[str]) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    chosen = head_settings(config)
    if chosen.get("faithfulness_weight"):
        chosen["mask_token_id"] = tokenizer.mask_token_id
    model = AutoMhexModelForSequenceClassification.from_pretrained(
        config.model,
        mhex=chosen or None,
        **class_options(labels),
        ignore_mismatched_sizes=True,  # a classifier of other classes starts anew
        dtype=torch.float32,  # the optimiser's weights, whatever the checkpoint's are; autocast does the rest
    )
    model.drop_readout()
    if tokenizer.pad_token is None:  # decoder families
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return tokenizer, model


def _loaders(splits: DatasetDict, collate: Any, config: FinetuneConfig) -> tuple[DataLoader, DataLoader]:
    def load(split: str, size: int) -> DataLoader:
        # a generator of its own: a DataLoader draws a seed when it starts, which would shift dropout after a resume
        generator = torch.Generator().manual_seed(config.seed)
        return DataLoader(splits[split], size, split == "train", collate_fn=collate, generator=generator)

    return load("train", config.batch_size), load("validation", config.eval_batch_size or config.batch_size)


def _write(accelerator: Accelerator, model: Any, processing: Any, report: dict[str, Any], folder: Path) -> None:
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(model).save_pretrained(
        folder, is_main_process=accelerator.is_main_process, save_function=accelerator.save
    )
    if accelerator.is_main_process:
        processing.save_pretrained(folder)
        (folder / "metrics.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
