# SPDX-License-Identifier: Apache-2.0
"""What workers of Ray and Spark do with a table, without either: the columns of `highlight_dataset`."""

from __future__ import annotations

import pickle
import subprocess
import sys
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset

from helpers.placed import TOKENIZER, fitted, placed_model
from helpers.tiny import tiny_texts
from mhex_nlp import highlight_dataset
from mhex_nlp.integrations import batches
from mhex_nlp.integrations.batches import TableExplainer
from mhex_nlp.integrations.ray import ExplainBatches
from mhex_nlp.integrations.spark import explain_batches

TEXTS = [*tiny_texts(12)[0], None, " ", "good"]


@pytest.fixture(scope="module")
def table():
    return pa.table({"id": range(len(TEXTS)), "text": pa.array(TEXTS, pa.string())})


@pytest.fixture
def make(saved_explainer):
    return lambda column="text", **options: ExplainBatches(saved_explainer[1], column, **options)


def expected(table, explainer, **options):
    return highlight_dataset(Dataset(table), explainer, errors="record", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes": "all", "unit": "tokens", "top_k": 3},
        {"budget": 4, "target": "positive", "foil": "negative", "flip": True},
    ],
    ids=["defaults", "tokens", "budget"],
)
def test_columns_are_those_of_highlight_dataset(make, saved_explainer, table, options):
    explained, right = make(**options)(table), expected(table, saved_explainer[0], **options)
    assert explained.schema.remove_metadata() == right.data.schema.remove_metadata()
    rows, others = explained.to_pylist(), list(right)
    for row, other in zip(rows, others, strict=True):
        assert row.keys() == other.keys()
        for name, value in other.items():
            if isinstance(value, float) or (value and isinstance(value, list) and not isinstance(value[0], str)):
                np.testing.assert_allclose(row[name], value, atol=1e-5, err_msg=name)
            else:
                assert row[name] == value, name
    assert [row["mhex_error"] for row in rows[-3:]] == ["the text is missing", "the text is empty", None]


def test_batches_in_every_format(make, table):
    explain = make()
    rows = table.to_pylist()
    frames = explain(pd.DataFrame(rows)), explain({"id": np.arange(len(rows)), "text": np.array(TEXTS, dtype=object)})
    for explained in frames:
        assert explained.schema.types[2:] == explain(table).schema.types[2:]  # pandas has large strings
        assert explained.to_pylist() == explain(table).to_pylist()
    with pytest.raises(TypeError, match=r"'image' of shape \(2, 3\): pass batch_format=\"pyarrow\" to map_batches"):
        explain({"text": np.array(["a", "b"]), "image": np.zeros((2, 3))})
    with pytest.raises(TypeError, match=r"batch must be a pyarrow.Table, .*, got a list"):
        explain([1])


def test_no_row_and_many_rows(make, table):
    explain = make()
    assert explain(table.slice(0, 0)).schema == explain(table).schema and not len(explain(table.slice(0, 0)))
    with patch.object(batches, "ROWS", 4):
        assert explain(table)["id"].to_pylist() == [*range(len(TEXTS))]


def test_spark_function_yields_batches_of_any_size(saved_explainer, table):
    explain = explain_batches(model=saved_explainer[1])
    parts = list(explain(iter(table.to_batches(max_chunksize=4))))
    assert all(isinstance(part, pa.RecordBatch) for part in parts)
    assert pa.Table.from_batches(parts)["id"].to_pylist() == [*range(len(TEXTS))]
    assert list(explain(iter([]))) == []


def test_one_model_a_process(saved_explainer, table):
    """Settings travel, not weights; whatever explains with equal settings shares one model."""
    first = TableExplainer.of(saved_explainer[1], "text", {"top_k": 2})
    sent = pickle.dumps(first)
    again, other = pickle.loads(sent), TableExplainer.of(saved_explainer[1], "text", {"top_k": 3})
    assert len(sent) < 1000
    assert again.load() is first.load() and other.load().explainer is first.load().explainer


