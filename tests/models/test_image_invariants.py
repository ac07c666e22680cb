# SPDX-License-Identifier: Apache-2.0
"""What must hold in every family of image classifiers with heads: I1, I2, I6, I7 and I10, on tiny random models."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from helpers.image_models import FAMILIES, SEED, pixels, plain_image_model, train_heads
from mhex_nlp import AutoMhexModelForImageClassification, MhexConfig, get_mhex_model
from mhex_nlp.models.image_families import IMAGE_SITES

GATED = MhexConfig(gate=True)


def test_every_family_of_the_table_is_tested():
    assert sorted(IMAGE_SITES) == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_fresh_heads_change_no_bit(family, training):
    """I1, gates on: logits, hidden states, and in train mode what the pass does to BatchNorm's statistics."""
    plain = plain_image_model(family)
    model = get_mhex_model(copy.deepcopy(plain), GATED)  # heads share tensors, and BatchNorm writes into them
    outputs = []
    for variant in (plain, model):
        variant.train(training)
        torch.manual_seed(SEED)
        with torch.no_grad():
            outputs.append(variant(pixel_values=pixels(3), output_hidden_states=True))
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    for expected, actual in zip(outputs[0].hidden_states, outputs[1].hidden_states, strict=True):
        assert torch.equal(expected, actual)
    assert all(torch.equal(b, dict(model.named_buffers())[n]) for n, b in plain.named_buffers())


@pytest.mark.parametrize("family", FAMILIES)
def test_z_is_what_the_block_makes_of_stream_and_output(family):
    """Every row of the table: what heads read is the sum that the block itself computes, and gates scale x alone."""
    model = train_heads(get_mhex_model(plain_image_model(family), GATED))
    site, seen, sums = model.mhex_site, [], []
    head = model.mhex[-1]
    head.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    block = site.find_blocks(model.base_model)[-1]
    after = {"vit": "layernorm_after", "beit": "layernorm_after", "swin": "layernorm_after", "dinov2": "norm2"}
    name = next((path for kind, path in after.items() if family.startswith(kind)), None)
    if family in ("vit_msn", "deit", "data2vec-vision"):
        name = "layernorm_after"
    with torch.no_grad():
        head.w1.zero_()  # a gate of 1: z is the block's own sum
        if name is not None:
            block.get_submodule(name).register_forward_pre_hook(lambda module, args: sums.append(args[0]))
        elif site.addition is not None:
            block.get_submodule(site.addition).register_forward_pre_hook(lambda module, args: sums.append(args[0]))
        else:
            block.register_forward_hook(lambda module, args, output: sums.append(output))
        model(pixel_values=pixels())
    expected = sums[0][:, site.specials(model.config) :] if site.tokens else sums[0].flatten(2).transpose(1, 2)
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_gates_change_the_logits(family):
    """The gates really sit in the path to the prediction; else I1 would prove nothing."""
    plain = plain_image_model(family)
    model = train_heads(get_mhex_model(plain, GATED))
    with torch.no_grad():
        assert (plain(pixel_values=pixels()).logits - model(pixel_values=pixels()).logits).abs().max() > 1e-5
        for head in model.mhex:  # a closed gate: the block adds nothing
            head.w1.zero_()
            head.activation.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
        closed = model(pixel_values=pixels(), output_hidden_states=True)
    assert closed.logits.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_heads_never_change_the_logits(family):
    """I7: gates off, which is the default, heads trained."""
    plain = plain_image_model(family)
    model = train_heads(get_mhex_model(plain))
    assert not model.mhex_config.gate
    with torch.no_grad():
        expected = plain(pixel_values=pixels()).logits
        output = model(pixel_values=pixels(), output_attributions=True)
        assert torch.equal(expected, output.logits)
        without = model.without_heads()
        assert torch.equal(without(pixel_values=pixels()).logits, expected) and type(without) is type(plain)
    assert output.head_logits.abs().max() > 1e-3
    hooks = [hook for module in without.modules() for hook in module._forward_hooks.values()]
    assert not any(type(getattr(hook, "__self__", None)).__name__ == "ImageHooks" for hook in hooks)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 64)])
