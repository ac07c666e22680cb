# SPDX-License-Identifier: Apache-2.0
"""Each row of the table is where the residual is added: some submodule receives exactly stream + output."""

from __future__ import annotations

import pytest
import torch

from helpers.families import FAMILIES, inputs_for, plain_model
from mhex_nlp import Site, get_mhex_model, register_site
from mhex_nlp.models.families import SITES, find_site


def test_every_family_of_the_table_is_tested():
    assert set(FAMILIES) == set(SITES)


@pytest.mark.parametrize("family", FAMILIES)
def test_site_is_where_the_residual_is_added(family):
    model, site = plain_model(family), find_site(family)
    assert site.addition is not None
    streams, outputs, sums = [], [], []

    def first(value):
        return value[0] if isinstance(value, tuple) else value

    def of(args, kwargs):
        return kwargs[site.arg] if isinstance(site.arg, str) else args[site.arg]

    for layer in site.find_layers(model.base_model):
        layer.get_submodule(site.stream).register_forward_pre_hook(
            lambda _, args, kwargs: streams.append(of(args, kwargs)), with_kwargs=True
        )
        layer.get_submodule(site.output).register_forward_hook(lambda _m, _a, output: outputs.append(first(output)))
        layer.get_submodule(site.addition).register_forward_pre_hook(lambda _, args: sums.append(args[0]))
    with torch.no_grad():
        model(**inputs_for(family))
    assert len(streams) == len(outputs) == len(sums) >= 3
    for stream, output, total in zip(streams, outputs, sums, strict=True):
        assert stream.shape[-1] == (getattr(model.config, site.width, None) or model.config.hidden_size)
        assert output.abs().max() > 1e-4  # else the sum would be the stream wherever we looked
        torch.testing.assert_close(stream + output, total, rtol=1e-5, atol=1e-6)


def test_unknown_family_names_register_site():
    model = plain_model("bert")
    model.config.model_type = "squeezebert"
    with pytest.raises(ValueError, match=r"register_site\('squeezebert', Site\(layers=.*known families: albert"):
        get_mhex_model(model)


def test_register_site_makes_a_family_work(monkeypatch):
    monkeypatch.setattr("mhex_nlp.models.families.SITES", dict(SITES))
    model = plain_model("bert")
    model.config.model_type = "my-bert"
    register_site("my-bert", Site(layers="encoder.layer", stream="attention", output="attention.output.dropout"))
    from mhex_nlp.models import families as sites

    assert "my-bert" in sites.SITES
    output = get_mhex_model(model)(**inputs_for("bert"), output_attributions=True)
    assert output.layer_attributions.shape == (4, 12, 3, 3)


@pytest.mark.parametrize(
    "paths",
    [
        {"layers": "encoder.blocks", "stream": "attention", "output": "attention.output"},
        {"layers": "encoder.layer", "stream": "attn", "output": "attention.output"},
    ],
)
def test_a_site_that_does_not_fit_says_so(paths):
    with pytest.raises(ValueError, match="does not fit BertModel"):
        Site(**paths).find_layers(plain_model("bert").base_model)


def test_register_site_checks_its_arguments():
    with pytest.raises(TypeError, match=r"site must be a mhex_nlp.Site, got dict"):
        register_site("x", {"layers": "encoder.layer"})
    with pytest.raises(ValueError, match=r"Site\.stream must be a dotted submodule path"):
        Site(layers="encoder.layer", stream="", output="attention")
