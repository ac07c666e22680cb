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
from mhex_nlp.evaluation.metrics import images, naopc, perturbation, plausibility, ranking
from mhex_nlp.evaluation.metrics.evaluate_module import MhexMetric

FULL, CHANGED = [0.9, 0.5], [[0.8, 0.7, 0.4], [0.5, 0.6, 0.2]]
SCORES, OTHER, MARKS = [[3.0, 1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0, 3.0], [1.0, 5.0]], [[1, 0, 1], [0, 1]]
HARD = [[1, 1, 0], [0, 1]]
SOFT, AOPCS, BOUNDS = [0.6, 0.7], [0.2, 0.5], [[0.1, 0.6], [-0.1, 0.5]]
SPANS, TRUE_SPANS = [[[0, 2]], [[1, 2], [4, 6]]], [[[0, 3]], [[1, 2]]]
MAPS, REGIONS = [[[3.0, -2.0], [1.0, 4.0]], [[0.0, 1.0], [2.0, 3.0]]], [[[1, 1], [0, 0]], [[0, 0], [0, 1]]]
AREAS, SHARES = [[1.0, 0.4, 0.0], [0.9, 0.1]], [[0.0, 0.25, 1.0], [0.0, 1.0]]
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
    "mask_iou": (REGIONS, REGIONS[::-1], {}, 0.0),
    "region_energy": (MAPS, REGIONS, {}, images.region_energy(MAPS, REGIONS).mean()),
    "pointing_game": (MAPS, REGIONS, {}, 0.5),
    "precision_at": (MAPS, REGIONS, {"k": 2}, 0.5),
    "deletion_auc": (AREAS, SHARES, {}, images.deletion_auc(AREAS, SHARES).mean()),
    "insertion_auc": (AREAS, SHARES, {}, images.insertion_auc(AREAS, SHARES).mean()),
    "road": (AREAS, [[1.0, 0.6, 0.5], [0.8, 0.2]], {}, images.road(AREAS, [[1.0, 0.6, 0.5], [0.8, 0.2]]).mean()),
}


def test_every_metric_has_a_case_and_a_row_and_no_module_lies_about():
    modules = [
        path.name for path in Path(metrics.__file__).parent.rglob("*.py") if "evaluate.Metric)" in path.read_text()
    ]
    assert modules == ["evaluate_module.py"]
    assert set(metrics.METRICS) == {*CASES, "accuracy", "f1"}


def test_imports_stand_one_to_a_line_and_name_the_package_in_full():
    """evaluate's own parser takes `import datasets, evaluate` for a package called "datasets,"."""
    path = Path(metrics.__file__).with_name("evaluate_module.py")
    lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith(("import ", "from "))]
    assert lines and not any("," in line or "(" in line or "from ." in line for line in lines)


def test_an_unknown_metric_is_refused_by_name_and_by_configuration():
    with pytest.raises(ValueError, match="name must be one of accuracy, f1, .*, got 'bleu'"):
        metrics.load("bleu")
    with pytest.raises(ValueError, match="config_name must be one of accuracy, f1, .*, got 'bleu'"):
        MhexMetric("bleu")
    with pytest.raises(ValueError, match="got 'default'"):
        MhexMetric()


def test_modules_say_what_the_functions_say_without_a_hub(tmp_path):
    """In a process of its own: the caches are fixed when datasets is imported."""
    inputs = {name: case[:3] for name, case in CASES.items()}
    code = """
import json, sys
import evaluate
from mhex_nlp.evaluation import metrics
results = {}
for name, (predictions, references, options) in json.load(sys.stdin).items():
    metric = metrics.load(name)
    assert isinstance(metric, evaluate.Metric) and metric.description and metric.inputs_description
    for one, other in zip(predictions, references):
        metric.add_batch(predictions=[one], references=[other])
    in_parts = metric.compute(**options)
    assert in_parts == metric.compute(predictions=predictions, references=references, **options), name
    results[name] = in_parts
try:
    metrics.load("auprc").compute(predictions=[], references=[])
except ValueError as error:
    results["empty"] = str(error)
try:
    metrics.load("log_odds").compute(predictions=[[float("nan")]], references=[0.5])
except ValueError as error:
    results["nan"] = str(error)
try:
    metrics.load("naopc").compute(predictions=[0.9], references=[[0.0, 0.5]])
except ValueError as error:
    results["outside"] = str(error)
accuracy, f1 = metrics.load("accuracy"), metrics.load("f1")
for predictions, references in (([0, 1], [0, 0]), ([1, 1], [1, 1])):
    accuracy.add_batch(predictions=predictions, references=references)
assert accuracy.compute() == {"accuracy": 0.75}
assert f1.compute(predictions=[0, 1, 1, 1], references=[0, 0, 1, 1], average="binary") == {"f1": 0.8}
try:
    metrics.load("rouge")
except ValueError as error:
    results["unknown"] = str(error)
print(json.dumps(results))
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(root)}
    environment = {name: value for name, value in environment.items() if not name.startswith("HF_DATASETS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(inputs),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    for name, (*_, expected) in CASES.items():
        assert results[name][name] == pytest.approx(float(expected), abs=1e-12), name
    assert results["iou_f1"]["iou_f1_micro"] == pytest.approx(0.8)
    assert results["token_f1"]["token_f1_micro"] == pytest.approx(2 / 3)
    assert "accuracy, f1" in results["unknown"] and (tmp_path / "modules").is_dir()
    assert "at least one text" in results["empty"]
    assert "must be finite" in results["nan"]
    assert "aopc must be between its exact bounds 0 and 0.5, got 0.9" in results["outside"]


def test_a_row_describes_itself_by_its_function():
    rows = metrics.METRICS
    assert rows["aopc"].inputs == "predictions: changed; references: full; divisor='paper'"
    assert rows["iou_f1"].inputs == "predictions: predicted; references: rationales; threshold=0.5"
    assert rows["soft_average_drop"].predictions == "float64" and "our reading" in rows["soft_average_drop"].description
    assert "Samek et al. 2017" in rows["aopc"].description and "ERASER" in rows["comprehensiveness"].description
    assert rows["f1"].compute("f1", [1, 0], [1, 1], average="binary") == {"f1": pytest.approx(2 / 3)}
    with pytest.raises(TypeError, match="unexpected keyword argument 'divisor'"):
        rows["log_odds"].compute("log_odds", CHANGED, FULL, divisor="bins")


@pytest.mark.parametrize("pair", [[0.5, 0.1], [0.1], [0.0, float("nan")]])
def test_bounds_that_are_none_are_refused(pair):
    with pytest.raises(ValueError, match=r"bounds\[1\] must be a finite \(lower, upper\), got "):
        naopc.mean_naopc([0.2, 0.2], [[0.0, 1.0], pair])


def test_texts_without_bounds_are_refused():
    with pytest.raises(ValueError, match="one entry a text, at least one text, got 0 and 0"):
        naopc.mean_naopc([], [])
    with pytest.raises(ValueError, match="must be finite, got nan"):
        naopc.mean_naopc([float("nan")], [[0.0, 1.0]])
