# SPDX-License-Identifier: Apache-2.0
"""Models with heads on the disk and on their way to a hub, and what is refused as one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from unittest import mock

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from helpers.families import batch, plain_model, train_heads
from mhex_nlp import AutoMhexModelForSequenceClassification, MhexConfig, get_mhex_model
from mhex_nlp.models.modeling import mhex_class


@pytest.fixture
def model():
    return train_heads(get_mhex_model(plain_model("bert")))


def test_plain_load_names_mhex(model, tmp_path, capfd):
    """A gated checkpoint predicts differently as a plain model; the load report, auto_map and card say so."""
    model.save_pretrained(tmp_path)
    plain, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert type(plain) is BertForSequenceClassification
    assert {key.split(".")[0] for key in info["unexpected_keys"]} == {"mhex"}
    with torch.no_grad():
        assert not torch.allclose(plain.eval()(**batch()).logits, model(**batch()).logits, atol=1e-3)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoModelForSequenceClassification": "modeling_mhex.MhexBertForSequenceClassification"
    }
    card = (tmp_path / "README.md").read_text()
    assert "AutoMhexModelForSequenceClassification.from_pretrained" in card and "predicts differently" in card


def test_trust_remote_code_gives_the_mhex_model(model, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    model.save_pretrained(tmp_path / "a")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a", trust_remote_code=True)
    assert type(loaded) is type(model)
    loaded.save_pretrained(tmp_path / "b")  # our source is not copied into the folder
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == sorted(p.name for p in (tmp_path / "a").iterdir())
    assert (tmp_path / "b" / "modeling_mhex.py").read_text().count("\n") == 1


def test_an_existing_card_keeps_its_text(model, tmp_path):
    (tmp_path / "README.md").write_text("# My model\n\nTrained with care.\n")
    model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# My model\n\nTrained with care.\n") and card.count("## Loading this model") == 1


def test_push_to_hub_uploads_card_and_shim(model, tmp_path):
    """Inherited; the card that transformers makes for the upload still says how to load the model."""
    uploaded = {}

    def upload(repo_id, operations, **_):
        uploaded.update({each.path_in_repo: each.path_or_fileobj for each in operations})
        uploaded["card"] = Path(uploaded["README.md"]).read_text()  # the folder is gone after the upload

    api = mock.Mock(create_repo=mock.Mock(return_value=mock.Mock(repo_id="me/my-model")), create_commit=upload)
    card = ModelCard("---\nlibrary_name: transformers\n---\nmade by transformers\n")
    with (
        mock.patch("transformers.utils.hub.hf_api", return_value=api),
        mock.patch("transformers.utils.hub.create_and_tag_model_card", return_value=card),
    ):
        model.push_to_hub("me/my-model")
    assert {"model.safetensors", "config.json", "modeling_mhex.py", "README.md"} <= set(uploaded)
    assert "made by transformers" in uploaded["card"] and "## Loading this model" in uploaded["card"]


def test_base_model_saves_as_a_clean_plain_checkpoint(model, tmp_path):
    model.base_model.save_pretrained(tmp_path)
    _, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]


def test_pickle(model):
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is type(model) is mhex_class(BertForSequenceClassification)
    assert torch.equal(again(**batch()).head_logits, model(**batch()).head_logits)


def test_gated_models_keep_their_heads(model):
    with pytest.raises(ValueError, match="would change the predictions"):
        model.without_heads()


def dispatched():
    plain = plain_model("bert")
    plain.bert._hf_hook = object()
    return plain


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (dispatched, ValueError, "device_map"),
        (lambda: get_mhex_model(plain_model("bert")), ValueError, "already has MHEX heads"),
        (lambda: plain_model("bert").bert, TypeError, r"ForSequenceClassification\).* got BertModel"),
        (lambda: torch.nn.DataParallel(plain_model("bert")), TypeError, r"pass model\.module"),
        (lambda: torch.compile(plain_model("bert")), TypeError, r"pass model\._orig_mod"),
        (lambda: "bert-base-uncased", TypeError, "got str"),
    ],
    ids=["dispatched", "heads", "base", "parallel", "compiled", "name"],
)
def test_what_get_mhex_model_refuses(make, error, message):
    refused = make()
    with pytest.raises(error, match=message):
        get_mhex_model(refused)


def test_heads_that_do_not_fit(model, tmp_path):
    from safetensors.torch import load_file, save_file

    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    fewer = {name: value for name, value in weights.items() if not name.startswith("mhex.2.")}
    save_file(fewer, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"do not fit its config: missing \['mhex.2.bias'"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)
    more = {**weights, "mhex.3.w1": torch.zeros(32, 32)}
    save_file(more, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"unexpected \['mhex.3.w1'\]"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)
    other = {**weights, "mhex.0.w1": torch.zeros(16, 16)}
    save_file(other, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"mhex\.0\.w1 is \(16, 16\) in the file and \(32, 32\)"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)


def test_corrupt_and_missing_files(model, tmp_path):
    model.save_pretrained(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="corrupt or incomplete"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match="no file named model.safetensors"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises((OSError, ValueError), match="config"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)


def test_unknown_family_by_the_auto_class(tmp_path):
    from transformers import XLNetConfig, XLNetForSequenceClassification

    config = XLNetConfig(vocab_size=64, d_model=16, n_layer=1, n_head=2, d_inner=16)
    XLNetForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"register_site\('xlnet'"):
        AutoMhexModelForSequenceClassification.from_pretrained(tmp_path)


def test_settings_by_the_auto_class(tmp_path):
    plain_model("bert").save_pretrained(tmp_path)
    load = AutoMhexModelForSequenceClassification.from_pretrained
    assert load(tmp_path).mhex_config == MhexConfig()
    chosen = load(tmp_path, mhex=MhexConfig(gate=False, beta=0.1))
    assert chosen.mhex_config == MhexConfig(gate=False, beta=0.1) and not chosen.mhex[0].gate
    chosen.save_pretrained(tmp_path / "saved")
    assert load(tmp_path / "saved").mhex_config == MhexConfig(gate=False, beta=0.1)
    replaced = load(tmp_path / "saved", mhex=MhexConfig(gate=False, beta=0.2))
    assert replaced.mhex_config == MhexConfig(gate=False, beta=0.2)
    changed = load(tmp_path / "saved", mhex={"aggregation": "ema"})  # a dict changes what it names
    assert changed.mhex_config == MhexConfig(gate=False, beta=0.1, aggregation="ema")
    with pytest.raises(ValueError, match="mhex.gate must stay False, as the heads in .* were trained, got True"):
        load(tmp_path / "saved", mhex=MhexConfig())
    assert load(tmp_path, mhex={"loss_weight": 1.0}).mhex_config.loss_weight == 1.0
    with pytest.raises(ValueError, match="unknown fields"):
        load(tmp_path, mhex={"rank": 4})
