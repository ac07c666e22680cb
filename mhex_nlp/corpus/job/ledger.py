# SPDX-License-Identifier: Apache-2.0
"""What a job has done so far, on the disk: the manifest with its settings, and one line for each finished part.

A part is finished when its line is on the disk, which comes after its files are. Each process has a file of lines of
its own, so nothing is written by two; a last line that was cut short counts for nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...explain.json_form import dumps
from ..atomic_files import durable, sync_folder, temporary_for

SCHEMA = "mhex-highlights/1"
MANIFEST, ERRORS, SUMMARY, SUMMARY_PAGE = "manifest.json", "errors.jsonl", "summary.json", "summary.html"
_PART = re.compile(r"part-\d+-\d{5,}\.(jsonl|parquet|html)")
_JOB_FILE = re.compile(
    "|".join([_PART.pattern, r"progress-\d+\.jsonl", *map(re.escape, (MANIFEST, ERRORS, SUMMARY, SUMMARY_PAGE))])
)


class Ledger:
    """The records of the parts that are finished, of all processes, and the file that this one, `rank`, adds to."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank = folder, rank
        self._path = folder / f"progress-{rank}.jsonl"
        self._lock = FileLock(folder / f".lock-{rank}")

    def open(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Begins a job in the folder, or goes on with one of the same settings; for the first process alone.

        ValueError where finished parts were made with other settings, or the folder holds something else.
        """
        self.acquire()
        for path in self.folder.glob(".lock-*"):  # of processes of an earlier job
            if path.name != f".lock-{self.rank}":
                other = FileLock(path)
                self._take(other)
                other.release()
        self._remove(lambda name: _JOB_FILE.fullmatch(temporary_for(name) or "") is not None)
        begun = (self.folder / MANIFEST).exists()
        if not begun and (strange := sorted(p.name for p in self.folder.iterdir() if not p.name.startswith(".lock-"))):
            raise ValueError(
                f"output must be a new or empty folder, or one of an earlier run, got {self.folder} with {strange[0]}."
            )
        if overwrite:
            self._remove(lambda name: _JOB_FILE.fullmatch(name) is not None and name != MANIFEST)
        manifest = self.read_manifest() if begun and not overwrite else {}
        finished = self.finished()
        if finished:
            _refuse_changes(manifest.get("settings", {}), settings, self.folder)
        rows = {"rows": manifest["rows"]} if "rows" in manifest else {}
        self.write_json(MANIFEST, {"schema": SCHEMA, "complete": False, "settings": dict(settings), **rows})
        self.remove_strays(finished)

    def remove_strays(self, finished: Mapping[int, Mapping[str, Any]]) -> None:
        """Removes part files without a line: their process was killed between the two."""
        named = {name for part in finished.values() for name in part["files"]}
        self._remove(lambda name: _PART.fullmatch(name) is not None and name not in named)

    def _remove(self, condition: Callable[[str], bool]) -> None:
        for path in list(self.folder.iterdir()):
            if condition(path.name):
                path.unlink(missing_ok=True)

    def _take(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BlockingIOError(f"output must be a folder of one job at a time, got {self.folder} in use.") from error

    def acquire(self) -> None:
        """Takes this process's place in the folder until `release`, or its end; BlockingIOError where it is taken."""
        self._take(self._lock)
        if self._path.exists():
            whole = self._path.read_bytes()
            if not whole.endswith(b"\n"):  # cut short: what follows must begin a line of its own
                os.truncate(self._path, whole.rfind(b"\n") + 1)

    def release(self) -> None:
        """Lets others in."""
        self._lock.release()

    def read_manifest(self) -> dict[str, Any]:
        """The manifest; ValueError where it cannot be read or is newer than we read."""
        path = self.folder / MANIFEST
        try:
            manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
            schema = manifest["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a manifest of a highlight job: {error}; --overwrite begins anew."
            ) from error
        if schema != SCHEMA:
            raise ValueError(f"{path} has schema {schema!r}; this version reads {SCHEMA!r}.")
        return manifest

    def finished(self) -> dict[int, dict[str, Any]]:
        """By part, what a second run must know of it: `digest` of its rows, its `files`, and `line`, its place.

        Reads every line that there is.
        """
        parts = {}
        for path in sorted(self.folder.glob("progress-*.jsonl")):
            with open(path, "rb") as file:
                start = 0
                for line in file:
                    record = _read_line(line)
                    if record and all(_size(self.folder / name) == size for name, size in record["files"].items()):
                        kept = {key: record[key] for key in ("digest", "files")}
                        parts[int(record["part"])] = {**kept, "line": (path, start)}
                    start += len(line)
        return dict(sorted(parts.items()))

    def records(self, finished: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The whole records of what `finished` gave, in the order of the parts, one at a time."""
        for part in finished.values():
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
                file.write(f"{dumps(dict(record))}\n".encode())
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
            file.write(f"{dumps(dict(content), indent=1)}\n".encode())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _read_line(line: bytes) -> dict[str, Any] | None:
    """A record; `None` for what is none, such as a line that was cut short: its part is then made again."""
    try:
        record: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return None
    known = isinstance(record, dict) and {"part", "files", "digest", "rows", "errors", "summary"} <= record.keys()
    return record if known else None


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in json.loads(json.dumps(settings)).items():
        flat |= {f"{key} {name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    old, new = _flat(before), _flat(now)
    changes = [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if changes:
        raise ValueError(f"{folder} was begun with other settings: {'; '.join(changes)}. --overwrite begins anew.")
