# SPDX-License-Identifier: Apache-2.0
"""The settings of `finetune`: checked before anything is loaded, and on the command line."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from mhex_nlp.cli import main
from mhex_nlp.cli.finetune import add_arguments
from mhex_nlp.training import FinetuneConfig


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer, got 1.5"),
        ({"lr": 0.0}, ValueError, "lr must be between 0 and inf, got 0.0"),
        ({"warmup": 1.0}, ValueError, "warmup"),
        ({"mixed_precision": "int8"}, ValueError, "'no', 'bf16', 'fp16'.*'int8'"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay"),
        ({"save_limit": None}, TypeError, "save_limit"),
        ({"lr": "5e-5"}, TypeError, "lr must be a number, got '5e-5'"),
        ({"lr": None}, TypeError, "lr must be a number, got None"),
        ({"lr": True}, TypeError, "lr must be a number"),
        ({"warmup": "0.1"}, TypeError, "warmup must be a number"),
        ({"weight_decay": "0"}, TypeError, "weight_decay must be a number"),
        ({"weight_decay": float("nan")}, ValueError, "weight_decay"),
        ({"loss_weight": -0.1}, ValueError, "loss_weight must be at least 0"),
        ({"validation_share": "a"}, TypeError, "validation_share must be a number"),
        ({"seed": 1.0}, TypeError, "seed must be an integer"),
        ({"seed": -1}, ValueError, "seed"),
        ({"gate": "no"}, TypeError, "gate must be True or False, got 'no'"),
        ({"gradient_checkpointing": None}, TypeError, "gradient_checkpointing must be True or False"),
        ({"text_column": 3}, TypeError, "text_column must be a string, got 3"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FinetuneConfig(model="m", data="d.csv", output_dir="o", **options)


@pytest.mark.parametrize(("given", "gate"), [([], None), (["--gate"], True), (["--no-gate"], False)])
def test_gate_on_the_command_line(given: list[str], gate: bool | None) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["--model", "m", "--data", "d.csv", "--output-dir", "o", *given])
    assert args.gate is gate and args.loss_weight is None


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    text = capsys.readouterr().out
    assert "mhex finetune --model distilbert" in text
    for name in FinetuneConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text
    assert "--no-gate" in text
