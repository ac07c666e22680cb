# SPDX-License-Identifier: Apache-2.0
"""The `evaluate` modules: found by path without a hub, and saying what the pure functions say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mhex_nlp.evaluation import metrics
from mhex_nlp.evaluation.metrics import naopc, perturbation, plausibility, ranking

FULL, CHANGED = [0.9, 0.5], [[0.8, 0.7, 0.4], [0.5, 0.6, 0.2]]
SCORES, OTHER, MARKS = [[3.0, 1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0, 3.0], [1.0, 5.0]], [[1, 0, 1], [0, 1]]
HARD = [[1, 1, 0], [0, 1]]
SOFT, AOPCS, BOUNDS = [0.6, 0.7], [0.2, 0.5], [[0.1, 0.6], [-0.1, 0.5]]
SPANS, TRUE_SPANS = [[[0, 2]], [[1, 2], [4, 6]]], [[[0, 3]], [[1, 2]]]
# name: predictions, references, options, expected
CASES = {
    "aopc": (CHANGED, FULL, {}, perturbation.aopc(FULL, CHANGED).mean()),
    "comprehensiveness": (CHANGED, FULL, {}, perturbation.comprehensiveness(FULL, CHANGED).mean()),
    "sufficiency": (CHANGED, FULL, {"divisor": "paper"}, perturbation.sufficiency(FULL, CHANGED, "paper").mean()),
    "log_odds": (CHANGED, FULL, {}, perturbation.log_odds(FULL, CHANGED).mean()),
    "average_drop": (CHANGED, FULL, {}, perturbation.average_drop(FULL, CHANGED).mean()),
    "increase_in_confidence": (CHANGED, FULL, {}, perturbation.increase_in_confidence(FULL, CHANGED).mean()),
    "average_gain": (CHANGED, FULL, {}, perturbation.average_gain(FULL, CHANGED).mean()),
    "soft_average_drop": (SOFT, FULL, {}, perturbation.soft_average_drop(FULL, SOFT).mean()),
    "naopc": (AOPCS, BOUNDS, {"exact": False}, (0.2 + 1.0) / 2),
    "rank_agreement": (
        SCORES,
        OTHER,
        {"correlation": "kendall"},
        ranking.rank_agreement(SCORES, OTHER, "kendall").mean(),
    ),
    "auprc": (SCORES, MARKS, {}, plausibility.auprc(SCORES, MARKS).mean()),
    "token_f1": (HARD, MARKS, {}, plausibility.token_f1(HARD, MARKS).macro.f1),
    "iou_f1": (SPANS, TRUE_SPANS, {}, plausibility.iou_f1(SPANS, TRUE_SPANS).macro.f1),
}


def test_every_module_has_a_case_and_a_folder_and_nothing_lies_about():
    folders = {path.parent.name for path in Path(metrics.__file__).parent.glob("modules/*/*.py")}
    assert set(metrics.METRICS) == folders == {*CASES, "accuracy", "f1"}


def test_imports_stand_one_to_a_line():
    """evaluate's own parser takes `import datasets, evaluate` for a package called "datasets,"."""
    for path in Path(metrics.__file__).parent.glob("modules/*/*.py"):
        lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith(("import ", "from "))]
        assert lines and not any("," in line or "(" in line for line in lines), path


def test_modules_say_what_the_functions_say_without_a_hub(tmp_path):
    """In a process of its own: the caches are fixed when datasets is imported."""
    given = {name: case[:3] for name, case in CASES.items()}
    code = """
import json, sys
import evaluate
from mhex_nlp.evaluation import metrics
found = {}
for name, (predictions, references, options) in json.load(sys.stdin).items():
    metric = metrics.load(name)
    assert isinstance(metric, evaluate.Metric) and metric.description and metric.inputs_description
    for one, other in zip(predictions, references):
        metric.add_batch(predictions=[one], references=[other])
    in_parts = metric.compute(**options)
    assert in_parts == metric.compute(predictions=predictions, references=references, **options), name
    found[name] = in_parts
try:
    metrics.load("auprc").compute(predictions=[], references=[])
except ValueError as error:
    found["empty"] = str(error)
try:
    metrics.load("log_odds").compute(predictions=[[float("nan")]], references=[0.5])
except ValueError as error:
    found["nan"] = str(error)
try:
    metrics.load("naopc").compute(predictions=[0.9], references=[[0.0, 0.5]])
except ValueError as error:
    found["outside"] = str(error)
print(json.dumps(found))
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(root)}
    environment = {name: value for name, value in environment.items() if not name.startswith("HF_DATASETS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(given),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name, (*_, expected) in CASES.items():
        assert found[name][name] == pytest.approx(float(expected), abs=1e-12), name
    assert found["iou_f1"]["iou_f1_micro"] == pytest.approx(0.8)
    assert found["token_f1"]["token_f1_micro"] == pytest.approx(2 / 3)
    assert "at least one text" in found["empty"]
    assert "must be finite" in found["nan"]
    assert "aopc must be between its exact bounds 0 and 0.5, got 0.9" in found["outside"]


def test_bounds_that_are_none_are_refused():
    for pair in ([0.5, 0.1], [0.1], [0.0, float("nan")]):
        with pytest.raises(ValueError, match=r"bounds\[1\] must be a finite \(lower, upper\), got "):
            naopc.mean_naopc([0.2, 0.2], [[0.0, 1.0], pair])
    with pytest.raises(ValueError, match="one entry a text, at least one text, got 0 and 0"):
        naopc.mean_naopc([], [])
    with pytest.raises(ValueError, match="must be finite, got nan"):
        naopc.mean_naopc([float("nan")], [[0.0, 1.0]])
