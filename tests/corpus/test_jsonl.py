# SPDX-License-Identifier: Apache-2.0
"""Explanations in JSONL files: whole files only, and errors that name file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.explanations import EXAMPLES, make
from mhex_nlp.corpus.jsonl import read_explanations, read_jsonl, write_jsonl
from mhex_nlp.explain.explanation import Explanation


def test_jsonl_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    explanations = [build() for build in EXAMPLES.values()]
    assert write_jsonl(iter(explanations), path) == len(explanations)
    assert path.read_bytes().count(b"\n") == len(explanations) and b"\r" not in path.read_bytes()
    assert list(read_jsonl(path)) == explanations
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert list(read_jsonl(str(path))) == explanations


def test_jsonl_appears_only_when_complete(tmp_path: Path) -> None:
    def failing() -> Iterator[Explanation]:
        yield make()
        raise RuntimeError("stop")

    path = tmp_path / "out.jsonl"
    with pytest.raises(RuntimeError, match="stop"):
        write_jsonl(failing(), path)
    assert list(tmp_path.iterdir()) == []
    write_jsonl([make()], path)
    with pytest.raises(RuntimeError, match="stop"):
        write_jsonl(failing(), path)
    assert list(tmp_path.iterdir()) == [path] and len(list(read_jsonl(path))) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "utf-8"),
        (b"{}", "schema"),
        (b"[" * 100_000, "nested too deeply"),
        (
            make().to_json().replace('"score": -0.25', '"score": -1e308').encode(),
            r"tokens\[1\] has a score that is not finite",
        ),
        (make().to_json().replace("0.25", "9" * 5000).encode(), "not valid JSON"),
    ],
    ids=["cut", "bytes", "no schema", "deep", "overflow", "digits"],
)
def test_jsonl_errors_name_file_and_line(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(make().to_json().encode() + b"\n\n" + line + b"\n")
    reader = read_jsonl(path)
    assert next(reader) == make()
    with pytest.raises(ValueError, match=rf"out\.jsonl, line 3: .*{message}"):
        next(reader)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (..., "does not list the files of its parts"),
        (7, "does not list"),
        ([{}], "does not list"),
        ([{"files": [3]}], "does not list"),
        (
            [{"files": {"../part-0-00000.jsonl": 1}}],
            r"names '\.\./part-0-00000\.jsonl', which is no file of its folder",
        ),
    ],
)
def test_a_job_whose_manifest_was_spoilt_is_refused(tmp_path: Path, parts: Any, message: str) -> None:
    manifest = {"schema": "mhex-highlights/1", "complete": True, "settings": {}, "parts": parts}
    if parts is ...:
        del manifest["parts"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        read_explanations(tmp_path)
