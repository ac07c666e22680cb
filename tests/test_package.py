# SPDX-License-Identifier: Apache-2.0
"""The house rules a reader relies on: nine rooms, imports that run one way, lazy names, small files and functions."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mhex_nlp

PACKAGE = Path(mhex_nlp.__file__).parent
# A room imports lower floors only; rooms of one floor do not import each other. docs/architecture.md says why.
FLOORS = {
    "cli": 6,
    "integrations": 5,
    "training": 5,
    "corpus": 4,
    "evaluation": 4,
    "explain": 3,
    "models": 2,
    "inputs": 1,
    "render": 1,
}
BESIDE = {"__init__", "__main__", "_lazy", "_version", "modeling"}  # the last for checkpoints of earlier versions
PUBLIC = {
    "AutoMhexModelForImageClassification",
    "AutoMhexModelForQuestionAnswering",
    "AutoMhexModelForSequenceClassification",
    "AutoMhexModelForTokenClassification",
    "ContextExplainer",
    "ContextExplanation",
    "Explanation",
    "ImageExplanation",
    "MhexAnswerExplainer",
    "MhexCallback",
    "MhexConfig",
    "MhexEntityExplainer",
    "MhexExplainer",
    "MhexImageExplainer",
    "PositionedExplanation",
    "ScoredText",
    "Site",
    "__version__",
    "compare_explanations",
    "deep_supervision_loss",
    "explainer_for",
    "fit_equivalent_matrices",
    "get_mhex_model",
    "head_collaboration",
    "highlight_dataset",
    "mhex_param_groups",
    "register_site",
    "save_explainer",
    "write_report",
}
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 350, 50


def dotted(path: Path) -> tuple[str, ...]:
    """`mhex_nlp/inputs/texts.py` to ("inputs", "texts"), `mhex_nlp/inputs/__init__.py` to ("inputs",)."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


NAMES = {dotted(path): path for path in MODULES}


def imports_of(path: Path) -> Iterator[Path]:
    """The files of the package that a file imports, at the top or inside a function."""
    inside = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ("mhex_nlp", *inside)[: len(inside) + 2 - node.level] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            targets = [(*module, alias.name) for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "mhex_nlp":
                yield NAMES.get(target[1:]) or NAMES.get(target[1:-1]) or NAMES[()]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_has_a_floor():
    assert {room_of(path) for path in MODULES} == {*FLOORS, *BESIDE} and len(FLOORS) == 9


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.relative_to(PACKAGE).parts))
def test_imports_go_down(path):
    room = room_of(path)
    if room in BESIDE:
        return
    outside = {room_of(other) for other in imports_of(path)} - {room, "_lazy", "_version"}
    upward = {other for other in outside if FLOORS.get(other, 99) >= FLOORS[room]}
    assert not upward, f"{room} (floor {FLOORS[room]}) imports {upward}"


def test_no_circle():
    """Among all files but those that hand names on lazily, also by imports inside functions and for type checkers."""
    lazy = {path for path in MODULES if "def __getattr__" in (text := path.read_text("utf-8")) or "lazy_names(" in text}
    graph = {path: set(imports_of(path)) - lazy - {path} for path in MODULES if path not in lazy}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES) - len(lazy)


def test_the_floor_check_sees_imports():
    """Guards the tests above against finding nothing."""
    assert {"models", "inputs"} <= {room_of(path) for path in imports_of(PACKAGE / "explain" / "explainer.py")}
    inside = {path.name for path in imports_of(PACKAGE / "models" / "hooks.py")}
    assert inside == {"families.py", "head.py", "attention_flow.py", "padding.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.relative_to(PACKAGE).parts))
def test_files_and_functions_are_small(path):
    """A longer function says why in its docstring, in a sentence that begins with "Long because"."""
    source = path.read_text("utf-8")
    assert len(source.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
            assert "Long because" in (ast.get_docstring(node) or ""), f"{node.name} has over {LONGEST_FUNCTION} lines"


@pytest.mark.parametrize("room", FLOORS)
def test_every_room_can_be_imported_first(room):
    subprocess.run([sys.executable, "-c", f"import mhex_nlp.{room}"], check=True)


def test_public_names():
    assert set(mhex_nlp.__all__) == PUBLIC
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
    assert modules == {"GateActivation", "MhexHead", "FittedReadout", "PlainPass"}
