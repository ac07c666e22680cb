# SPDX-License-Identifier: Apache-2.0
"""The folder of a report: files of others are never touched, and an earlier report goes when the new one is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...inputs.atomic_files import durable, temporary_for
from ...inputs.folders import check_folder, check_plain, odd_kind

INDEX = "index.html"
_MARKER, _MARK = "mhex-report.txt", b"This folder is a report of mhex_nlp; a new report replaces it.\n"
_REPORT_FILE = re.compile(r"index\.html|mhex-report\.txt|(?:texts|images)/g\d+-\d+\.html")


def page_name(group: int, number: int, pages: str = "texts") -> str:
    """The name, in the folder, of a group's page of texts or images."""
    return f"{pages}/g{group:03}-{number:04}.html"


class ReportFolder:
    """Writes the files of one report, and then removes those that only an earlier report has."""

    def __init__(self, path: str | os.PathLike[str], pages: str = "texts") -> None:
        self.path = Path(path)
        check_folder(self.path, "output_dir")
        names = self._names()
        check_plain(self.path, [name for name in names if _is_report_file(name)], "output_dir")
        ours = _MARKER in names and (self.path / _MARKER).read_bytes() == _MARK
        ours |= all(temporary_for(name) == _MARKER for name in names)  # killed at once
        if strange := [name for name in names if not (ours and _is_report_file(name))]:
            raise ValueError(
                f"output_dir must be a new folder, an empty one or that of an earlier report, got {self.path}, which "
                f"holds {strange[0]}."
            )
        self._written = {_MARKER}
        (self.path / pages).mkdir(parents=True, exist_ok=True)
        self._write(_MARKER, _MARK)

    def write(self, name: str, page: str) -> None:
        """A file by its name in the folder."""
        self._write(name, page.encode("utf-8"))
        self._written.add(name)

    def _write(self, name: str, content: bytes) -> None:
        with durable(self.path / name) as file:
            file.write(content)

    def finish(self) -> None:
        """The report is whole: removes what an earlier one, or a run that was stopped, has left."""
        for name in self._names():
            if name not in self._written and _is_report_file(name):
                (self.path / name).unlink()

    def _names(self) -> list[str]:
        paths = (path for path in self.path.rglob("*") if path.name.endswith(".html") or odd_kind(path) != "a folder")
        return sorted(path.relative_to(self.path).as_posix() for path in paths)


def _is_report_file(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    whole = f"{folder}/{temporary_for(file) or file}".lstrip("/")
    return _REPORT_FILE.fullmatch(whole) is not None
