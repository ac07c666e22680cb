# SPDX-License-Identifier: Apache-2.0
"""An explainer as a folder, or as bytes: its model, its tokenizer, and what the model's files do not say."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import srsly

from ..models.checkpoint import check_output

if TYPE_CHECKING:
    from ..explain.explainer import MhexExplainer

T = TypeVar("T")

_ABOUT = "mhex.json"
_SETTINGS = ("aggregation", "contrast", "non_negative", "batch_tokens", "max_length", "stride", "language")


def load(model: str, revision: str | None, dtype: str | None, device: str | None, settings: dict[str, Any]) -> Any:
    """`load_explainer`."""
    from ..explain.explainers import load_explainer  # torch and transformers come with the first model, not with spaCy

    return load_explainer(model, revision=revision, dtype=dtype, device=device, **settings)


def save_folder(explainer: MhexExplainer, folder: Path, model: str | None, *, with_settings: bool) -> None:
    """Writes model, tokenizer, the model's name, also that in the config (`model`), and, where no config holds them,
    the explainer's settings.
    """
    from ..models.checkpoint import shown_name

    check_output(folder, "path")
    folder.mkdir(parents=True, exist_ok=True)
    explainer.model.save_pretrained(folder)
    explainer.tokenizer.save_pretrained(folder)
    config = explainer.model.config
    settings = {name: getattr(explainer, name) for name in _SETTINGS} if with_settings else None
    about = {
        "model": model,
        "name": shown_name(config._name_or_path),
        "revision": getattr(config, "_commit_hash", None),
        "settings": settings,
    }
    srsly.write_json(folder / _ABOUT, about)


def load_folder(folder: Path, source: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The explainer that `save_folder` wrote, and its mhex.json; settings in there go before those of `source`."""
    if not (folder / _ABOUT).is_file():
        raise ValueError(f"path must be a folder that the mhex component wrote, got {str(folder)!r}.")
    about = _read_about(folder / _ABOUT)
    settings = about["settings"] or source["settings"]
    explainer = load(str(folder), None, source["dtype"], source["device"], settings)
    # Explanations name the model, not the folder of this copy.
    explainer.model.config._name_or_path = about["name"] or ""
    explainer.model.config._commit_hash = about["revision"]
    return explainer, about


def _read_about(path: Path) -> dict[str, Any]:
    """What `save_folder` wrote, or ValueError."""
    try:
        about = srsly.read_json(path)
        settings = about["settings"] or {}
        known = all(about[name] is None or isinstance(about[name], str) for name in ("model", "name", "revision"))
        if known and isinstance(settings, dict) and set(settings) <= set(_SETTINGS):
            return dict(about)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError(f"path must be a folder that the mhex component wrote, got {str(path)!r}, which it did not write.")


def to_bytes(write: Callable[[Path], Any]) -> bytes:
    """The files that `write` puts into a folder, as one msgpack."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    packed: bytes = srsly.msgpack_dumps(files)
    return packed


def from_bytes(data: bytes, read: Callable[[Path], T]) -> T:
    """What `read` makes of a folder with the files that `to_bytes` packed."""
    try:
        files = srsly.msgpack_loads(data)
    except Exception as error:  # msgpack raises a dozen kinds
        raise ValueError(f"bytes must be those that the mhex component wrote, got {data[:20]!r}.") from error
    if not isinstance(files, dict) or not all(_inside(name) for name in files):
        raise ValueError("bytes must be those that the mhex component wrote, got other content.")
    with tempfile.TemporaryDirectory() as place:
        for name, content in files.items():
            path = Path(place) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return read(Path(place))


def _inside(name: Any) -> bool:
    """Whether a file name stays in its folder."""
    if not isinstance(name, str) or not name or "\\" in name or ":" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