def test_pairs(make, saved_explainer):
    pairs = pa.table({"text": ["good film", "bad"], "other": ["fine plot", None]})
    explained = make(pair_column="other")(pairs).to_pylist()
    right = expected(pairs, saved_explainer[0], text_pair_column="other")
    assert [row["mhex_spans"] for row in explained] == list(right["mhex_spans"])
    assert [row["mhex_error"] for row in explained] == [None, "the second text is missing"]


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"column": "review"}, ValueError, r"column must name a column of the rows, got 'review'; they have \['id', '"),
        ({"column": "id"}, TypeError, r"column must name a column of strings, got 'id', which holds int64"),
        ({"column": None}, TypeError, "column must be the name of a column, got None"),
        ({"pair_column": "b"}, ValueError, "pair_column must name a column of the rows, got 'b'"),
        ({"colour": 1}, TypeError, "options must be those of BatchOptions, got 'colour'"),
        ({"target": ["positive"]}, TypeError, "target must be a plain value, got"),
        ({"target": "x"}, ValueError, "target must be a class of the model, got 'x'"),
        ({"errors": "skip"}, ValueError, "errors must be 'raise' or 'record', got 'skip'"),
        ({"unit": "lines"}, ValueError, "unit must be 'words' or 'tokens', got 'lines'"),
        ({"top_k": 0}, ValueError, "top_k must be an integer of at least 1"),
        ({"errors": "raise"}, ValueError, "row 12 of its batch cannot be explained: the text is missing"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_arguments_are_one_sentence(make, table, options, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        make(**options)(table)
    assert "\n" not in str(raised.value)


def test_bad_models_and_tables_are_one_sentence(make, saved_explainer, table, tmp_path):
    with pytest.raises(ValueError, match=r"model must be a folder or hub name .*: there is no such folder\."):
        ExplainBatches(str(tmp_path / "nothing"))
    with pytest.raises(TypeError, match="from which each worker loads it, got a MhexExplainer: save_pretrained"):
        ExplainBatches(saved_explainer[0])
    with pytest.raises(ValueError, match="no column that begins with mhex_, got mhex_label"):
        make()(table.append_column("mhex_label", table["text"]))


@pytest.mark.parametrize("task", ["token_classification", "question_answering"])
def test_other_tasks_and_the_schema_that_is_known_before_the_model(tmp_path, task):
    """Spark's schema is made on the driver of the config alone, and must be what the worker makes."""
    model = fitted(placed_model("answer" if task == "question_answering" else "token"))
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    answers = task == "question_answering"
    options = {"pair_column": "other"} if answers else {}
    rows = pa.table({"text": ["good film", "the plot was bad"], "other": ["fine plot", "a dull film ."]})
    for budget in ({}, {"budget": 0}):
        settings = TableExplainer.of(tmp_path, "text", {**options, **budget})
        explained = pa.concat_tables(settings.tables(rows))
        right = highlight_dataset(
            Dataset(rows), settings.load().explainer, text_pair_column="other" if answers else None, **budget
        )
        types = settings.types(["text", "other"])
        assert {name: explained.schema.field(name).type for name in types} == types
        assert explained.column_names == right.column_names
        assert explained["mhex_spans"].to_pylist() == list(right["mhex_spans"])
        assert ("mhex_score_errors" in types) == (not budget)
    with pytest.raises(ValueError, match="pair_column must"):
        TableExplainer.of(tmp_path, "text", {} if answers else {"pair_column": "other"}).types(["text", "other"])


def test_neither_library_is_needed_to_import(monkeypatch):
    code = (
        "import sys; sys.modules['ray'] = sys.modules['pyspark'] = None\n"
        "import mhex_nlp.integrations.ray, mhex_nlp.integrations.spark\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setitem(sys.modules, "pyspark.sql.types", None)
    with pytest.raises(ImportError, match=r"pip install 'mhex_nlp\[spark\]' installs it"):
        explain_batches("a-model").schema(None)


@pytest.mark.slow
def test_a_graph_in_the_place_of_the_model(saved_explainer, table, tmp_path):
    onnx = pytest.importorskip("mhex_nlp.integrations.onnx", reason="there is no export in this version")
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} comes with the extra: pip install 'mhex_nlp[onnx]'")
    onnx.export_onnx(saved_explainer[0], tmp_path / "graph")
    settings = TableExplainer.of(tmp_path / "graph", "text", {"classes": "all"})
    explained = pa.concat_tables(settings.tables(table))
    right = expected(table, saved_explainer[0], classes="all")
    assert isinstance(settings.load().explainer, onnx.OnnxExplainer)
    assert explained.schema.remove_metadata() == right.data.schema.remove_metadata()
    for name in ("mhex_error", "mhex_label", "mhex_spans", "mhex_starts", "mhex_notes"):
        assert explained[name].to_pylist() == list(right[name]), name
    scores = [np.concatenate([row for row in rows["mhex_scores"] if row]) for rows in (explained.to_pydict(), right)]
    np.testing.assert_allclose(*scores, atol=1e-4)