def test_attributions_add_up_to_the_head_logits(family, height, width):
    """I2: on the common grid, whatever the grids of the depths are."""
    model = train_heads(get_mhex_model(plain_image_model(family), GATED))
    options = {"interpolate_pos_encoding": True} if family.startswith(("vit", "deit", "beit", "swin")) else {}
    images = pixels(2, height, width)
    if family == "data2vec-vision" and height != width:
        options = {"interpolate_pos_encoding": True}
    with torch.no_grad():
        output = model(pixel_values=images, output_attributions=True, **options)
        quick = model(pixel_values=images, **options)
    scores = output.layer_attributions
    (rows, cols), depths = output.attribution_grid[0].tolist(), len(model.mhex)
    assert scores.shape == (2, rows * cols, depths, 3) and scores.dtype == torch.float32
    assert scores.isfinite().all() and scores.abs().max() > 1e-4
    expected = output.head_logits - torch.stack([head.bias for head in model.mhex])
    assert ((scores.sum(1) - expected).abs() <= 1e-5 * (1 + scores.abs().sum(1))).all()
    torch.testing.assert_close(quick.head_logits, output.head_logits, rtol=1e-4, atol=1e-5)
    assert quick.layer_attributions is None


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_is_the_same(family, tmp_path):
    """I6: weights, logits and attributions bit-equal; a deepcopy follows its own heads."""
    model = train_heads(get_mhex_model(plain_image_model(family), MhexConfig(gate=True, loss_weight=0.7))).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoMhexModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(model) and loaded.mhex_config == MhexConfig(gate=True, loss_weight=0.7)
    weights, actual = model.state_dict(), loaded.state_dict()
    assert weights.keys() == actual.keys() and all(torch.equal(weights[name], actual[name]) for name in weights)
    # from the file weights lie in memory anyhow, where the plain mobilenet_v2 rounds differently: bits of a copy
    loaded, copied = copy.deepcopy(loaded), copy.deepcopy(model)
    with torch.no_grad():
        expected = model(pixel_values=pixels(), output_attributions=True)
        for parameter in model.mhex.parameters():
            parameter.zero_()
        for other in (loaded, copied):
            again = other(pixel_values=pixels(), output_attributions=True)
            for name in ("logits", "head_logits", "layer_attributions", "attribution_grid"):
                assert torch.equal(expected[name], again[name]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_learns(family):
    model = get_mhex_model(plain_image_model(family), GATED).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        output = model(pixel_values=pixels(4), labels=torch.tensor([0, 1, 2, 0]))
        output.loss.backward()
        optimizer.step()
    for name, parameter in model.mhex.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    torch.testing.assert_close(output.loss, output.task_loss + 0.3 * output.supervision_loss)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["bf16", "fp16 autocast"])
def test_scores_are_finite(family, kind):
    """I10; float32 is what all the others run in."""
    model = train_heads(get_mhex_model(plain_image_model(family), GATED))
    images = pixels()
    if kind == "bf16":
        model, images = model.to(torch.bfloat16), images.to(torch.bfloat16)
    with (
        torch.no_grad(),
        torch.autocast("cpu", torch.float16, enabled=kind == "fp16 autocast"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        output = model(pixel_values=images, output_attributions=True)
    assert output.layer_attributions.isfinite().all() and output.head_logits.isfinite().all()
    assert output.layer_attributions.dtype == output.head_logits.dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointing_changes_no_gradient(family):
    model = train_heads(get_mhex_model(plain_image_model(family, dropout=False), GATED))
    if not model.supports_gradient_checkpointing:
        pytest.skip(f"transformers offers no gradient checkpointing for {family}")
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        model.train()
        if checkpointing:
            model.activation_checkpointing_enable()
        torch.manual_seed(SEED)
        model(pixel_values=pixels(4), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-4, atol=1e-5, msg=name)
