# SPDX-License-Identifier: Apache-2.0
"""An explainer beside a deployed model: small, exact, and refused by any other weights."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.families import batch, plain_model, train_heads
from mhex_nlp import MhexConfig, get_mhex_model, save_explainer


@pytest.fixture
def saved(tmp_path):
    model = train_heads(get_mhex_model(plain_model("bert"), MhexConfig(gate=False, beta=0.25)))
    fit = {"depths": [0, 2, 4], "widths": [32, 32, 32], "skill": 0.5}
    model.add_readout(fit).fill(torch.randn(97, 3, generator=torch.Generator().manual_seed(0)))
    save_explainer(model, tmp_path)
    return model, tmp_path


def test_it_comes_back_on_the_same_model(saved):
    model, folder = saved
    again = get_mhex_model(plain_model("bert"), folder)
    assert again.mhex_config == MhexConfig(gate=False, beta=0.25) and again.config.mhex_fit["skill"] == 0.5
    with torch.no_grad():
        one, other = (m(**batch(), output_attributions=True) for m in (model, again))
    for name in ("logits", "head_logits", "layer_attributions", "fitted_attributions"):
        assert torch.equal(one[name], other[name]), name


def test_it_holds_none_of_the_models_weights(saved):
    model, folder = saved
    heads_bytes = sum(v.nbytes for k, v in model.state_dict().items() if k.startswith("mhex"))
    assert (folder / "explainer.safetensors").stat().st_size < heads_bytes + 4096
    record = json.loads((folder / "explainer.json").read_text())
    assert record["base"]["model_type"] == "bert" and len(record["base"]["sha256"]) == 64


def test_other_weights_are_refused(saved):
    other = plain_model("bert")
    with torch.no_grad():
        other.classifier.bias += 1e-3
    with pytest.raises(ValueError, match="made for other weights"):
        get_mhex_model(other, str(saved[1]))


def test_bad_folders(saved, tmp_path):
    plain, (model, folder) = plain_model("bert"), saved
    with pytest.raises(FileNotFoundError, match="MhexConfig or a folder of save_explainer"):
        get_mhex_model(plain, tmp_path / "nowhere")
    with pytest.raises(TypeError, match="must have MHEX heads"):
        save_explainer(plain, tmp_path / "x")
    with pytest.raises(ValueError, match="got gates, which change the predictions"):
        save_explainer(train_heads(get_mhex_model(plain)), tmp_path / "x")
    with pytest.raises(ValueError, match="neither trained nor fitted"):
        save_explainer(get_mhex_model(plain, MhexConfig(gate=False)), tmp_path / "x")
    with pytest.raises(NotADirectoryError, match="must be a folder"):
        save_explainer(model, folder / "explainer.json")
    (folder / "explainer.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="not the file that was saved"):
        get_mhex_model(plain, folder)
    (folder / "explainer.json").write_text("[]")
    with pytest.raises(ValueError, match="not a record of save_explainer"):
        get_mhex_model(plain, folder)
