# SPDX-License-Identifier: Apache-2.0
"""Parameter groups."""

from __future__ import annotations

import pytest
from torch import nn

from helpers.tiny import tiny_bert, tiny_mhex
from mhex_nlp import mhex_param_groups


def test_param_groups() -> None:
    model = tiny_mhex()
    groups = {group["name"]: group for group in mhex_param_groups(model, lr=1e-4, weight_decay=0.1)}
    assert set(groups) == {"backbone_decay", "backbone_no_decay", "heads_decay", "heads_no_decay"}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = {key: {names[id(p)] for p in group["params"]} for key, group in groups.items()}
    assert set().union(*held.values()) == set(names.values()) and sum(map(len, held.values())) == len(names)
    assert held["heads_decay"] | held["heads_no_decay"] == {n for n in names.values() if n.startswith("mhex.")}
    assert all("LayerNorm" in name or name.endswith("bias") for name in held["backbone_no_decay"])
    assert not any("LayerNorm" in name or name.endswith("bias") for name in held["backbone_decay"])
    assert {key: (group["lr"], group["weight_decay"]) for key, group in groups.items()} == {
        "backbone_decay": (1e-4, 0.1),
        "backbone_no_decay": (1e-4, 0.0),
        "heads_decay": (pytest.approx(2e-3), 0.1),
        "heads_no_decay": (pytest.approx(2e-3), 0.0),
    }
    model.base_model.requires_grad_(False)
    model.classifier.requires_grad_(False)
    frozen = mhex_param_groups(nn.ModuleDict({"module": model}), lr=1e-4, head_lr=5e-4)
    assert [group["name"] for group in frozen] == ["heads_decay", "heads_no_decay"]
    assert all(group["lr"] == 5e-4 for group in frozen)


def test_param_groups_refuse() -> None:
    with pytest.raises(ValueError, match="get_mhex_model"):
        mhex_param_groups(tiny_bert(), lr=1e-4)
    for rate in (0.0, -1e-4, float("nan")):
        with pytest.raises(ValueError, match="lr must be positive"):
            mhex_param_groups(tiny_mhex(), lr=rate)
    with pytest.raises(ValueError, match="frozen"):
        mhex_param_groups(tiny_mhex().requires_grad_(False), lr=1e-4)
