# SPDX-License-Identifier: Apache-2.0
"""`finetune` goes on from its checkpoints as if it had never stopped, and refuses what are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny import save_checkpoint
from mhex_nlp.training import FinetuneConfig, finetune

Settings = Callable[..., FinetuneConfig]
pytestmark = pytest.mark.usefixtures("fresh_accelerate")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(("save_steps", "masked_words"), [(None, 0.0), (4, 0.5)])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(
    plain: Path,
    tmp_path: Path,
    save_steps: int | None,
    masked_words: float,
    settings: Settings,
    fresh_accelerate: Callable[[], None],
) -> None:
    """Dropout on and three accumulated batches a step, from the end of an epoch and from the middle of one."""
    options: dict[str, Any] = {"batch_size": 4, "gradient_accumulation_steps": 3, "save_steps": save_steps}
    options["masked_words"] = masked_words
    whole = finetune(settings(plain, tmp_path / "whole", epochs=3, save_limit=9, **options))
    fresh_accelerate()
    checkpoints = sorted((tmp_path / "whole" / "checkpoints").iterdir())
    assert len(checkpoints) == 3
    first = checkpoints[0]  # after 4 of 4 steps of an epoch
    saved = torch.load(first / "custom_checkpoint_0.pkl", weights_only=False)
    assert (saved["epoch"], saved["batch"], saved["step"]) == ((1, 0, 4) if save_steps is None else (0, 12, 4))
    if save_steps is not None:
        fresh_accelerate()
        options["save_steps"] = 6  # in the middle of the second epoch
        finetune(settings(plain, tmp_path / "middle", epochs=3, **options))
        first = tmp_path / "middle" / "checkpoints" / "checkpoint_0"
    fresh_accelerate()
    resumed = finetune(settings(plain, tmp_path / "resumed", epochs=3, resume_from=first, **options))
    before, after = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert resumed["history"] == whole["history"]


def test_latest_goes_on_in_the_same_folder(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    finetune(settings(plain, tmp_path, epochs=1))
    fresh_accelerate()
    report = finetune(settings(plain, tmp_path, epochs=2, resume_from="latest"))
    assert report["step"] == 6 and len(report["history"]) == 2
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["checkpoint_0", "checkpoint_1"]
    fresh_accelerate()
    with pytest.raises(ValueError, match="output_dir.*checkpoints of an earlier run.*resume_from='latest'"):
        finetune(settings(plain, tmp_path, epochs=1))


def test_resuming_at_the_last_step_reports_that_step(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    whole = finetune(settings(plain, tmp_path, save_steps=3))
    assert whole["step"] == 6
    fresh_accelerate()
    last = tmp_path / "checkpoints" / "checkpoint_1"
    resumed = finetune(settings(plain, tmp_path / "resumed", save_steps=3, resume_from=last))
    assert resumed["step"] == 6 and resumed["history"] == whole["history"]
    before, after = weights(tmp_path), weights(tmp_path / "resumed")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_an_earlier_checkpoint_in_the_same_folder(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    """The run that goes on from it numbers its own past those that are there, and is the latest afterwards."""
    whole = finetune(settings(plain, tmp_path, epochs=3, save_limit=9))
    before = weights(tmp_path)
    fresh_accelerate()
    first = tmp_path / "checkpoints" / "checkpoint_0"
    resumed = finetune(settings(plain, tmp_path, epochs=3, save_limit=9, resume_from=first))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [f"checkpoint_{i}" for i in range(5)]
    assert resumed["history"] == whole["history"]
    assert all(torch.equal(value, before[key]) for key, value in weights(tmp_path).items())
    fresh_accelerate()
    assert finetune(settings(plain, tmp_path, epochs=3, resume_from="latest"))["step"] == 9


def test_latest_is_the_latest_that_is_complete(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    finetune(settings(plain, tmp_path, epochs=1))
    torn = tmp_path / "checkpoints" / "checkpoint_1"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    fresh_accelerate()
    report = finetune(settings(plain, tmp_path, epochs=2, resume_from="latest", save_limit=3))
    assert report["step"] == 6 and (tmp_path / "checkpoints" / "checkpoint_2" / "model.safetensors").is_file()


def test_what_is_no_checkpoint_is_refused(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    with pytest.raises(ValueError, match="resume_from='latest'.*got none"):
        finetune(settings(plain, tmp_path, resume_from="latest"))
    with pytest.raises(ValueError, match=f"resume_from must be a checkpoint of finetune.*got '{plain}'"):
        finetune(settings(plain, tmp_path, resume_from=plain))
    with pytest.raises(FileNotFoundError, match="resume_from must be 'latest' or a checkpoint folder, got .*nowhere"):
        finetune(settings(plain, tmp_path, resume_from=tmp_path / "nowhere"))
    finetune(settings(plain, tmp_path / "run", epochs=1))
    fresh_accelerate()
    wide = save_checkpoint(tmp_path / "wide", hidden_size=48)
    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint_0"
    with pytest.raises(ValueError, match=f"resume_from must be a checkpoint of the model that is trained.*'{wide}'"):
        finetune(settings(wide, tmp_path / "other", resume_from=checkpoint))
