# SPDX-License-Identifier: Apache-2.0
"""The pages of a report, by label and prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .folder import ReportFolder, page_name


@dataclass
class _Group:
    """What has one answer: predicted as `predicted`, and where it is known labelled `gold`."""

    index: int
    gold: str | None
    predicted: str | None
    pages: list[str] = field(default_factory=list)
    count: int = 0
    last_page: int = 0  # its number, among those of all groups
    entries: list[dict[str, Any]] = field(default_factory=list)  # of the last page, which is not written yet


class GroupedPages:
    """One open page for each group, written when the next entry of the group comes.

    Args:
        folder: where pages are written.
        size: entries on a page.
        render: the page of some entries, told its `gold`, `predicted`, `number`, `group` and neighbours by name.
        pages: the name of their folder.
    """

    def __init__(self, folder: ReportFolder, size: int, render: Callable[..., str], pages: str = "texts") -> None:
        self.folder, self.size, self.render, self.pages = folder, size, render, pages
        self.groups: dict[tuple[str | None, str | None], _Group] = {}
        self.names: list[str] = []  # of all pages, in the order in which they were begun

    def add(self, entry: dict[str, Any], gold: str | None, predicted: str | None) -> int:
        """Puts an entry on a page; the number of that page among `names`."""
        key = (gold, predicted)
        group = self.groups.setdefault(key, _Group(len(self.groups), *key))
        if group.count % self.size == 0:
            if group.pages:
                self._write(group, more=True)
            group.pages.append(page_name(group.index, len(group.pages) + 1, self.pages))
            group.last_page = len(self.names)
            self.names.append(group.pages[-1])
        group.count += 1
        group.entries.append(entry)
        return group.last_page

    def finish(self) -> None:
        """Writes the pages that are still open."""
        for group in self.groups.values():
            self._write(group, more=False)

    def _write(self, group: _Group, more: bool) -> None:
        number = len(group.pages)
        page = self.render(
            group.entries,
            gold=group.gold,
            predicted=group.predicted,
            number=number,
            group=group.index,
            previous=Path(group.pages[-2]).name if number > 1 else None,
            following=Path(page_name(group.index, number + 1, self.pages)).name if more else None,
        )
        self.folder.write(group.pages[-1], page)
        group.entries = []
