# SPDX-License-Identifier: Apache-2.0
"""The pages point at what is there: relative links, modules and their attributes, files of the repository."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("studies/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]*))?\)")
DOTTED = re.compile(r"\bmhex_nlp(?:\.\w+)+")
PATH = re.compile(r"\b(?:mhex_nlp|tests|studies|scripts|docs)/[\w./-]*\w")
OLD = ("CHANGELOG.md",)  # names what was moved

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    module, _, rest = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return bool(module) and resolves(module) and hasattr(importlib.import_module(module), rest)
    return True


def headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pages
def test_relative_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text("utf-8")):
        if "://" not in target:
            file = page.parent / target
            assert file.exists(), f"{page.name} links to {target}, which is not there"
            assert not anchor or anchor in headings(file), f"{page.name} links to #{anchor}, no heading of {target}"


@pages
def test_modules_and_attributes_exist(page):
    if page.name not in OLD:
        missing = [name for name in DOTTED.findall(page.read_text("utf-8")) if not resolves(name)]
        assert not missing, f"{page.name} mentions {missing}"


@pages
def test_files_exist(page):
    if page.name not in OLD:
        missing = [path for path in PATH.findall(page.read_text("utf-8")) if not (ROOT / path).exists()]
        assert not missing, f"{page.name} mentions {missing}"


def test_readme_names_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    table = (ROOT / "README.md").read_text("utf-8").partition("| extra | adds |")[2].partition("\n\n")[0]
    named = re.findall(r"`([a-z]+)`", " ".join(row.split("|")[1] for row in table.splitlines() if row.count("|") > 2))
    assert sorted(named) == sorted(extras)


def test_the_checks_see_what_is_wrong():
    assert resolves("mhex_nlp.explain.explainer.MhexExplainer") and not resolves("mhex_nlp.explain.nothing")
    assert LINK.findall("[a](b.md#c) [d](e.png)") == [("b.md", "c"), ("e.png", "")]
    assert DOTTED.findall("`mhex_nlp.a.b(c)`") == ["mhex_nlp.a.b"]
