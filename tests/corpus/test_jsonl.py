# SPDX-License-Identifier: Apache-2.0
"""Explanations in JSONL files: whole files only, and errors that name file and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.explanations import EXAMPLES, make
from mhex_nlp.corpus.jsonl import read_jsonl, write_jsonl
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


@pytest.mark.parametrize(("line", "message"), [(b"{", "not valid JSON"), (b"\xff", "utf-8"), (b"{}", "schema")])
def test_jsonl_errors_name_file_and_line(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(make().to_json().encode() + b"\n\n" + line + b"\n")
    reader = read_jsonl(path)
    assert next(reader) == make()
    with pytest.raises(ValueError, match=rf"out\.jsonl, line 3: .*{message}"):
        next(reader)
