# SPDX-License-Identifier: Apache-2.0
"""The house rules a reader relies on: lazy names, imports that run one way, no heavy import by accident."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mhex_nlp

PACKAGE = Path(mhex_nlp.__file__).parent
# Lower floors never import higher ones; rooms on one floor may import each other.
FLOORS = {
    "__init__": 99,
    "__main__": 7,
    "modeling": 7,
    "cli": 6,
    "training": 6,
    "corpus": 4,
    "evaluation": 4,
    "integrations": 4,
    "explain": 3,
    "models": 2,
    "inputs": 1,
    "render": 1,
    "_lazy": 0,
    "_version": 0,
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    inside = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            dotted = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["mhex_nlp", *inside][: len(inside) + 2 - node.level] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            dotted = [module] if len(module) > 1 else [[*module, alias.name] for alias in node.names]
        else:
            continue
        rooms |= {names[1] for names in dotted if names[0] == "mhex_nlp" and len(names) > 1}
    return rooms & set(FLOORS)


def test_every_room_has_a_floor():
    assert {room_of(path) for path in MODULES} == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_never_go_up(path):
    room = room_of(path)
    if room == "__init__":
        return
    upward = {other for other in imported_rooms(path) if FLOORS[other] > FLOORS[room]}
    assert not upward, f"{room} (floor {FLOORS[room]}) imports {upward}"


def test_the_floor_check_sees_imports():
    """Guards the test above against finding nothing."""
    assert {"models", "inputs"} <= imported_rooms(PACKAGE / "explain" / "explainer.py")


@pytest.mark.parametrize("room", [name for name, floor in FLOORS.items() if floor == 1 and name != "render"])
def test_public_names_resolve(room):
    __import__(f"mhex_nlp.{room}")


def test_every_public_name_is_there():
    for name in mhex_nlp.__all__:
        assert getattr(mhex_nlp, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'MhexModel'"):
        _ = mhex_nlp.MhexModel


def test_import_is_light():
    """`import mhex_nlp` and the settings come without torch; one explanation's JSON form without transformers."""
    code = (
        "import sys, mhex_nlp; mhex_nlp.MhexConfig(); heavy = {'torch', 'transformers', 'spacy', 'datasets'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "import mhex_nlp.explain.explanation; assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_file_carries_code_of_transformers():
    """No modelling code is copied: no room defines an attention or an encoder, and the only modules are our own."""
    modules = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                assert not node.name.endswith("Attention") and "Encoder" not in node.name, path
                modules |= {node.name} if any(ast.unparse(base).endswith("Module") for base in node.bases) else set()
    assert modules == {"GateActivation", "MhexHead", "FittedReadout"}
