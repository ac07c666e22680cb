# SPDX-License-Identifier: Apache-2.0
"""The study of the service: it sees answers that differ, and its table says what was measured."""

from __future__ import annotations

import copy

import pytest

from helpers.served import make_explainer

httpx = pytest.importorskip("httpx", reason="httpx asks the service")

from studies.service import Load, beside_direct, table, times  # noqa: E402

TEXTS = ["the film was good", "a dull plot"]


def answered(document):
    return httpx.Response(200, json=document)


def test_answers_are_set_beside_direct_calls():
    direct = list(make_explainer()(TEXTS))
    load = Load()
    documents = [{"predictions": [one.to_dict()["prediction"]], "explanations": [one.to_dict()]} for one in direct]
    for number, document in enumerate(documents):
        load.add(True, number, 0.1, answered(document))
        load.add(True, number, 0.1, answered(document))
        load.add(False, number, 0.1, answered({"predictions": document["predictions"]}))
    load.add(True, 0, 0.1, httpx.Response(429))
    beside = beside_direct(load, direct)
    assert beside["compared"] == beside["bit_equal"] == 4 and beside["within_tolerance"]
    assert load.statuses.count(200) == 6 and len(load.seconds[True]) == 4

    off = copy.deepcopy(documents[0])
    off["explanations"][0]["tokens"][1]["score"] += 2e-3
    load.add(True, 0, 0.1, answered(off))
    off["predictions"][0]["label"] = "another"
    load.add(False, 0, 0.1, answered(off))
    beside = beside_direct(load, direct)
    assert beside["compared"] == 6 and beside["bit_equal"] == 5 and beside["other_labels"] == 1
    assert beside["largest_difference_of_score"] == pytest.approx(2e-3, rel=0.01) and not beside["within_tolerance"]


def test_the_table_says_what_was_measured():
    part = {
        "predictions": times([0.1, 0.2, 0.3], 3.0),
        "with explanations": times([0.2, 0.3, 0.4], 3.0),
        "p50_ratio": {"ratio": 1.5, "interval95": [1.4, 1.6]},
        "requests": 6,
        "not_200": 1,
        "rss_mb": [700.0, 710.0, 707.0],
        "rss_ratio": 1.01,
        "answers": beside_direct(Load(), []),
    }
    report = {"clients": 2, "seconds": 3, "block": 1, "texts": 2, "data": "a.tsv", "seed": 0, "machine": "here"}
    stop = {"taken": 5, "answered": 5, "others": 0, "ended_by_itself": True}
    lines = "\n".join(table({**report, "load": part, "separate": part, "stopped": stop}))
    for piece in ("| 200 |", "1.50 [1.40, 1.60]", "12 requests, of which 2", "+1.0 %", "5 requests taken"):
        assert piece in lines
