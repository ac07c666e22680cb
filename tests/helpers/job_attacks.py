# SPDX-License-Identifier: Apache-2.0
"""What can be done to the folder of a job while nobody looks: named attacks on its files, and random mutations of JSON.

An attack is a function of the folder and of a folder outside it that it may lead to; it gives False where it makes no
sense.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mhex_nlp.corpus.job.folder import SCHEMA, sealed, unsealed

Attack = Callable[[Path, Path], Any]

LEDGER, MANIFEST, PART = "progress-0.jsonl", "manifest.json", "part-0-00001.jsonl"
TARGETS = [MANIFEST, LEDGER, PART, "part-0-00001.parquet", "part-0-00000.html"]
TARGETS += ["errors.jsonl", "summary.json", "summary.html", ".lock-0"]
ABSURD: list[Any] = [None, True, -1, 0, 10**30, 1e308, 0.5, "", "../x", "\ud800", "\x1b[2J", [], {}, [[]], {"a": None}]
NOISE = bytes(range(256)) * 4


def _delete(path: Path, outside: Path) -> None:
    path.unlink()


def _rename(path: Path, outside: Path) -> None:
    path.rename(path.with_name(f"{path.name}.bak"))


def _empty(path: Path, outside: Path) -> None:
    path.write_bytes(b"")


def _halve(path: Path, outside: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _edit(path: Path, outside: Path) -> None:
    """One byte in the middle; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _append(path: Path, outside: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"more": 1}\n')


