# SPDX-License-Identifier: Apache-2.0
"""Adapters of PEFT with heads, in both orders: saved together, loaded in one call, refused on other weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from helpers.families import train_heads
from helpers.tiny import random_texts, save_checkpoint, tiny_tokenizer
from mhex_nlp import (
    AutoMhexModelForSequenceClassification,
    AutoMhexModelForTokenClassification,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
    save_explainer,
)
from mhex_nlp.cli import main
from mhex_nlp.corpus.jsonl import read_explanations
from mhex_nlp.models.weights_hash import base_hash

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it
TOKENIZER = tiny_tokenizer()
TEXT = "the film was good and the plot was dull"
READS = MhexConfig(gate=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("base") / "tiny", dropout=0.0, num_labels=3, id2label=None)


def plain(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()


def adapted(model: Any, seed: int = 0) -> Any:
    """As training leaves it: an adapter that changes what the model says."""
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    with_adapter = peft.get_peft_model(model, config).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in with_adapter.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return with_adapter


def fitted(model: Any) -> Any:
    fit_equivalent_matrices(model, TOKENIZER, random_texts(40), attainable_texts=0, progress=False)
    return model


@pytest.fixture(scope="module")
def saved(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Heads on top of an adapter, fitted, in a folder with it."""
    model, folder = fitted(get_mhex_model(adapted(plain(base)), READS)), tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    save_explainer(model, folder)
    return model, folder


def test_heads_on_an_adapted_model_change_nothing(base: Path) -> None:
    below = adapted(plain(base))
    inputs = TOKENIZER(random_texts(4), padding=True, return_tensors="pt")
    with torch.no_grad():
        before, with_heads = below(**inputs).logits, get_mhex_model(below, READS)
        assert torch.equal(with_heads(**inputs).logits, before) and torch.equal(below(**inputs).logits, before)
        with with_heads.disable_adapter():
            assert torch.equal(with_heads(**inputs).logits, plain(base)(**inputs).logits)
    assert isinstance(with_heads, peft.PeftModel) and not hasattr(below.get_base_model(), "mhex")
    learning = {name for name, parameter in with_heads.named_parameters() if parameter.requires_grad}
    assert {"base_model.model.mhex.0.w1", "base_model.model.mhex.1.bias"} <= learning


def test_one_call_brings_adapter_and_heads_back_to_the_bit(saved: tuple[Any, Path]) -> None:
    """The folder holds neither a tokenizer nor a base: both are those that the adapter names."""
    model, folder = saved
    assert not (folder / "tokenizer.json").exists()
    before, after = MhexExplainer(model, TOKENIZER)(TEXT), MhexExplainer.from_pretrained(str(folder))(TEXT)
    assert after.tokens == before.tokens and after.prediction == before.prediction
    assert after.method == before.method and after.method.skill is not None
    again = AutoMhexModelForSequenceClassification.from_pretrained(folder, is_trainable=True)
    assert any("lora_A" in name and parameter.requires_grad for name, parameter in again.named_parameters())


