# SPDX-License-Identifier: Apache-2.0
"""Image classifiers with heads: a fit that reads attention flow, saved and loaded, and the heads' own map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from helpers.explained_images import IMAGES, PROCESSOR, vit
from helpers.placed import TOKENIZER
from helpers.tiny import tiny_bert
from mhex_nlp import (
    AutoMhexModelForImageClassification,
    MhexConfig,
    MhexExplainer,
    MhexImageExplainer,
    explainer_for,
    fit_equivalent_matrices,
    get_mhex_model,
)

pytest.importorskip("mhex_nlp.models.image_families")


def test_a_fit_of_a_model_with_heads_reads_flow_and_loads_back(tmp_path):
    model = get_mhex_model(vit())
    report = fit_equivalent_matrices(model, PROCESSOR, IMAGES, attainable_images=0, held_out=0.2)
    assert report.flow_widths[0] == 0 and all(report.flow_widths[1:3]) and report.trusted
    explanation = MhexImageExplainer(model, PROCESSOR)(IMAGES[0], layers=True)
    assert np.asarray(explanation.layers).sum(0) == pytest.approx(explanation.map, abs=1e-6)
    model.save_pretrained(tmp_path)
    PROCESSOR.save_pretrained(tmp_path)
    again = MhexImageExplainer.from_pretrained(str(tmp_path))
    assert isinstance(again.image_processor, ViTImageProcessorPil)
    loaded = again(IMAGES[0], layers=True)
    assert loaded.map == pytest.approx(explanation.map, abs=1e-6) and loaded.method == explanation.method
    assert type(explainer_for(model, PROCESSOR)) is MhexImageExplainer
    with pytest.raises(ValueError, match="got an image classifier: MhexImageExplainer.from_pretrained explains it"):
        MhexExplainer.from_pretrained(str(tmp_path))
    tiny_bert().save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="got a Bert.*MhexExplainer.from_pretrained explains models that read texts"):
        MhexImageExplainer.from_pretrained(str(tmp_path / "text"))
    with pytest.raises(TypeError, match=r"MhexImageExplainer\(model, image_processor\) explains it"):
        MhexExplainer(model, TOKENIZER)


def test_a_plain_model_that_was_fitted_loads_back_with_its_fit_and_fresh_heads(tmp_path):
    model = vit()
    fit_equivalent_matrices(model, PROCESSOR, IMAGES, attainable_images=0, held_out=0.2)
    explanation = MhexImageExplainer(model, PROCESSOR)(IMAGES[0])
    model.save_pretrained(tmp_path)
    PROCESSOR.save_pretrained(tmp_path)
    again = MhexImageExplainer.from_pretrained(str(tmp_path))
    assert len(again.model.mhex) == 2 and not any(head.bias.any() for head in again.model.mhex)
    loaded = again(IMAGES[0])
    assert loaded.map == pytest.approx(explanation.map, abs=1e-6) and loaded.method == explanation.method
    gated = AutoMhexModelForImageClassification.from_pretrained
    with pytest.raises(ValueError, match="the heads in .* do not fit its config: missing"):
        gated(tmp_path, mhex=MhexConfig(gate=True))  # gates are no part of the model that was fitted


def test_without_a_fit_trained_heads_explain_and_say_so():
    model = get_mhex_model(vit())
    with pytest.raises(ValueError, match="no fit"):
        MhexImageExplainer(model, PROCESSOR)(IMAGES[0])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.mhex.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    explanation = MhexImageExplainer(model, PROCESSOR)(IMAGES[0], layers=True, classes="all", target=1)
    with torch.no_grad():
        output = model(**PROCESSOR(images=IMAGES[0], return_tensors="pt"))
    said = output.head_logits[0].mean(0)
    assert explanation.base_value + explanation.sum == pytest.approx(float(said[1] - said.mean()), abs=1e-5)
    assert np.asarray(explanation.layers).sum(0) == pytest.approx(explanation.map, abs=1e-6)
    assert not explanation.method.fitted and not explanation.trusted and explanation.method.removal is None
    assert any("explain what the heads say" in note for note in explanation.notes)
