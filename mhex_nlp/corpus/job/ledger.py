# SPDX-License-Identifier: Apache-2.0
"""What a job has done so far, on the disk: the manifest with its settings, and one line for each finished part.

A part is finished when its line is on the disk, which comes after its files are. Each process has a file of lines of
its own, so nothing is written by two. A line says under which settings it was written and ends with a hash of itself:
one that was cut short or changed counts for nothing, and so does one whose files are not what they were.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...explain.json_form import dumps
from ...inputs.atomic_files import content_hash, durable, sync_folder, temporary_for
from ...inputs.folders import check_folder
from ..summary import WORDS_OF_A_PART, CorpusSummary
from . import folder as files
from .folder import MANIFEST, SCHEMA, read_manifest


class Ledger:
    """The records of the parts that are finished, of all processes, and the file that this one, `rank`, adds to.

    Args:
        folder: the job's.
        rank: the number of this process.
        settings: what the output depends on, as JSON; `None` for those of the manifest.
        formats: the suffixes of a part's files; `None` for any.
    """

    def __init__(
        self, folder: Path, rank: int, settings: Mapping[str, Any] | None = None, formats: Sequence[str] | None = None
    ) -> None:
        self.folder, self.rank, self._formats = folder, rank, formats
        self._settings = dict(settings or {})
        self._key = None if settings is None else files.settings_key(settings)
        self._path = folder / f"progress-{rank}.jsonl"
        self._lock = FileLock(folder / f".lock-{rank}")
        self._hashes: dict[str, tuple[tuple[int, ...], str]] = {}  # by name: what tells another file, and the hash
        self._own = False  # whether the file that lines are added to is ours alone

    def open(self, overwrite: bool) -> None:
        """Begins a job in the folder, or goes on with one of the same settings; for the first process alone.

        Nothing changes, and no lock is made, before the folder is known to be new, empty or a job's of these settings.

        Raises:
            NotADirectoryError: the folder is a file.
            BlockingIOError: another process is at work there.
            ValueError: the folder holds something else, or finished parts were made with other settings.
        """
        check_folder(self.folder)
        if self.folder.exists():
            files.check_recognised(self.folder)
            if not Path(self._lock.lock_file).exists():
                self._check_settings(overwrite)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.acquire()
        for path in list(self.folder.iterdir()):  # of processes of an earlier job
            if files.LOCK.fullmatch(path.name) and path.name != f".lock-{self.rank}":
                other = FileLock(path)
                self._take(other)
                other.release()
        files.check_recognised(self.folder)  # another may have been at work until now
        self._check_settings(overwrite)
        if overwrite:
            for path in files.ledgers(self.folder):
                path.unlink()
            self.write_json(MANIFEST, self._unfinished())
            self._remove(lambda name: files.JOB_FILE.fullmatch(name) is not None and name != MANIFEST)
        elif not (self.folder / MANIFEST).exists():
            self.begin()

    def _check_settings(self, overwrite: bool) -> None:
        if overwrite:
            return
        before = read_manifest(self.folder)["settings"] if (self.folder / MANIFEST).exists() else {}
        for record, _ in self._whole_lines(any_format=True):  # or their files would be removed
            if record.get("settings") != self._key:
                files.refuse_changes(before, self._settings, self.folder)
            elif not files.has_files(record, self._formats):
                made = sorted(str(name).rpartition(".")[2] for name in record["files"])
                raise ValueError(
                    f"formats must be those that {self.folder} was begun with, got {', '.join(self._formats or ())} "
                    f"where its parts are {', '.join(made)}. --overwrite begins anew."
                )

    def begin(self) -> None:
        """Says in the manifest that the job is not complete, which must be known before a part is made."""
        manifest = self._unfinished()
        if (rows := self.rows_before()) is not None:
            manifest["rows"] = rows
        if not (self.folder / MANIFEST).exists() or read_manifest(self.folder) != manifest:
            self.write_json(MANIFEST, manifest)

    def _unfinished(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "complete": False, "settings": self._settings}

    def rows_before(self) -> int | None:
        """How many rows an earlier run of the same settings found in all."""
        if not (self.folder / MANIFEST).exists():
            return None
        manifest = read_manifest(self.folder)
        return manifest.get("rows") if files.settings_key(manifest["settings"]) == self._key else None

    def remove_leftovers(self, finished: Mapping[int, Mapping[str, Any]]) -> None:
        """Removes what killed processes left: half-written files, and files of parts without a line."""
        named = {name for part in finished.values() for name in part["files"]}
        self._remove(lambda name: files.PART.fullmatch(name) is not None and name not in named)
        self._remove(lambda name: files.JOB_FILE.fullmatch(temporary_for(name) or "") is not None)

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

    def release(self) -> None:
        """Lets others in."""
        self._lock.release()

    def finished(self, look_at: Callable[[int], bool] = lambda part: True) -> dict[int, dict[str, Any]]:
        """By part, what a second run must know of it: `digest` of its rows, its `files`, and `line`, its place.

        Reads every line that there is, and the files of the parts that `look_at` chooses.
        """
        parts: dict[int, dict[str, Any]] = {}
        if self._key is None and not (self.folder / MANIFEST).exists():
            return parts
        key = self._key or files.settings_key(read_manifest(self.folder)["settings"])
        for record, line in self._whole_lines(look_at):
            if record.get("settings") == key:
                parts[record["part"]] = {"digest": record["digest"], "files": record["files"], "line": line}
        return dict(sorted(parts.items()))

    def _whole_lines(
        self, look_at: Callable[[int], bool] = lambda part: True, any_format: bool = False
    ) -> Iterator[tuple[dict[str, Any], tuple[Path, int, int]]]:
        """The records that are whole and whose files are, with file, place and length of their lines.

        With `any_format` those of parts in other formats than the ledger's as well.
        """
        formats = None if any_format else self._formats
        for path in files.ledgers(self.folder):
            with open(path, "rb") as file:
                start = 0
                for line in file:
                    record = files.unsealed(line)
                    if record is not None and self._is_whole(record, look_at, formats):
                        yield record, (path, start, len(line))
                    start += len(line)

    def _is_whole(
        self, record: Mapping[str, Any], look_at: Callable[[int], bool], formats: Sequence[str] | None
    ) -> bool:
        try:
            summary = CorpusSummary([])
            summary.merge(record["summary"])
            summary.merge(record["summary"])  # what is no number can be noted once, not added
            summary.labels = tuple(summary.words)
            dumps(summary.report(WORDS_OF_A_PART))
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            return False
        return files.has_files(record, formats) and (
            not look_at(record["part"]) or all(self._hash(name) == content for name, content in record["files"].items())
        )

    def _hash(self, name: str) -> str | None:
        """The hash of a file's content; it is read once, and again when it has changed."""
        try:
            status = (self.folder / name).stat()
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            if self._hashes.get(name, ((), ""))[0] != stamp:
                self._hashes[name] = stamp, content_hash(self.folder / name)
        except FileNotFoundError:
            return None
        return self._hashes[name][1]

    def records(self, finished: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The whole records of what `finished` gave, in the order of the parts, one at a time."""
        for part in finished.values():
            yield json.loads(_line(part))

    def add(self, record: Mapping[str, Any]) -> None:
        """Puts the line of a finished part on the disk."""
        new = not self._path.exists()
        if not new and not self._own:
            whole = self._path.read_bytes()
            with durable(self._path) as file:  # a line that was cut short ends here, and so does a second name
                file.write(whole[: whole.rfind(b"\n") + 1])
        self._own = True
        with open(self._path, "ab") as file:
            start = file.tell()
            try:
                file.write(files.sealed({**record, "settings": self._key}))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, start)
                raise
        if new:
            sync_folder(self.folder)

    def tidy(self, finished: Mapping[int, Mapping[str, Any]]) -> None:
        """Leaves the lines of `finished` alone, in the order of the parts; those that count for nothing go."""
        for path in files.ledgers(self.folder):
            lines = [part for part in finished.values() if part["line"][0] == path]
            ends = [part["line"][1] + part["line"][2] for part in lines]
            if [0, *ends] == [*(part["line"][1] for part in lines), path.stat().st_size]:
                continue
            if lines:
                with durable(path) as file:
                    file.writelines(map(_line, lines))
            else:
                path.unlink()

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file of the folder."""
        with durable(self.folder / name) as file:
            file.write(f"{dumps(dict(content), indent=1)}\n".encode())


def _line(part: Mapping[str, Any]) -> bytes:
    path, start, length = part["line"]
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(length)
