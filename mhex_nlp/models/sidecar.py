# SPDX-License-Identifier: Apache-2.0
"""An explainer kept in a few megabytes beside a model that is already deployed: heads and fit, none of its weights."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from .._version import __version__
from ..inputs.folders import check_replaced, read_object
from .heads.head import trained
from .modeling import HEAD_PREFIXES, MhexMixin
from .weights_hash import base_hash

_SCHEMA = "mhex-explainer/1"
_WEIGHTS, _RECORD = "explainer.safetensors", "explainer.json"


def save_explainer(model: Any, directory: str | PathLike[str]) -> None:
    """Writes the heads and the fit of `model` alone, with the name of its base and a hash of the base's weights.

    `get_mhex_model(plain, directory)` puts them back on the same plain model.

    Raises:
        TypeError: a model without heads.
        ValueError: heads with gates, which would change the deployed model's predictions, or heads that were neither
            trained nor fitted and so explain nothing.
            A folder that holds other files of these names.
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
    ours = read_object(folder / _RECORD).get("schema") == _SCHEMA
    check_replaced(folder, [_WEIGHTS, _RECORD], ours, "directory")
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.contiguous().cpu() for k, v in model.state_dict().items() if k.startswith(HEAD_PREFIXES)}
    save_file(weights, folder / _WEIGHTS, {"format": "pt"})
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
    expected = {key for key in model.state_dict() if key.startswith(HEAD_PREFIXES)}
    if expected != set(weights):
        raise ValueError(
            f"the heads in {directory} do not fit the model: {sorted(expected ^ set(weights))[0]} is in one only."
        )
    model.load_state_dict(weights, strict=False)
