# SPDX-License-Identifier: Apache-2.0
"""Another default dtype of the process, as a notebook with numerics of its own sets it, changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import DatasetDict
from transformers import AutoModelForSequenceClassification

from helpers.families import FAMILIES, batch, plain_model, train_heads
from helpers.tiny import save_checkpoint, tiny_bert, tiny_dataset, tiny_mhex, tiny_texts, tiny_tokenizer, tiny_trainer
from mhex_nlp import MhexCallback, MhexConfig, MhexExplainer, get_mhex_model, head_collaboration, save_explainer
from mhex_nlp.evaluation.benchmark.run import evaluate_explanations
from mhex_nlp.training import FinetuneConfig, finetune
from mhex_nlp.training.fitting.fit import fit_equivalent_matrices

DTYPES = [torch.float64, torch.bfloat16, torch.float16]
TEXTS = tiny_texts(40)[0]


@contextmanager
def default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def fitted_scores(model: Any, folder: Path) -> dict[str, Any]:
    """What a fit, explanations, a checkpoint, a side-car and the benchmark say."""
    report = fit_equivalent_matrices(model, tiny_tokenizer(), TEXTS, masks=4, progress=False)
    model.save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    save_explainer(model, folder / "beside")
    plain = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    explainers = {
        "fit": MhexExplainer(model, tiny_tokenizer()),
        "checkpoint": MhexExplainer.from_pretrained(str(folder / "model")),
        "beside": MhexExplainer(get_mhex_model(plain, folder / "beside"), tiny_tokenizer()),
        "supervised": MhexExplainer(model, tiny_tokenizer(), aggregation="ema", stride=2, max_length=8),
    }
    evaluated = evaluate_explanations(model, tiny_tokenizer(), TEXTS[:4], reference_permutations=4)
    return {
        **{name: [e.scores.tolist() for e in explainer(TEXTS[:6])] for name, explainer in explainers.items()},
        "skill": report.skill,
        "figures": [figure.value for method in evaluated.methods for figure in method.figures.values()],
    }


@pytest.fixture(scope="module")
def model() -> Any:
    """Made once: drawn in another dtype its weights would differ."""
    return train_heads(tiny_mhex(gate=False)).float().eval()


@pytest.fixture(scope="module")
def expected(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return fitted_scores(copy.deepcopy(model), tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fits_and_explanations(dtype, tmp_path, model, expected):
    with default(dtype):
        fresh = get_mhex_model(tiny_bert().float(), MhexConfig(gate=False)).float().eval()
        fresh.load_state_dict(model.state_dict())
        actual = fitted_scores(fresh, tmp_path)
    for name, value in expected.items():
        if name != "figures":
            torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(actual["figures"], expected["figures"], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_losses(dtype):
    settings = MhexConfig(gate=True, faithfulness_weight=0.5, mask_token_id=4)
    model = train_heads(get_mhex_model(plain_model("bert", dropout=False), settings)).train()
    labels = torch.tensor([0, 1, 2, 0])
    losses = []
    for chosen in (torch.float32, dtype):
        with default(chosen):
            torch.manual_seed(0)
            output = model(**batch(), labels=labels, output_attributions=True)
            output.loss.backward()
            losses.append([output.loss, output.task_loss, output.supervision_loss, output.faithfulness_loss])
            head_collaboration(model.eval(), {**batch(), "labels": labels})
            model.train()
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_explains(family):
    model = get_mhex_model(plain_model(family, dropout=False))
    with torch.no_grad():
        expected = model(**batch(), output_attributions=True, output_states=True)
        with default(torch.float64):
            actual = model(**batch(), output_attributions=True, output_states=True)
    for name in ("logits", "layer_attributions", "states", "attention_flow"):
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_training(dtype, tmp_path):
    base = save_checkpoint(tmp_path / "base")
    splits = DatasetDict(train=tiny_dataset(32), validation=tiny_dataset(8, seed=1))
    with default(dtype):
        report = finetune(FinetuneConfig(model=base, data=splits, output_dir=tmp_path / "run", epochs=1, batch_size=8))
        callback = MhexCallback(texts=["the film was dull ."])
        trainer = tiny_trainer(tiny_mhex().float(), tmp_path / "trainer", callbacks=[callback], max_steps=2)
        trainer.train()
    assert 0 <= report["accuracy"] <= 1
    assert any("mhex/task_loss" in row for row in trainer.state.log_history)