def _cut_end(path: Path, outside: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _twice(path: Path, outside: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def _noise(path: Path, outside: Path) -> None:
    path.write_bytes(NOISE)


def _link(path: Path, outside: Path) -> None:
    shutil.copy2(path, outside / path.name)
    path.unlink()
    path.symlink_to(outside / path.name)


def _broken_link(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / "nowhere")


def _second_name(path: Path, outside: Path) -> None:
    """As a backup that shares files with the original."""
    os.link(path, outside / path.name)


def _directory(path: Path, outside: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside.txt").write_text("mine")


def _fifo(path: Path, outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _closed(path: Path, outside: Path) -> None:
    path.chmod(0)


def _utf16(path: Path, outside: Path) -> None:
    path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-16"))


ON_A_FILE = [_delete, _rename, _empty, _halve, _edit, _append, _cut_end, _twice, _noise, _link, _broken_link]
ON_A_FILE += [_second_name, _directory, _fifo, _closed, _utf16]


def _on_file(change: Attack, name: str, folder: Path, outside: Path) -> Any:
    if not (folder / name).is_file() or change in (_halve, _edit, _cut_end) and not (folder / name).stat().st_size:
        return False
    return change(folder / name, outside)


def _lines(change: Callable[[list[bytes]], list[bytes]], folder: Path, outside: Path) -> Any:
    lines = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    if not lines or unsealed(lines[0]) is None:
        return False
    return (folder / LEDGER).write_bytes(b"".join(change(lines)))


def _forged(change: Callable[[dict[str, Any]], Any], folder: Path, outside: Path) -> Any:
    """A line that was changed, with the hash that it should have."""

    def forge(lines: list[bytes]) -> list[bytes]:
        record = unsealed(lines[0])
        change(record)
        return [sealed(record), *lines[1:]]

    return _lines(forge, folder, outside)


def _manifest(change: Callable[[dict[str, Any]], Any], folder: Path, outside: Path) -> Any:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except ValueError:
        return False
    if manifest.get("schema") != SCHEMA:
        return False
    changed = change(manifest)
    return (folder / MANIFEST).write_text(json.dumps(manifest if changed is None else changed))


def _write(name: str, content: bytes, folder: Path, outside: Path) -> None:
    (folder / name).write_bytes(content)


def _link_to_outside(name: str, folder: Path, outside: Path) -> None:
    (outside / "precious").write_text("precious")
    (folder / name).symlink_to(outside / "precious")


def _leads_out(record: dict[str, Any]) -> None:
    record["files"] = {f"../outside/{name}": content for name, content in record["files"].items()}


def _everything_but(name: str, folder: Path, outside: Path) -> Any:
    if not (folder / name).exists():
        return False
    for path in folder.iterdir():
        if path.name != name:
            path.unlink()


def _folder_is_a_link(folder: Path, outside: Path) -> None:
    folder.rename(outside / "moved")
    folder.symlink_to(outside / "moved")


def _numbered(record: dict[str, Any], number: Any) -> None:
    record["part"] = number


def named_attacks() -> dict[str, Attack]:
    """Over 150 of them, by name."""
    attacks: dict[str, Attack] = {
        f"{change.__name__.strip('_')} {name}": partial(_on_file, change, name)
        for name in TARGETS
        for change in ON_A_FILE
    }
    ledger = {
        "reverse": lambda lines: lines[::-1],
        "double": lambda lines: [line for line in lines for _ in (1, 2)],
        "drop the first of": lambda lines: lines[1:],
        "drop the last of": lambda lines: lines[:-1],
        "swap bytes in": lambda lines: [lines[0].replace(b'"rows"', b'"swor"'), *lines[1:]],
        "put noise between": lambda lines: [lines[0], NOISE, b"\n", *lines[1:]],
        "put another schema into": lambda lines: [b'{"part": 0, "files": {}}\n', *lines[1:]],
        "spell without hashes": lambda lines: [line.rpartition(b', "check"')[0] + b"}\n" for line in lines],
        "nest": lambda lines: [b"[" * 100_000 + b"\n", *lines],
    }
    attacks |= {f"{name} the ledger's lines": partial(_lines, change) for name, change in ledger.items()}
    forged: dict[str, Callable[[dict[str, Any]], Any]] = {
        "that leads out": _leads_out,
        "without files": lambda record: record.update(files={}),
        "with another's files": lambda record: record.update(files=dict.fromkeys(["part-9-00000.jsonl"], "0" * 32)),
        "with a page alone": lambda record: record["files"].pop("part-0-00000.jsonl"),
        "of part 10^30": partial(_numbered, number=10**30),
        "of part -1": partial(_numbered, number=-1),
        "of part true": partial(_numbered, number=True),
        "of other settings": lambda record: record.update(settings="0" * 32),
        "without a summary": lambda record: record.update(summary={}),
        "with a list for its summary": lambda record: record.update(summary=[]),
        "with words that are none": lambda record: record["summary"].update(words={"LABEL_0": {"a": [1]}}),
        "with a list for its files": lambda record: record.update(files=["part-0-00000.jsonl"]),
    }
    attacks |= {f"a forged line {name}": partial(_forged, change) for name, change in forged.items()}
    manifest: dict[str, Callable[[dict[str, Any]], Any]] = {
        "is a list": lambda manifest: [manifest],
        "is null": lambda manifest: "null",
        "is of version 2": lambda manifest: manifest.update(schema="mhex-highlights/2"),
        "is of version ∞": lambda manifest: manifest.update(schema="mhex-highlights/" + "9" * 5000),
        "is of another kind": lambda manifest: manifest.update(schema="mhex-summary/1"),
        "has no schema": lambda manifest: manifest.pop("schema") and None,
        "has no settings": lambda manifest: manifest.pop("settings") and None,
        "has a list for settings": lambda manifest: manifest.update(settings=[1]),
        "has other settings": lambda manifest: manifest["settings"].update(unit="pixels"),
        "has deep settings": lambda manifest: manifest["settings"].update(unit={"a": {"b": {"c": []}}}),
        "counts 10^30 rows": lambda manifest: manifest.update(rows=10**30),
        "counts -1 rows": lambda manifest: manifest.update(rows=-1),
        "counts 3 rows": lambda manifest: manifest.update(rows=3),
        "counts true rows": lambda manifest: manifest.update(rows=True),
        "counts other explanations": lambda manifest: manifest.update(explained=3),
        "is not complete": lambda manifest: manifest.update(complete=False),
        "is complete": lambda manifest: manifest.update(complete=True),
        "has no parts": lambda manifest: manifest.update(parts=[]),
        "has a part less": lambda manifest: manifest.get("parts", [0]).pop() and None,
        "has its parts the other way round": lambda manifest: manifest.get("parts", []).reverse(),
        "has a part without files": lambda manifest: manifest.get("parts", [{}])[0].update(files={}),
        "has a part that leads out": lambda manifest: manifest.get("parts", [{}])[0].update(files=["../x.jsonl"]),
        "has a part of /etc": lambda manifest: manifest.get("parts", [{}])[0].update(files=["/etc/passwd"]),
        "has numbers for parts": lambda manifest: manifest.update(parts=[1, 2, 3]),
    }
    attacks |= {f"a manifest that {name}": partial(_manifest, change) for name, change in manifest.items()}
    attacks["a manifest of 100,000 brackets"] = partial(_write, MANIFEST, b'{"schema":' + b"[" * 100_000)
    attacks["a manifest that is a bookmark of others"] = partial(_write, MANIFEST, b'{"name": "My app", "icons": []}')
    for name in (".summary.json.77.unfinished", f".{PART}.1.unfinished", ".manifest.json.2.unfinished"):
        attacks[f"an old {name}"] = partial(_write, name, b"half")
    attacks["a link for an unfinished file"] = partial(_link_to_outside, f".errors.jsonl.{os.getpid()}.unfinished")
    attacks["a second ledger without a line"] = partial(_write, "progress-7.jsonl", b"{}\n")
    attacks["a stray part"] = partial(_write, "part-3-00009.jsonl", b"stray")
    attacks["a lock of another process"] = partial(_write, ".lock-5", b"")
    attacks["a lock with content"] = partial(_write, ".lock-0", b"4711\n")
    attacks["a link for a lock"] = partial(_link_to_outside, ".lock-9")
    attacks["a file of others"] = partial(_write, "thesis.tex", b"mine")
    attacks["files of others with like names"] = partial(_write, "progress-of-work.jsonl", b"mine")
    attacks["a lock of others"] = partial(_write, ".lock-of-others", b"mine")
    attacks["a folder that is a link"] = _folder_is_a_link
    for name in (MANIFEST, LEDGER, ".lock-0", PART):
        attacks[f"nothing left but {name}"] = partial(_everything_but, name)
    return attacks


def mutated(document: Any, draw: random.Random) -> Any:
    """The document with one thing deleted, doubled, renamed or replaced, somewhere in it."""
    document = copy.deepcopy(document)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
        for key in keys:
            places.append((value, key))
            walk(value[key])

    walk(document)
    if not places or draw.random() < 0.02:
        return draw.choice(ABSURD)
    inside, key = draw.choice(places)
    kind = draw.choice(["delete", "replace", "replace", "rename", "other", "nudge"])
    if kind == "delete":
        del inside[key]
    elif kind == "rename" and isinstance(inside, dict):
        inside[str(draw.choice(ABSURD))] = inside.pop(key)
    elif kind == "other":
        other, place = draw.choice(places)
        inside[key] = copy.deepcopy(other.get(place) if isinstance(other, dict) else key)
    elif kind == "nudge" and isinstance(inside[key], int | float):
        inside[key] += draw.choice([1, -1, 0.5])
    else:
        inside[key] = draw.choice(ABSURD)
    return document


def mutated_bytes(content: bytes, draw: random.Random) -> bytes:
    """The bytes with some of them changed, lost, doubled or put in."""
    start = draw.randrange(len(content) + 1)
    end = min(len(content), start + draw.choice([1, 1, 3, 40]))
    middle = draw.choice(
        [b"", content[start:end] * 2, bytes(draw.randrange(256) for _ in range(end - start)), b'"', b"\n"]
    )
    return content[:start] + middle + (content[end:] if draw.random() < 0.9 else b"")
