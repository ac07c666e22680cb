# SPDX-License-Identifier: Apache-2.0
"""The demo's folder: only an earlier demo is written over, and its model is replaced only by one that is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...inputs.folders import check_folder, check_plain, read_object

MARKER = "mhex-demo.json"
_SCRATCH = ".mhex-demo-"
_FILES = {
    "classification": ("explanations.jsonl", "report.html"),
    "ner": ("entities.jsonl", "entities.html"),
    "images": ("explanations.jsonl", "image.html"),
}


def check_output(output: Path, task: str = "classification") -> None:
    """Refuses a folder that is neither empty nor an earlier demo's of the task, or whose model was changed since."""
    check_folder(output)
    names = sorted(path.name for path in output.glob("*") if not path.name.startswith(_SCRATCH))
    if not names:
        return
    check_plain(output, [MARKER, *_FILES[task]])
    marker = read_object(output / MARKER)
    if "model" not in marker:
        raise ValueError(
            f"output must be a new or empty folder, or that of an earlier demo, got {output}, which holds {names[0]}."
        )
    if (earlier := marker.get("task", "classification")) != task:
        raise ValueError(f"output must be the folder of an earlier demo of {task}, got {output}, of {earlier!r:.40}.")
    if "model" in names and _digest(output / "model") not in (output / MARKER).read_text("utf-8"):
        raise ValueError(
            f"output must be a folder whose model the demo may replace, got {output}, whose model was changed after "
            "the demo had written it; choose another folder, or move the model away."
        )


@contextmanager
def scratch(output: Path) -> Iterator[Path]:
    """A folder inside `output` that is gone afterwards, whatever happens."""
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=_SCRATCH, dir=output) as folder:
        yield Path(folder)


def put_in_place(folder: Path, output: Path, settings: dict[str, Any]) -> None:
    """Moves the trained model from the scratch folder to `output`, beside a marker that says whose it is."""
    new, old = folder / "model", output / "model"
    metrics = new / "metrics.json"
    report = json.loads(metrics.read_text("utf-8"))
    report["settings"]["output_dir"] = str(old)
    metrics.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    check_output(output, settings.get("task", "classification"))  # training took a while
    marker = {**settings, "model": _digest(new)}
    if old.exists():
        old.rename(folder / "replaced")
    (output / MARKER).write_text(json.dumps(marker, indent=2) + "\n", "utf-8")
    new.rename(old)


def _digest(folder: Path) -> str:
    """SHA-256 of all files in a folder, and of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
