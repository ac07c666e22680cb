# SPDX-License-Identifier: Apache-2.0
"""Was everything that an explanation rests on really in the checkpoint: its task, the weights, the heads, the fit?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor
from transformers.utils import cached_file, logging

from .heads.head import trained
from .tasks.names import KINDS, Task, auto_class, task_named

logger = logging.get_logger(__name__)
HEAD_PREFIXES = ("mhex.", "mhex_fit.")  # of the weights that are ours
# What such a model has learnt is a start for a classifier, which it has none of.
_BASES = (
    "Model",
    "Backbone",
    "MaskedImageModeling",
    "MaskedLM",
    "CausalLM",
    "PreTraining",
    "NextSentencePrediction",
    "ConditionalGeneration",
)
_SAMPLED = 512  # values of a weight that tell whether it was trained


@contextmanager
def readable(name: Any) -> Iterator[None]:
    """A checkpoint that cannot be read is a ValueError of one sentence, whichever of a dozen libraries stumbles.

    An OSError that does not name it, as where there is neither a folder nor a network, becomes one that does.
    """
    try:
        yield
    except OSError as error:
        if str(name) in str(error) or os.path.isdir(name):
            raise
        raise OSError(f"{name} is no folder here, and could not be had from the hub: {_first_line(error)}.") from error
    except (ValueError, ImportError, MemoryError, torch.OutOfMemoryError):
        raise
    except TypeError as error:
        if "unexpected keyword argument" in str(error):  # the caller's own
            raise
        raise ValueError(
            f"the checkpoint {name} is corrupt or incomplete and cannot be read: {_first_line(error)}."
        ) from error
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(
            f"the checkpoint {name} is corrupt or incomplete and cannot be read: {kind}: {_first_line(error)}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def check_task(config: Any, name: Any, task: Task = "sequence_classification") -> None:
    """Refuses a model made for another task, whose weights may fit this one's by name; bases are let through.

    Raises:
        ValueError: `config.architectures` names such a model alone; names our Auto class for it, where there is one.
    """
    named = getattr(config, "architectures", None)
    named = [entry for entry in named if isinstance(entry, str)] if isinstance(named, list | tuple) else []
    if named and all(_of_another_task(entry, task) for entry in named):
        other = task_named(named[0])
        way = "start from its base model" if other is None else f"load it with {auto_class(other)}"
        raise ValueError(
            f"the model must be {KINDS[task]}, got {name}, which its config calls a {named[0]}; {way}, or, where it "
            "was trained for this task since, set model.config.architectures = None."
        )


def _of_another_task(name: str, task: Task) -> bool:
    other = task_named(name)
    if other is not None or name.endswith(_BASES):
        return other not in (None, task)
    return name.endswith("ForMultipleChoice") or ("For" in name and hasattr(transformers, name))


def check_loading(model: Any, info: Mapping[str, Any], name: Any, *, ignore_mismatched: bool, new_heads: bool) -> None:
    """Refuses a checkpoint whose parts do not belong together; remembers which weights start anew in one that does.

    Args:
        model: with heads, just loaded.
        info: what transformers says of the loading.
        name: of the checkpoint.
        ignore_mismatched: weights of another shape may start anew, and then no fit is kept.
        new_heads: the caller gave settings, so that heads may start anew where the checkpoint holds none.

    Raises:
        ValueError: names the weight.
    """
    mismatched, missing = {entry[0]: entry[1:] for entry in info["mismatched_keys"]}, set(info["missing_keys"])
    if mismatched and not ignore_mismatched:
        key, (shape, expected) = sorted(mismatched.items())[0]
        raise ValueError(
            f"the weights in {name} do not fit its config: {key} is {tuple(shape)} in the file and "
            f"{tuple(expected)} by the config (ignore_mismatched_sizes=True would start such weights anew)."
        )
    heads = {key for key in model.state_dict() if key.startswith(HEAD_PREFIXES)}
    surplus = {key for key in info["unexpected_keys"] if key.startswith(HEAD_PREFIXES)}
    if _fitted_plain(model, heads, missing):  # its fit holds beside fresh heads, which only read
        fitted = {key for key in heads if key.startswith(HEAD_PREFIXES[1])}
        heads, missing = fitted, missing - heads
    _check_heads(model, heads, surplus, missing, name, new_heads)
    fresh = (missing | mismatched.keys()) - heads
    _check_backbone(
        model, fresh, missing - heads, info["unexpected_keys"], name, whole=bool(heads) and not heads <= missing
    )
    if missing or mismatched:
        if getattr(model, "mhex_fit", None) is not None:
            logger.warning(f"The fitted matrices in {name} are dropped, since other weights start anew: fit again.")
        model.drop_readout()
    weights = model.state_dict()
    check_weights({key: value for key, value in weights.items() if key in heads}, name)
    model._fresh_weights = {key: _sample(value) for key, value in weights.items() if key in fresh}


def _fitted_plain(model: Any, heads: set[str], missing: set[str]) -> bool:
    """Whether a plain image classifier was fitted and saved: its fit is there, and heads never were."""
    if model.task != "image_classification" or model._stored_settings is not None or model.config.mhex["gate"]:
        return False
    return {key for key in heads if not key.startswith(HEAD_PREFIXES[1])} == heads & missing != heads


def _check_heads(model: Any, heads: set[str], surplus: set[str], missing: set[str], name: Any, new_heads: bool) -> None:
    """Heads and fit must have been there as the config says, or, where they start anew, not at all."""
    stored = model._stored_settings
    if not len(model.mhex) and not surplus and not heads & missing:
        pass  # an image classifier without heads; the fit, if there is one, was in the checkpoint
    elif heads <= missing and not surplus:
        if stored is not None and not new_heads:
            raise ValueError(
                f"{name} says that it has MHEX heads and holds none, as when a model loaded as a plain one is saved "
                "again; pass mhex=MhexConfig(...) to start fresh heads."
            )
    elif surplus or heads & missing:
        raise ValueError(
            f"the heads in {name} do not fit its config: missing {sorted(heads & missing) or 'nothing'}, unexpected "
            f"{sorted(surplus) or 'nothing'}; load it with the config it was saved with."
        )
    elif stored is not None and stored.gate != model.config.mhex["gate"]:
        raise ValueError(
            f"mhex.gate must stay {stored.gate}, as the heads in {name} were trained, got "
            f"{model.config.mhex['gate']}: predictions would change."
        )


def _check_backbone(
    model: Any, fresh: set[str], missing: set[str], unexpected: Iterable[str], name: Any, *, whole: bool
) -> None:
    """The layers must have been there, and in a checkpoint with heads, which was saved as a `whole`, all the rest."""
    site = model.mhex_site
    path = f".{model.base_model_prefix if site is None else site.layers.partition('.*')[0]}."
    in_layers = {key for key in fresh if path in f".{key}"}
    if lost := sorted(in_layers | missing if whole else in_layers):
        more = f" and {len(lost) - 1} more are" if len(lost) > 1 else " is"
        raise ValueError(f"the weights in {name} are not those of the model in its config: {lost[0]}{more} not there.")
    if whole and (surplus := sorted(key for key in unexpected if path in f".{key}")):
        raise ValueError(f"the weights in {name} are not those of the model in its config, which has no {surplus[0]}.")


def check_weights(weights: Mapping[str, Tensor], name: Any) -> None:
    """Refuses weights that are no floating-point numbers, and heads and fitted matrices that are not finite.

    Raises:
        ValueError: names the weight.
    """
    for key, value in weights.items():
        if not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise ValueError(f"the weights in {name} must be floating-point numbers, got {key} in {kind}.")
        if key.startswith(HEAD_PREFIXES) and not value.is_meta and not bool(value.isfinite().all()):
            raise ValueError(f"the weights in {name} must be finite, got {key} with values that are not.")


def check_stored_dtypes(model: Any, name: Any, options: Mapping[str, Any]) -> None:
    """Refuses a checkpoint with a weight in integers, of which transformers would make floating-point numbers silently.

    Args:
        model: as it was loaded.
        name: folder or name on the hub.
        options: of `from_pretrained`, of which those that say where the files are count.

    Raises:
        ValueError: names the weight.
    """
    expected = model.state_dict().keys() - {
        key for key, value in model.named_buffers() if not value.is_floating_point()
    }
    where = {key: options[key] for key in ("revision", "cache_dir", "subfolder") if options.get(key) is not None}
    try:
        config = None if name is None else cached_file(name, "config.json", local_files_only=True, **where)
    except OSError:  # the caller gave a config
        config = None
    if config is None or getattr(model, "is_quantized", False):
        return
    for path in Path(config).parent.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for key in sorted(expected & set(file.keys())):
                kind = file.get_slice(key).get_dtype()
                if not kind.startswith(("F", "BF")):
                    raise ValueError(f"the weights in {path} must be floating-point numbers, got {key} in {kind}.")


def check_fresh(model: Any) -> None:
    """Refuses a model that still has weights as they were drawn when it was loaded: its answers would be random.

    Any training, or other weights put in their place, and it is let through.

    Raises:
        ValueError: names such a weight.
    """
    fresh: dict[str, Tensor] = getattr(model, "_fresh_weights", None) or {}
    if not fresh:
        return
    now = model.state_dict()
    if any(key not in now or not _same(value, now[key]) for key, value in fresh.items()):
        model._fresh_weights = {}  # no need to look again
        return
    raise ValueError(
        f"the model must be a fine-tuned classifier, got one whose checkpoint holds no {sorted(fresh)[0]}, so that its "
        "answers are random: train it first (Trainer, `mhex finetune` or a loop of your own)."
    )


def check_trained(model: Any, aggregation: str) -> None:
    """Refuses what explains nothing: a classifier, or heads where these explain, that were never trained.

    Raises:
        ValueError: says what to do.
    """
    check_fresh(model)
    if aggregation != "fitted" and not trained(model.mhex):
        raise ValueError(
            "the MHEX heads of this model were never trained, so their scores would mean nothing: fine-tune the "
            "model with its heads (Trainer, `mhex finetune` or a loop of your own), or give it fitted matrices "
            "(fit_equivalent_matrices, `mhex fit`)."
        )


def _sample(weight: Tensor) -> Tensor:
    """Some values of a weight, evenly spread; none of one that was offloaded."""
    if weight.is_meta:
        return torch.empty(0)
    flat = weight.detach().flatten()
    return flat[:: max(1, len(flat) // _SAMPLED)].cpu().clone()


def _same(before: Tensor, weight: Tensor) -> bool:
    """Whether a weight has the values it was sampled with, be it in another dtype or on another device by now."""
    if weight.is_meta:
        return True
    now = _sample(weight)
    return now.shape == before.shape and torch.equal(before.to(now.dtype), now)
