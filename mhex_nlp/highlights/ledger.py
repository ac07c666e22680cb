# SPDX-License-Identifier: Apache-2.0
"""What a job has done so far, on the disk: the manifest with its settings, and one line for each finished part.

A part is finished when its line is on the disk, which comes after its files are. Each process has a file of lines of
its own, so nothing is written by two; a last line that was cut short counts for nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..durable import durable, remove_unfinished, sync_folder

SCHEMA = "mhex-highlights/1"
MANIFEST, ERRORS, SUMMARY, SUMMARY_PAGE = "manifest.json", "errors.jsonl", "summary.json", "summary.html"
_OURS = ("part-*", "progress-*.jsonl", MANIFEST, ERRORS, SUMMARY, SUMMARY_PAGE)


class Ledger:
    """The records of the parts that are finished, of all processes, and the file that this one adds to.

    Args:
        folder: the output folder.
        rank: of this process.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank = folder, rank
        self._path = folder / f"progress-{rank}.jsonl"
        self._lock = FileLock(folder / f".lock-{rank}")

    def open(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Begins a job in the folder, or goes on with one of the same settings; for the first process alone.

        Raises:
            ValueError: settings other than those that the folder was begun with (says which), or a folder that holds
                something else.
            BlockingIOError: another job writes to the folder.
        """
        self.acquire()
        manifest = self.read_manifest()
        if manifest is not None and not overwrite:
            _refuse_changes(manifest.get("settings", {}), settings, self.folder)
        elif overwrite:
            for pattern in _OURS:
                for path in self.folder.glob(pattern):
                    path.unlink()
        elif strange := sorted(p.name for p in self.folder.iterdir() if not p.name.startswith(".lock-")):
            raise ValueError(
                f"output must be a new or empty folder, or one of an earlier run, got {self.folder} with {strange[0]}."
            )
        if manifest is None or overwrite:
            self.write_json(MANIFEST, {"schema": SCHEMA, "complete": False, "settings": dict(settings)})
        remove_unfinished(self.folder, "*")
        named = {name for part in self.finished().values() for name in part["files"]}
        for path in self.folder.glob("part-*"):  # renamed, and then killed before their line was written
            if path.name not in named:
                path.unlink()

    def acquire(self) -> None:
        """Takes this process's place in the folder until `release`, or its end.

        Raises:
            BlockingIOError: another process has it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BlockingIOError(f"output must be a folder of one job at a time, got {self.folder} in use.") from error
        if self._path.exists():
            whole = self._path.read_bytes()
            if not whole.endswith(b"\n"):  # cut short: what follows must begin a line of its own
                os.truncate(self._path, whole.rfind(b"\n") + 1)

    def release(self) -> None:
        """Lets others in."""
        self._lock.release()

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest, if there is one; ValueError where it cannot be read or is newer than we read."""
        path = self.folder / MANIFEST
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            schema = found["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a manifest of a highlight job: {error}; --overwrite begins anew."
            ) from error
        if schema != SCHEMA:
            raise ValueError(f"{path} has schema {schema!r}; this version reads {SCHEMA!r}.")
        return found

    def finished(self) -> dict[int, dict[str, Any]]:
        """By part, what a second run must know of it: `digest` of its rows, how many `rows`, and `line`, its place."""
        found = {}
        for path in sorted(self.folder.glob("progress-*.jsonl")):
            with open(path, "rb") as file:
                start = 0
                for line in file:
                    if line.endswith(b"\n"):
                        record = json.loads(line)
                        sizes = record["files"]
                        if all(_size(self.folder / name) == size for name, size in sizes.items()):
                            kept = {key: record[key] for key in ("digest", "rows", "files")}
                            found[int(record["part"])] = {**kept, "line": (path, start)}
                    start += len(line)
        return dict(sorted(found.items()))

    def records(self) -> Iterator[dict[str, Any]]:
        """The whole records of the finished parts, in the order of the parts, one at a time."""
        for part in self.finished().values():
            path, start = part["line"]
            with open(path, "rb") as file:
                file.seek(start)
                yield json.loads(file.readline())

    def add(self, record: Mapping[str, Any]) -> None:
        """Puts the line of a finished part on the disk."""
        new = not self._path.exists()
        with open(self._path, "ab") as file:
            start = file.tell()
            try:
                file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, start)
                raise
        if new:
            sync_folder(self.folder)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file of the folder."""
        with durable(self.folder / name) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    plain = json.loads(json.dumps(now))
    changed = [key for key in sorted({*before, *plain}) if before.get(key) != plain.get(key)]
    if changed:
        told = "; ".join(f"{key} was {before.get(key)!r} and is {plain.get(key)!r}" for key in changed)
        raise ValueError(f"{folder} was begun with other settings: {told}. --overwrite begins anew.")
