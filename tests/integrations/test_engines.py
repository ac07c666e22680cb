# SPDX-License-Identifier: Apache-2.0
"""Real Ray and real Spark, two workers each, of which one is killed in the middle: no row is lost, none comes twice."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from helpers.tiny import tiny_texts
from mhex_nlp import highlight_dataset
from mhex_nlp.integrations.ray import ExplainBatches
from mhex_nlp.integrations.spark import explain_batches

pytestmark = pytest.mark.slow
COUNT, BATCH, BLOCKS = 240, 20, 6
BAD = {7: None, 31: " ", 130: ""}


@pytest.fixture(scope="module")
def rows():
    texts: list[Any] = tiny_texts(COUNT)[0]
    for index, text in BAD.items():
        texts[index] = text
    return pa.table({"id": pa.array(range(COUNT), pa.int32()), "text": pa.array(texts, pa.string())})


@pytest.fixture(scope="module")
def right(saved_explainer, rows):
    """The same rows from `highlight_dataset`."""
    return highlight_dataset(Dataset(rows), saved_explainer[0], errors="record")


@pytest.fixture(scope="module")
def ray():
    """A local Ray of two CPUs."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # or it would write a token into the home folder
    ray = pytest.importorskip("ray", reason="ray comes with the extra: pip install 'mhex_nlp[ray]'")
    pytest.importorskip("ray.data", reason="ray.data comes with the extra: pip install 'mhex_nlp[ray]'")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def spark():
    """A local Spark of two threads, which has a Python worker each, and tries a task again where one dies."""
    sql = pytest.importorskip("pyspark.sql", reason="pyspark comes with the extra: pip install 'mhex_nlp[spark]'")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is no java on the PATH")
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests
    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {"driver.host": "127.0.0.1", "driver.bindAddress": "127.0.0.1", "driver.memory": "512m"}
    settings |= {"ui.enabled": "false", "sql.shuffle.partitions": "2"}
    builder = sql.SparkSession.builder.master("local[2,4]")
    for name, value in settings.items():
        builder = builder.config(f"spark.{name}", value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def killed_once(explain: Any, folder: Any) -> Any:
    """`explain`, which writes down the process of each batch, and kills that of the third, once."""

    def with_accident(batch: Any) -> Any:
        seen = folder / f"{os.getpid()}"
        with seen.open("a") as file:
            file.write("batch\n")
        if sum(len(path.read_text().splitlines()) for path in folder.glob("[0-9]*")) >= 3:
            try:
                (folder / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return explain(batch)

    return with_accident


def check(found: pa.Table, right: Dataset, folder: Any) -> None:
    """The same columns in the rows of each id, whatever worker made them, after one worker died."""
    assert (folder / "killed").exists(), "no worker was killed"
    assert len(list(folder.glob("[0-9]*"))) >= 3, "two workers, and one in the place of the dead"
    found = found.sort_by("id")
    assert found["id"].to_pylist() == [*range(COUNT)]
    assert found.column_names == right.column_names
    for name in found.column_names:
        ours, others = found[name].to_pylist(), right[name][:]
        if pa.types.is_floating(kind := found.schema.field(name).type) or "float" in str(kind):
            ours, others = ([value for value in column if value is not None] for column in (ours, others))
            if ours and isinstance(ours[0], list):
                assert list(map(len, ours)) == list(map(len, others)), name
                ours, others = np.concatenate(ours), np.concatenate(others)
            np.testing.assert_allclose(ours, others, atol=1e-5, err_msg=name)
        else:
            assert ours == others, name
    reasons = {row: reason for row, reason in enumerate(found["mhex_error"].to_pylist()) if reason is not None}
    assert reasons == {7: "the text is missing", 31: "the text is empty", 130: "the text is empty"}


def test_ray(ray, rows, right, saved_explainer, tmp_path):
    class Watched(ExplainBatches):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._watched = killed_once(super().__call__, tmp_path)

        def __call__(self, batch: Any) -> Any:
            return self._watched(batch)

    size = COUNT // BLOCKS
    dataset = ray.data.from_arrow([rows.slice(start, size) for start in range(0, COUNT, size)])
    explained = dataset.map_batches(
        Watched,
        fn_constructor_kwargs={"model": str(saved_explainer[1]), "column": "text"},
        batch_format="pyarrow",
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=2),
    ).materialize()
    found = pa.concat_tables(ray.get(explained.to_arrow_refs()))
    assert found.schema.remove_metadata() == right.data.schema.remove_metadata()
    check(found, right, tmp_path)


def test_spark(spark, rows, right, saved_explainer, tmp_path):
    explain = explain_batches(model=saved_explainer[1], column="text")

    def watched(batches: Any) -> Any:
        one = killed_once(lambda batch: list(explain([batch])), tmp_path)
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH):
                yield from one(batch.slice(start, BATCH))

    frame = spark.createDataFrame(rows).repartition(BLOCKS)
    explained = frame.mapInArrow(watched, explain.schema(frame))
    assert explained.columns == right.column_names
    check(explained.toArrow(), right, tmp_path)
