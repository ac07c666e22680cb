# SPDX-License-Identifier: Apache-2.0
"""An explainer kept in a few megabytes beside a model that is already deployed: heads and fit, none of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from . import __version__
from .heads import trained
from .modeling import HEAD_PREFIXES, MhexMixin

_SCHEMA = "mhex-explainer/1"
_WEIGHTS, _RECORD = "explainer.safetensors", "explainer.json"


def save_explainer(model: Any, directory: str | PathLike[str]) -> None:
    """Writes the heads and the fit of `model` alone, with the name of its base and a hash of the base's weights.

    `get_mhex_model(plain, directory)` puts them back on the same plain model.

    Raises:
        TypeError: a model without heads.
        ValueError: heads with gates, which would change the deployed model's predictions, or heads that were neither
            trained nor fitted and so explain nothing.
        NotADirectoryError: `directory` is a file.
    """
    if not isinstance(model, MhexMixin):
        raise TypeError(f"model must have MHEX heads, got {type(model).__name__}; get_mhex_model(model) gives it some.")
    if model.config.mhex["gate"]:
        raise ValueError(
            "model must have heads that only read (MhexConfig(gate=False)), got gates, which change the predictions of "
            "the model they are put on; save the whole model with save_pretrained."
        )
    if getattr(model.config, "mhex_fit", None) is None and not trained(model.mhex):
        raise ValueError(
            "the MHEX heads of this model were neither trained nor fitted, so there is nothing to save; "
            "fit_equivalent_matrices(model, tokenizer, texts) fits them."
        )
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"directory must be a folder, got the file {folder}.")
    folder.mkdir(parents=True, exist_ok=True)
    own = {k: v.contiguous().cpu() for k, v in model.state_dict().items() if k.startswith(HEAD_PREFIXES)}
    save_file(own, folder / _WEIGHTS, {"format": "pt"})
    config = model.config
    record = {
        "schema": _SCHEMA,
        "library": f"mhex_nlp {__version__}",
        "mhex": config.mhex,
        "mhex_fit": getattr(config, "mhex_fit", None),
        "base": {
            "name": config._name_or_path,
            "revision": getattr(config, "_commit_hash", None),
            "model_type": config.model_type,
            "sha256": base_hash(model),
        },
    }
    (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


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
        schema, made_for = record["schema"], record["base"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a record of save_explainer: {error}.") from error
    if schema != _SCHEMA:
        raise ValueError(f"{path} has schema {schema!r}; this version reads {_SCHEMA!r}.")
    if made_for != base_hash(model):
        raise ValueError(
            f"the heads in {directory} were made for other weights ({record['base']['name'] or 'unnamed'}) than the "
            "model's; load the same weights in the same dtype."
        )
    return dict(record)


def load_weights(directory: str | PathLike[str], model: Any) -> None:
    """Fills the heads and the fit of `model` from the folder; ValueError where the file does not fit or is corrupt."""
    try:
        weights = load_file(Path(directory) / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{Path(directory) / _WEIGHTS} cannot be read: {error}.") from error
    own = {key for key in model.state_dict() if key.startswith(HEAD_PREFIXES)}
    if own != set(weights):
        raise ValueError(
            f"the heads in {directory} do not fit the model: {sorted(own ^ set(weights))[0]} is in one only."
        )
    model.load_state_dict(weights, strict=False)


def base_hash(model: PreTrainedModel) -> str:
    """sha256 over names, dtypes, shapes and bytes of all weights but the heads'."""
    digest = hashlib.sha256()
    for part in _bytes_of(model, heads=False):
        digest.update(part)
    return digest.hexdigest()


def model_hash(model: PreTrainedModel) -> str:
    """xxh3 over all weights, the heads' and the fit's as well, and over what the config says of them.

    Every call over a dataset asks for it, and sha256 would take longer than some hundred texts.
    """
    record = {key: getattr(model.config, key, None) for key in ("mhex", "mhex_fit", "id2label", "problem_type")}
    digest = xxhash.xxh3_128(json.dumps(record, sort_keys=True, default=str).encode())
    for part in _bytes_of(model, heads=True):
        digest.update(part)
    return digest.hexdigest()


def _bytes_of(model: PreTrainedModel, heads: bool) -> Iterator[Any]:
    """Name, dtype and shape of each weight, and then its bytes."""
    for key, value in sorted(model.state_dict().items()):
        if heads or not key.startswith(HEAD_PREFIXES):
            yield f"{key} {value.dtype} {tuple(value.shape)}\n".encode()
            yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
