# SPDX-License-Identifier: Apache-2.0
"""The demo's folder: files of others are never touched, and its model is replaced only by one that is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MARKER = "mhex-demo.json"
_WRITTEN = ("model", "report.html", "explanations.jsonl")


def check_output(output: Path) -> None:
    """Refuses a folder in which the demo would write over what it has not written itself.

    Raises:
        NotADirectoryError: `output` is a file.
        ValueError: files of these names are there and no demo's, or its model was changed since.
    """
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"output must be a folder, got the file {output}.")
    there = [name for name in _WRITTEN if (output / name).exists()]
    if not there:
        return
    marker = _marker(output)
    if marker is None:
        raise ValueError(
            f"output must be a folder where the demo may write {', '.join(_WRITTEN)}, got {output}, which holds "
            f"{', '.join(there)} that it did not write; choose another folder."
        )
    if "model" in there and marker.get("model") != _digest(output / "model"):
        raise ValueError(
            f"output must be a folder whose model the demo may replace, got {output}, whose model was changed after "
            "the demo had written it; choose another folder, or move the model away."
        )


@contextmanager
def scratch(output: Path) -> Iterator[Path]:
    """A folder inside `output` that is gone afterwards, whatever happens."""
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".mhex-demo-", dir=output) as folder:
        yield Path(folder)


def put_in_place(folder: Path, output: Path, settings: dict[str, Any]) -> None:
    """Moves the trained model from the scratch folder to `output`, beside a marker that says whose it is."""
    new, old = folder / "model", output / "model"
    metrics = new / "metrics.json"
    report = json.loads(metrics.read_text("utf-8"))
    report["settings"]["output_dir"] = str(old)
    metrics.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    marker = json.dumps({**settings, "model": _digest(new)}, indent=2) + "\n"
    check_output(output)  # training took a while
    if old.exists():
        old.rename(folder / "replaced")
    (output / MARKER).write_text(marker, "utf-8")
    new.rename(old)


def _marker(output: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((output / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _digest(folder: Path) -> str:
    """SHA-256 of all files in a folder, and of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