def test_the_command_takes_such_a_folder(saved: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = saved
    (tmp_path / "texts.txt").write_text(f"{TEXT}\nthe music was fine\n", "utf-8")
    command = ["highlight", "--model", str(folder), "--data", str(tmp_path / "texts.txt"), "--text-column", "text"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    first = next(iter(read_explanations(tmp_path / "out")))
    assert [token.score for token in first.tokens] == pytest.approx(
        [token.score for token in MhexExplainer(model, TOKENIZER)(TEXT).tokens], abs=1e-5
    )


@pytest.mark.parametrize("gate", [False, True])
def test_adapters_on_heads_come_back_to_the_bit(base: Path, tmp_path: Path, gate: bool) -> None:
    below = get_mhex_model(plain(base), MhexConfig(gate=gate))
    model = adapted(train_heads(below))
    model.save_pretrained(tmp_path)
    save_explainer(model, tmp_path)
    again = MhexExplainer.from_pretrained(str(tmp_path))
    assert again.model.config.mhex == below.config.mhex
    before = MhexExplainer(model, TOKENIZER)(TEXT, layers=True, classes="all")
    assert again(TEXT, layers=True, classes="all").tokens == before.tokens


def test_a_base_whose_classifier_is_new_each_time(base: Path, tmp_path: Path) -> None:
    """As of an encoder that was never a classifier: the adapter brings the classifier, and the classes' names."""
    encoder = plain(base).bert
    encoder.save_pretrained(tmp_path / "encoder")
    TOKENIZER.save_pretrained(tmp_path / "encoder")
    names = {0: "calm", 1: "glad", 2: "sad", 3: "wild"}
    below = AutoModelForSequenceClassification.from_pretrained(tmp_path / "encoder", id2label=names)
    model = fitted(get_mhex_model(adapted(below), READS))
    model.save_pretrained(tmp_path / "adapter")
    save_explainer(model, tmp_path / "adapter")
    after = MhexExplainer.from_pretrained(str(tmp_path / "adapter"))(TEXT)
    assert after.tokens == MhexExplainer(model, TOKENIZER)(TEXT).tokens
    assert after.label in names.values()


def test_another_name_for_the_adapter_is_no_other_adapter(base: Path, saved: tuple[Any, Path]) -> None:
    model, folder = saved
    renamed = peft.PeftModel.from_pretrained(plain(base), folder, adapter_name="mine").eval()
    again = get_mhex_model(renamed, folder)
    assert MhexExplainer(again, TOKENIZER)(TEXT).tokens == MhexExplainer(model, TOKENIZER)(TEXT).tokens
    assert base_hash(again.get_base_model()) == base_hash(model.get_base_model())


def test_what_does_not_belong_together_is_refused(base: Path, saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = saved
    other = plain(base)
    with torch.no_grad():
        other.bert.encoder.layer[0].output.dense.bias += 1e-3
    with pytest.raises(ValueError, match=r"the adapter and its heads in .* were made for other weights \(tiny\)"):
        get_mhex_model(peft.PeftModel.from_pretrained(other, folder), folder)
    with pytest.raises(ValueError, match="made for a model with an adapter, got a BertFor.* that runs none"):
        get_mhex_model(plain(base), folder)
    with pytest.raises(ValueError, match=r"made for another adapter than the one that runs \('default'\)"):
        get_mhex_model(adapted(plain(base), seed=1), folder)
    with pytest.raises(ValueError, match="must be loaded by AutoMhexModelForSequenceClassification"):
        AutoMhexModelForTokenClassification.from_pretrained(folder)
    save_explainer(fitted(get_mhex_model(plain(base), READS)), tmp_path)
    with pytest.raises(ValueError, match="made for a model without an adapter, got one that runs 'default'"):
        get_mhex_model(adapted(plain(base)), tmp_path)


def test_a_base_that_changed_or_went_is_named(saved: tuple[Any, Path], base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved[1], tmp_path / "adapter")
    moved = shutil.copytree(base, tmp_path / "moved")
    record = folder / "adapter_config.json"
    record.write_text(record.read_text().replace(str(base), str(moved)))
    changed = plain(moved)
    with torch.no_grad():
        changed.bert.pooler.dense.weight += 1e-3
    changed.save_pretrained(moved)
    with pytest.raises(ValueError, match="made for other weights"):
        MhexExplainer.from_pretrained(str(folder))
    shutil.rmtree(moved)
    with pytest.raises(OSError, match="moved"):
        MhexExplainer.from_pretrained(str(folder))


def test_a_fit_belongs_to_the_adapter_that_runs(base: Path) -> None:
    model = fitted(get_mhex_model(adapted(plain(base)), READS))
    explainer = MhexExplainer(model, TOKENIZER)
    first = explainer(TEXT)
    with model.disable_adapter(), pytest.raises(ValueError, match="not those that its fit was made on"):
        explainer(TEXT)
    model.add_adapter("second", peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
    assert explainer(TEXT).tokens == first.tokens
    model.set_adapter("second")
    with pytest.raises(ValueError, match="not those that its fit was made on"):
        explainer(TEXT)
    model.set_adapter("default")
    assert explainer(TEXT).tokens == first.tokens


def test_merging_keeps_heads_and_predictions(base: Path) -> None:
    model = get_mhex_model(adapted(plain(base)), READS)
    inputs = TOKENIZER(random_texts(4), padding=True, return_tensors="pt")
    with torch.no_grad():
        before = model(**inputs).logits
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(**inputs).logits, before)
    assert len(merged.mhex) == 2 and type(merged).__name__ == "MhexBertForSequenceClassification"


def test_learned_prompts_are_refused(base: Path) -> None:
    prompted = peft.get_peft_model(plain(base), peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2))
    with pytest.raises(ValueError, match="a text's own tokens alone, got a PeftModelFor.* that learned a prompt"):
        get_mhex_model(prompted, READS)


def test_tokens_are_classified_with_an_adapter_too(base: Path, tmp_path: Path) -> None:
    plain(base).bert.save_pretrained(tmp_path / "encoder")
    below = AutoModelForTokenClassification.from_pretrained(tmp_path / "encoder", num_labels=3).eval()
    config = peft.LoraConfig(task_type="TOKEN_CLS", r=2, target_modules=["query"])
    model = get_mhex_model(peft.get_peft_model(below, config), READS)
    train_heads(model.get_base_model())
    model.save_pretrained(tmp_path)
    save_explainer(model, tmp_path)
    again = AutoMhexModelForTokenClassification.from_pretrained(tmp_path)
    inputs = TOKENIZER(TEXT, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(again(**inputs).head_logits, model.eval()(**inputs).head_logits)
