# SPDX-License-Identifier: Apache-2.0
"""Sources of images: whatever holds them, every row comes once, in order, undecoded, with its label and id."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature

from helpers.image_files import class_folder, png
from mhex_nlp.corpus.readers.images import content_of, images_of, open_images
from mhex_nlp.corpus.readers.rows import Row, RowSource

CLASSES = ["cat"] * 3 + ["dog"] * 3


def read(source: RowSource) -> list[Row]:
    rows = list(source)
    assert [row.number for row in rows] == list(range(len(rows)))
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folder(tmp_path / "pets")


def the_dataset() -> Dataset:
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["cat", "dog"])})
    images = [{"bytes": png(number), "path": None} for number in range(6)]
    return Dataset.from_dict({"image": images, "label": [0, 0, 0, 1, 1, 1]}, features=features)


def test_a_folder_with_a_folder_a_class(folder: Path) -> None:
    rows = read(open_images(folder, label_column="label", id_column="file_name"))
    assert [row.id for row in rows] == [f"{name}/{n}.png" for name in ("cat", "dog") for n in range(3)]
    assert [row.label for row in rows] == CLASSES
    assert [content_of(row.image) for row in rows] == [png(number) for number in range(6)]


def test_names_of_files_are_no_ids_unless_asked_for(folder: Path) -> None:
    assert [row.id for row in read(open_images(folder))] == list("012345")


def test_a_flat_folder_and_one_with_splits(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for number in range(3):
        (tmp_path / "flat" / f"{number}.png").write_bytes(png(number))
    assert [content_of(row.image) for row in read(open_images(tmp_path / "flat"))] == [png(n) for n in range(3)]
    class_folder(tmp_path / "split" / "train")
    class_folder(tmp_path / "split" / "test", each=1)
    assert len(read(open_images(tmp_path / "split"))) == 6
    assert [row.label for row in read(open_images(tmp_path / "split", split="test", label_column="label"))] == [
        *("cat", "dog")
    ]


def test_what_is_no_image_stays_a_row(tmp_path: Path) -> None:
    rows = read(open_images(class_folder(tmp_path / "pets", bad=True)))
    assert len(rows) == 8  # that they cannot be decoded, whoever decodes them says


def test_lists_of_file_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{name}/{n}.png" for name in ("cat", "dog") for n in range(3)]
    (folder / "list.csv").write_text("scan,kind\n" + "".join(f"{name},{name[:3]}\n" for name in names))
    (folder / "list.txt").write_text("\n".join(names))
    (folder / "list.jsonl").write_text("".join(json.dumps({"image": name}) + "\n" for name in [*names, 5, None]))
    rows = read(open_images(folder / "list.csv", image_column="scan", label_column="kind"))
    assert [(content_of(row.image), row.label) for row in rows] == [(png(n), CLASSES[n]) for n in range(6)]
    assert [content_of(row.image) for row in read(open_images(folder / "list.txt"))] == [png(n) for n in range(6)]
    *good, odd, missing = read(open_images(folder / "list.jsonl"))
    assert len(good) == 6
    assert odd.problem == "the image must be a file name, bytes or an Image column's cell, got a int"
    assert missing.problem == "the image is missing"
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.BytesIO("\n".join(names).encode()))
    assert [content_of(row.image) for row in read(open_images("-"))] == [png(n) for n in range(6)]


@pytest.mark.parametrize("kind", ["dataset", "saved", "splits", "parquet"])
def test_datasets_and_parquet(kind: str, tmp_path: Path) -> None:
    dataset, labels = the_dataset(), CLASSES
    if kind == "dataset":
        source = images_of(dataset, label_column="label")
    elif kind == "parquet":
        plain = dataset.cast_column("image", ImageFeature(decode=False))
        pq.write_table(pa.table({"image": plain["image"][:], "label": plain["label"][:]}), tmp_path / "a.parquet")
        source, labels = open_images(tmp_path / "a.parquet", label_column="label"), [0, 0, 0, 1, 1, 1]
    else:
        (dataset if kind == "saved" else DatasetDict(train=dataset)).save_to_disk(tmp_path / "saved")
        source = open_images(tmp_path / "saved", label_column="label")
    rows = read(source)
    assert [content_of(row.image) for row in rows] == [png(number) for number in range(6)]
    assert [row.label for row in rows] == labels


def test_the_same_files_elsewhere_are_the_same_source(tmp_path: Path) -> None:
    first = open_images(class_folder(tmp_path / "one" / "pets")).identity
    assert open_images(class_folder(tmp_path / "two" / "pets")).identity == first
    assert open_images(class_folder(tmp_path / "three" / "pets", each=2)).identity != first


@pytest.mark.parametrize("name", ["toy train 3.png", "a\nb.png", "a::b.png"])
def test_no_image_of_a_folder_is_left_out_without_a_word(name: str, folder: Path) -> None:
    (folder / "cat" / name).write_bytes(png(9))
    (folder / ".hidden.png").write_bytes(png(9))
    with pytest.raises(ValueError, match="^data must be a folder of images that are all in a split, got .* in none"):
        open_images(folder)
    (folder / "cat" / name).unlink()
    (folder / "cat" / "link.png").symlink_to(folder / "nothing.png")
    assert len([row for row in open_images(folder) if row.problem is None]) == 6


def test_bad_sources(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^image_column must name a column of '.*', got 'scan'; it has image, label"):
        open_images(folder, image_column="scan")
    with pytest.raises(
        ValueError, match=r"^data must be a folder, a dataset or a list of images, got the image '0.png'"
    ):
        open_images(folder / "cat" / "0.png")
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="^data must be a folder of images, or of files that name or hold some"):
        open_images(folder / "empty")
    with pytest.raises(ValueError, match="^split must be one that"):
        open_images(folder, split="test")
