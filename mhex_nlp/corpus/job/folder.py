# SPDX-License-Identifier: Apache-2.0
"""What is in the folder of a job: the names of its files, how it is told from a folder of others, and its manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from ...explain.json_form import dumps
from ...inputs.atomic_files import temporary_for
from ...inputs.folders import check_plain, odd_kind, read_object

SCHEMA = "mhex-highlights/1"
MANIFEST, ERRORS, SUMMARY, SUMMARY_PAGE = "manifest.json", "errors.jsonl", "summary.json", "summary.html"
JUDGEMENT = "judgement.json"
PART = re.compile(r"part-\d+-(\d{5,})\.(jsonl|parquet|html)", re.ASCII)
_LEDGER, LOCK = re.compile(r"progress-\d+\.jsonl", re.ASCII), re.compile(r"\.lock-\d+", re.ASCII)
JOB_FILE = re.compile(
    "|".join([PART.pattern, _LEDGER.pattern, *map(re.escape, (MANIFEST, ERRORS, SUMMARY, SUMMARY_PAGE, JUDGEMENT))]),
    re.ASCII,
)
_CHECK = b', "check": "'
_RECORD = {"part": int, "rank": int, "rows": int, "digest": str, "files": dict, "errors": list, "summary": dict}


def part_name(rank: int, part: int) -> str:
    """The name of a part's files, without their suffix."""
    return f"part-{rank}-{part:05d}"


def ledgers(folder: Path) -> list[Path]:
    """The ledgers of all processes that worked there."""
    return sorted(path for path in folder.iterdir() if _LEDGER.fullmatch(path.name))


def check_recognised(folder: Path) -> None:
    """Changes nothing; ValueError where the folder holds something, and is no job's, or has links for files.

    A job's has its manifest, or where that is damaged a line of its ledger. A lock alone is what a process leaves that
    was killed at once.
    """
    names = sorted(path.name for path in folder.iterdir())
    check_plain(
        folder, [name for name in names if JOB_FILE.fullmatch(temporary_for(name) or name) or LOCK.fullmatch(name)]
    )
    if _manifest_is_ours(folder) or any(map(_holds_a_line, ledgers(folder))):
        return
    locked = any(LOCK.fullmatch(name) for name in names)
    strange = [name for name in names if not (LOCK.fullmatch(name) or locked and temporary_for(name) == MANIFEST)]
    if strange:
        raise ValueError(
            f"output must be a new or empty folder, or one of an earlier run, got {folder} with {strange[0]}."
        )


def _manifest_is_ours(folder: Path) -> bool:
    schema = read_object(folder / MANIFEST).get("schema")
    return isinstance(schema, str) and schema.startswith(SCHEMA.rpartition("/")[0] + "/")


def _holds_a_line(ledger: Path) -> bool:
    with open(ledger, "rb") as file:
        return any(unsealed(line) is not None for line in file)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest; ValueError where it cannot be read or is newer than we read."""
    path = folder / MANIFEST
    try:
        if (kind := odd_kind(path)) is not None:
            raise ValueError(f"it is {kind}")
        manifest = json.loads(path.read_text("utf-8"))
        if not isinstance(manifest, dict) or not isinstance(manifest.get("schema"), str):
            raise ValueError("it names no schema")
        if manifest["schema"] != SCHEMA:
            raise ValueError(f"it has schema {manifest['schema']!r:.80}, this version reads {SCHEMA!r}")
        if not isinstance(manifest.setdefault("settings", {}), dict):
            raise ValueError(f"settings must be an object, got {manifest['settings']!r:.80}")
        if not _is_count(manifest.get("rows", 0)):
            raise ValueError(f"rows must be a number of rows, got {manifest['rows']!r:.80}")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a manifest of a highlight job: {error}; `mhex highlight --overwrite` begins anew."
        ) from error
    return manifest


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def files_of_parts(folder: Path, manifest: Mapping[str, Any], suffix: str) -> dict[Path, str | None]:
    """The files of that suffix of a finished job, one a part and in order, with their hashes, where these are known.

    ValueError where the manifest names something else than the files of its parts, or one of them is not there.
    """
    parts = manifest.get("parts")
    known: list[Any] = parts if isinstance(parts, list) else []
    named: list[Any] = [part.get("files") if isinstance(part, dict) else None for part in known]
    chosen: dict[str, str | None] = {}
    for index, files in enumerate(named):
        matches = [PART.fullmatch(str(name)) for name in files] if isinstance(files, list | dict) else [None]
        if not all(match and int(match[1]) == index for match in matches):
            raise _other_files(folder)
        of_part = [str(name) for name in files if str(name).endswith(suffix)]
        chosen |= {name: files[name] if isinstance(files, dict) else None for name in of_part}
        if len(of_part) > 1 or len(chosen) not in (0, index + 1):
            raise _other_files(folder)
    if not named:
        raise _other_files(folder)
    for name in chosen:
        if not (folder / name).is_file() or odd_kind(folder / name) is not None:
            raise ValueError(f"source must be whole, got {folder} without {name}; run the same `mhex highlight` again.")
    return {folder / name: content for name, content in chosen.items()}


def _other_files(folder: Path) -> ValueError:
    return ValueError(
        f"{folder / MANIFEST} must name the files of each part of the job, got something else; run the same "
        "`mhex highlight` again."
    )


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """ValueError that names what differs between the settings of parts that are finished and those of this run."""
    old, new = _flat(before), _flat(now)
    changes = [
        f"{key} was {old.get(key)!r:.200} and is {new.get(key)!r:.200}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    named = f": {'; '.join(changes)}" if before and changes else ""
    raise ValueError(f"{folder} was begun with other settings{named}. --overwrite begins anew.")


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in json.loads(json.dumps(settings)).items():
        flat |= {f"{key} {name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def settings_key(settings: Mapping[str, Any]) -> str:
    """What stands for settings in a line of the ledger."""
    return xxhash.xxh3_128_hexdigest(json.dumps(settings, sort_keys=True).encode())


def sealed(record: Mapping[str, Any]) -> bytes:
    """A record as a line that ends with a hash of itself."""
    body = dumps(dict(record)).encode()[:-1]
    return body + _CHECK + xxhash.xxh3_128_hexdigest(body).encode() + b'"}\n'


def unsealed(line: bytes) -> dict[str, Any] | None:
    """The record of a line; `None` for what `sealed` has not made: its part is then made again."""
    body, _, check = line.rpartition(_CHECK)
    if check != xxhash.xxh3_128_hexdigest(body).encode() + b'"}\n':
        return None
    try:
        record: dict[str, Any] = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    known = isinstance(record, dict) and all(type(record.get(key)) is kind for key, kind in _RECORD.items())
    return record if known and record["part"] >= 0 else None


def has_files(record: Mapping[str, Any], formats: Sequence[str] | None) -> bool:
    """Whether a record names the files of its part, all formats and nothing else."""
    name = part_name(record["rank"], record["part"])
    kinds = [str(file).rpartition(".")[2] for file in record["files"]] if formats is None else formats
    return bool(kinds) and set(record["files"]) == {f"{name}.{kind}" for kind in kinds}
