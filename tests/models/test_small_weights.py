# SPDX-License-Identifier: Apache-2.0
"""Models in 8 and 4 bits (torchao, on a CPU): the same predictions, heads in float, fits of their own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, TorchAoConfig

from helpers.tiny import random_texts, save_checkpoint, tiny_tokenizer
from mhex_nlp import (
    AutoMhexModelForSequenceClassification,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
    save_explainer,
)
from mhex_nlp.models.weights_hash import base_hash, model_hash

quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
granularity = pytest.importorskip("torchao.quantization.granularity", reason="torchao is not installed")
TOKENIZER = tiny_tokenizer()
TEXT = "the film was good and the plot was dull"
KINDS = ("int8", "int4")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("base"), dropout=0.0, initializer_range=0.5)


def settings(kind: str) -> Any:
    if kind == "int8":
        return quantization.Int8WeightOnlyConfig(version=2)
    return quantization.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=granularity.PerGroup(32))


def small(base: Path, kind: str, auto: Any = AutoModelForSequenceClassification) -> Any:
    return auto.from_pretrained(base, quantization_config=TorchAoConfig(settings(kind))).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_heads_and_a_fit_on_small_weights(base: Path, tmp_path: Path, kind: str) -> None:
    plain = small(base, kind)
    model = get_mhex_model(plain, MhexConfig(gate=False))
    assert all(parameter.dtype == torch.float32 for parameter in model.mhex.parameters())
    inputs = TOKENIZER(random_texts(4), padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, plain(**inputs).logits)
        full = AutoModelForSequenceClassification.from_pretrained(base)(**inputs).logits
        assert not torch.equal(plain(**inputs).logits, full), "nothing was quantised"
    report = fit_equivalent_matrices(model, TOKENIZER, random_texts(60), attainable_texts=0, progress=False)
    assert report.skill > 0.3
    explainer = MhexExplainer(model, TOKENIZER)
    before = explainer(TEXT)
    assert explainer.refine(before, budget=4).passes == 5  # of subsets alone: there are no gradients
    save_explainer(model, tmp_path / "beside")
    model.save_pretrained(tmp_path / "whole")
    again = get_mhex_model(small(base, kind), tmp_path / "beside")
    assert MhexExplainer(again, TOKENIZER)(TEXT).tokens == before.tokens
    whole = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path / "whole")
    assert MhexExplainer(whole, TOKENIZER)(TEXT).tokens == before.tokens
    with pytest.raises(ValueError, match="made for other weights.* same dtype and quantisation"):
        get_mhex_model(AutoModelForSequenceClassification.from_pretrained(base), tmp_path / "beside")


def test_a_fit_of_full_weights_is_not_that_of_small_ones(base: Path, tmp_path: Path) -> None:
    full = get_mhex_model(AutoModelForSequenceClassification.from_pretrained(base).eval(), MhexConfig(gate=False))
    fit_equivalent_matrices(full, TOKENIZER, random_texts(60), attainable_texts=0, progress=False)
    full.save_pretrained(tmp_path)
    loaded = small(tmp_path, "int8", AutoMhexModelForSequenceClassification)
    with pytest.raises(ValueError, match="not those that its fit was made on"):
        MhexExplainer(loaded, TOKENIZER)(TEXT)
    noted = MhexExplainer(loaded, TOKENIZER, changed_weights="note")(TEXT)
    assert noted.method.skill is None and any("other weights" in note for note in noted.notes)


def test_weights_quantised_in_place(base: Path) -> None:
    """By torchao alone, of which transformers knows nothing."""
    plain = AutoModelForSequenceClassification.from_pretrained(base).eval()
    before = base_hash(plain), model_hash(plain)
    quantization.quantize_(plain, settings("int8"))
    assert base_hash(plain) != before[0] and model_hash(plain) != before[1]
    model = get_mhex_model(plain, MhexConfig(gate=False))
    fit_equivalent_matrices(model, TOKENIZER, random_texts(60), attainable_texts=0, progress=False)
    assert MhexExplainer(model, TOKENIZER)(TEXT, budget=4).passes == 5


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it
def test_an_adapter_learns_on_small_weights(base: Path) -> None:
    """LoRA on 8 bits with heads: both get a gradient, and no weight of the base does."""
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    model = get_mhex_model(peft.get_peft_model(small(base, "int8"), lora), MhexConfig(gate=False)).train()
    inputs = TOKENIZER(random_texts(4), padding=True, return_tensors="pt")
    model(**inputs, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert any("lora_B" in name for name in learning) and any("mhex.0.w2" in name for name in learning)
    assert not any("base_layer" in name for name in learning)
