# SPDX-License-Identifier: Apache-2.0
"""An explainer kept in a few megabytes beside a model that is already deployed: heads and fit, none of its weights."""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from .._version import __version__
from ..inputs.folders import check_replaced, read_object
from .adapters import adapters_in_use
from .checkpoint import shown_name
from .config import MhexConfig
from .fit_weights import has_weights_of
from .heads.head import trained
from .loading import HEAD_PREFIXES, check_weights
from .modeling import MhexMixin
from .unwrap import inner_model
from .weights_hash import adapter_hash, base_hash

_SCHEMA = "mhex-explainer/1"
_WEIGHTS, _RECORD = "explainer.safetensors", "explainer.json"


def save_explainer(model: Any, directory: str | PathLike[str]) -> None:
    """Writes the heads and the fit of `model` alone, with the name of its base and a hash of the base's weights.

    `get_mhex_model(plain, directory)` puts them back on the same plain model. Of a `PeftModel` they go with the adapter
    that runs: into the folder of `peft_model.save_pretrained`, which `MhexExplainer.from_pretrained` then loads whole.

    Raises:
        TypeError: a model without heads.
        ValueError: heads with gates, which would change the deployed model's predictions (an adapter was trained with
            them, and so may have some), or heads that were neither trained nor fitted and so explain nothing; a fit of
            other weights; a folder that holds other files of these names.
        NotADirectoryError: `directory` is a file.
    """
    if not any(isinstance(module, MhexMixin) for module in (model.modules() if isinstance(model, nn.Module) else ())):
        raise TypeError(f"model must have MHEX heads, got {type(model).__name__}; get_mhex_model(model) gives it some.")
    model = inner_model(model)
    if model.config.mhex["gate"] and not adapters_in_use(model):
        raise ValueError(
            "model must have heads that only read (MhexConfig(gate=False)), got gates, which change the predictions of "
            "the model they are put on; save the whole model with save_pretrained."
        )
    if model.fit_record is None and not trained(model.mhex):
        raise ValueError(
            "the MHEX heads of this model were neither trained nor fitted, so there is nothing to save; "
            "fit_equivalent_matrices(model, tokenizer, texts) fits them."
        )
    _check_fit(model)
    folder = Path(directory)
    ours = read_object(folder / _RECORD).get("schema") == _SCHEMA
    check_replaced(folder, [_WEIGHTS, _RECORD], ours, "directory")
    folder.mkdir(parents=True, exist_ok=True)
    if model.fit_record is None:
        model.drop_readout()
    weights = {k: v.contiguous().cpu() for k, v in model.state_dict().items() if k.startswith(HEAD_PREFIXES)}
    save_file(weights, folder / _WEIGHTS, {"format": "pt"})
    record = _record_of(model, _file_hash(folder / _WEIGHTS))
    (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _record_of(model: Any, file_hash: str) -> dict[str, Any]:
    config = model.config
    record = {
        "schema": _SCHEMA,
        "library": f"mhex_nlp {__version__}",
        "mhex": config.mhex,
        "mhex_fit": model.fit_record,
        "sha256": file_hash,
        "base": {
            "name": shown_name(config._name_or_path),
            "revision": getattr(config, "_commit_hash", None),
            "model_type": config.model_type,
            "sha256": base_hash(model),
        },
    }
    if adapters_in_use(model):  # what PEFT's own record does not say of the model that the adapter goes on
        labels = {"id2label": config.id2label, "problem_type": config.problem_type}
        record["adapter"] = {"task": model.task, "sha256": adapter_hash(model), **labels}
    return record


def _check_fit(model: Any) -> None:
    if model.fit_record is not None and has_weights_of(model, model.fit_record) is False:
        raise ValueError(
            "the model's weights are not those that its fit was made on, so there is no explainer of them to save; "
            "fit_equivalent_matrices(model, tokenizer, texts) fits anew."
        )


def read_record(directory: str | PathLike[str], model: PreTrainedModel) -> dict[str, Any]:
    """What `save_explainer` wrote, checked against the plain model it is to go on.

    Raises:
        FileNotFoundError: not such a folder.
        ValueError: a record that cannot be read, or heads made for other weights.
    """
    path = Path(directory) / _RECORD
    if not path.is_file():
        raise FileNotFoundError(f"config must be a MhexConfig or a folder of save_explainer, got {str(directory)!r}.")
    try:
        record = json.loads(path.read_text("utf-8"))
        schema, made_for, name = record["schema"], record["base"]["sha256"], record["base"].get("name")
        settings, adapter = MhexConfig.stored(record["mhex"], str(path)), record.get("adapter")
        made_for_adapter = None if adapter is None else adapter["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise ValueError(f"{path} is not a record of save_explainer: {reason}.") from error
    if schema != _SCHEMA:
        raise ValueError(f"{path} has schema {schema!r:.80}; this version reads {_SCHEMA!r}.")
    if settings.gate and adapter is None:
        raise ValueError(f"{path} must be of heads that only read, got gates, which would change the predictions.")
    _check_weights_of(model, directory, f"{name or 'unnamed'!s:.80}", made_for, made_for_adapter)
    return {**record, "mhex": settings, "path": str(path)}


def _check_weights_of(model: Any, directory: Any, name: str, base: Any, adapter: Any) -> None:
    """ValueError where the weights of model or adapter are not those whose hashes these are."""
    runs = adapter_hash(model)
    if adapter is not None and runs is None:
        raise ValueError(
            f"the heads in {directory} were made for a model with an adapter, got a {type(model).__name__} that runs "
            "none; load it first: PeftModel.from_pretrained(model, folder)."
        )
    if adapter is None and runs is not None:
        raise ValueError(
            f"the heads in {directory} were made for a model without an adapter, got one that runs "
            f"{', '.join(adapters_in_use(model) or ())!r:.80}; put them on the model first and the adapter on top, or "
            "make heads for both."
        )
    if base != base_hash(model):
        other = "the adapter and its heads" if adapter is not None else "the heads"
        raise ValueError(
            f"{other} in {directory} were made for other weights ({name}) than the model's; load the same weights in "
            "the same dtype and quantisation."
        )
    if adapter != runs:
        raise ValueError(
            f"the heads in {directory} were made for another adapter than the one that runs "
            f"({', '.join(adapters_in_use(model) or ())!r:.80}); load the adapter that was saved with them."
        )


def load_weights(directory: str | PathLike[str], model: Any, sha256: str | None = None) -> None:
    """Fills the heads and the fit of `model` from the folder.

    Raises:
        ValueError: a file that does not fit, is corrupt, or is not the one whose hash is given.
    """
    path = Path(directory) / _WEIGHTS
    try:
        if sha256 is not None and sha256 != _file_hash(path):
            raise ValueError(f"{path} is not the file that was saved with {_RECORD}.")
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).rstrip('.')}.") from error
    expected = {key: value for key, value in model.state_dict().items() if key.startswith(HEAD_PREFIXES)}
    if lost := sorted(expected.keys() ^ weights.keys()):
        raise ValueError(f"the heads in {directory} do not fit the model: {lost[0]} is in one only.")
    for key, value in weights.items():
        if value.shape != expected[key].shape:
            raise ValueError(
                f"the heads in {directory} do not fit the model: {key} is {tuple(value.shape)} and must be "
                f"{tuple(expected[key].shape)}."
            )
    check_weights(weights, path)
    model.load_state_dict(weights, strict=False)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
