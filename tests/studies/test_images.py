# SPDX-License-Identifier: Apache-2.0
"""The study of maps of images: data drawn as said, and every group runs on a few images."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from studies.images import data
from studies.images.__main__ import main
from studies.images.report import _pooled


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of the names that the study reads, with noise in them."""
    path, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    with tarfile.open(path / "cifar10_test_jpg.tar", "w") as archive:
        for number in range(60):
            file = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
            member = tarfile.TarInfo(f"test/{('cat', 'dog')[number % 2]}/{number}.jpg")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)
    arrays = {f"{part}_images": draw.integers(0, 256, (60, 28, 28), dtype=np.uint8) for part in ("train", "test")}
    labels = {f"{part}_labels": draw.integers(0, 2, (60, 1)) for part in ("train", "test")}
    np.savez(path / "pneumoniamnist_train3882.npz", **arrays, **labels)
    return path


def test_the_pattern_alone_tells_the_class(folder):
    training, test = data.cifar(folder / "cifar10_test_jpg.tar")
    assert (len(training), len(test), training.names) == (48, 12, ["cat", "dog"])
    planted = data.planted(training, seed=0)
    assert set(planted.labels) == {0, 1, 2, 3} and (planted.regions.any((1, 2)) == (planted.labels > 0)).all()
    for pixels, before, label, region in zip(
        planted.pixels, training.pixels, planted.labels, planted.regions, strict=True
    ):
        changed = (pixels != before).any(-1)
        cells = region.repeat(data.CELL, 0).repeat(data.CELL, 1)
        assert not changed[~cells].any()
        assert region.sum() == (4 if label else 0)
        if label:
            assert (pixels[cells].reshape(data.PATTERN, data.PATTERN, 3) == data.stripes(label)).all()
    both, others, regions = data.planted_twice(training, seed=0)
    assert (both.labels != others).all() and not (both.regions & regions).any()
    assert (both.regions.sum((1, 2)) == 4).all() and (regions.sum((1, 2)) == 4).all()


def test_the_cost_is_measured(folder, tmp_path):
    output = tmp_path / "images.json"
    command = ["--smoke", "--data", str(folder), "--work", str(tmp_path), "--output", str(output), "--only", "cost"]
    main([*command, "--page", str(tmp_path / "page.md")])
    report = json.loads(output.read_text("utf-8"))
    assert set(report["groups"]["cost"]) == {"ResNet-50", "ViT-B"}
    assert report["groups"]["cost"]["ViT-B"]["batch 1"]["map / plain"]["ratio"] > 0
    assert "map / plain pass" in (tmp_path / "page.md").read_text("utf-8")
    with pytest.raises(SystemExit, match="of other settings"):
        main(command[1:])
    with pytest.raises(SystemExit, match="must name groups of planted, .*got magic"):
        main([*command, "--only", "magic"])


@pytest.mark.slow
def test_every_group_runs_and_is_kept(folder, tmp_path, capsys):
    output, page = tmp_path / "images.json", tmp_path / "page.md"
    command = ["--smoke", "--data", str(folder), "--work", str(tmp_path / "work"), "--output", str(output)]
    main([*command, "--page", str(page), "--only", "planted,accuracy"])
    report = json.loads(output.read_text("utf-8"))
    assert set(report["groups"]["planted"]) == {"ResNet/0", "ViT/0"}
    assert str(tmp_path) not in output.read_text("utf-8"), "no folders of the machine"
    first = report["groups"]["planted"]["ViT/0"]
    assert first["comparison"]["results"][1]["removal"] == "blur"
    assert first["twice"]["positive on the target"]["n"] == 12
    text = page.read_text("utf-8")
    assert text.count("<!-- images: begin -->") == 1 and "| **MHEX, fitted** |" in text
    main([*command, "--page", str(page), "--only", "planted,pneumonia"])
    again = json.loads(output.read_text("utf-8"))
    assert again["groups"]["planted"] == report["groups"]["planted"], "what is done is kept"
    assert set(again["groups"]["pneumonia"]["ResNet/0"]["against"]) == {"mean", "blur"}


def test_two_standard_errors_of_a_mean_over_seeds():
    gaps = [{"mean": 0.1, "se": 0.03}, {"mean": 0.3, "se": 0.04}]
    assert _pooled(gaps) == "+0.200 ± 0.050"
