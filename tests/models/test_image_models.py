# SPDX-License-Identifier: Apache-2.0
"""Image classifiers with heads, and those of families that get none: loading, attention flow, training, refusals."""

from __future__ import annotations

import inspect

import pytest
import torch
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    DeiTForImageClassificationWithTeacher,
    Trainer,
    TrainingArguments,
    ViTModel,
)

from helpers.image_models import PLAIN, pixels, plain_image_model, train_heads
from mhex_nlp import AutoMhexModelForImageClassification, MhexCallback, MhexConfig, get_mhex_model
from mhex_nlp.models.eval_mode import run_in_eval_mode
from mhex_nlp.models.heads.image_head import common_size, resample_sum
from mhex_nlp.models.image_families import IMAGE_SITES

GATED = MhexConfig(gate=True)
LABELS = torch.tensor([0, 1, 2, 0])


def test_every_family_of_transformers_has_a_class():
    mapping = AutoMhexModelForImageClassification._model_mapping
    families = [config.model_type for config in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING]
    assert set(IMAGE_SITES) <= set(families) and len(families) > 35
    for config_class, plain in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.items():
        ours = mapping[config_class]
        for cls, base in zip(ours, plain, strict=False) if isinstance(plain, tuple) else [(ours, plain)]:
            assert issubclass(cls, base) and cls.__name__ == f"Mhex{base.__name__}"
            assert {"labels", "output_attributions"} <= inspect.signature(cls.forward).parameters.keys()


@pytest.mark.parametrize("family", sorted(PLAIN))
def test_families_without_a_row_get_no_heads_and_predict_as_before(family, tmp_path):
    plain = plain_image_model(family)
    plain.save_pretrained(tmp_path / "plain")
    model = AutoMhexModelForImageClassification.from_pretrained(tmp_path / "plain").eval()
    assert type(model).__name__ == f"Mhex{type(plain).__name__}" and len(model.mhex) == 0
    with torch.no_grad():
        expected = plain(pixel_values=pixels(), output_hidden_states=True)
        output = model(pixel_values=pixels(), output_hidden_states=True)
    torch.testing.assert_close(output.logits, expected.logits, rtol=0, atol=1e-5)
    assert output.head_logits is None and len(output.hidden_states) == len(expected.hidden_states)
    assert torch.equal(get_mhex_model(plain)(pixel_values=pixels()).logits, expected.logits)
    with pytest.raises(ValueError, match=r"output_attributions must be False for the family .* fit equivalent"):
        model(pixel_values=pixels(), output_attributions=True)
    with pytest.raises(ValueError, match="gate must be False for the family"):
        get_mhex_model(plain, GATED)
    model.save_pretrained(tmp_path / "ours")
    again = AutoMhexModelForImageClassification.from_pretrained(tmp_path / "ours").eval()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    assert type(again.without_heads()) is type(plain)
    loss = model(pixel_values=pixels(4), labels=LABELS).loss
    loss.backward()
    assert loss > 0


@pytest.mark.parametrize("family", ["vit", "poolformer"])
def test_a_fit_is_kept_in_the_checkpoint(family, tmp_path):
    model = get_mhex_model(plain_image_model(family))
    record = {"depths": [0, 2], "widths": [32, 16], "task": "image_classification"}
    weights = torch.randn(49, 3)
    model.add_readout(record, weights)
    model.save_pretrained(tmp_path)
    loaded = AutoMhexModelForImageClassification.from_pretrained(tmp_path)
    assert loaded.fit_record == record
    assert torch.equal(loaded.mhex_fit.depth_2, weights[33:].T) and torch.equal(loaded.mhex_fit.constant, weights[0])


def test_a_checkpoint_of_two_classes_keeps_its_own(tmp_path):
    plain = plain_image_model("deit", cls=DeiTForImageClassificationWithTeacher)
    plain.save_pretrained(tmp_path)
    model = AutoMhexModelForImageClassification.from_pretrained(tmp_path).eval()
    assert isinstance(model, DeiTForImageClassificationWithTeacher)
    with torch.no_grad():
        expected, output = plain(pixel_values=pixels()), model(pixel_values=pixels())
        assert model(pixel_values=pixels(), return_dict=False)[1].shape == (2, 3)
    torch.testing.assert_close(output.cls_logits, expected.cls_logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(output.distillation_logits, expected.distillation_logits, rtol=0, atol=1e-6)
    output = model(pixel_values=pixels(4), labels=LABELS)  # the plain model takes no labels
    cross_entropy = torch.nn.functional.cross_entropy(output.logits, LABELS)
    torch.testing.assert_close(output.loss, cross_entropy + 0.3 * output.supervision_loss)
    assert isinstance(AutoMhexModelForImageClassification.from_config(plain.config), type(model))
    plain.config.architectures = None
    assert AutoMhexModelForImageClassification.from_config(plain.config).task == "image_classification"


def test_a_base_model_is_a_start_for_training(tmp_path):
    plain_image_model("vit").vit.save_pretrained(tmp_path)
    assert isinstance(AutoMhexModelForImageClassification.from_pretrained(tmp_path).vit, ViTModel)


def start_rows(family: str, tokens: int, teacher: bool) -> torch.Tensor:
    """Where each family's label is read from, written out."""
    row = torch.zeros(tokens)
    if teacher:
        row[:2] = 0.5
    elif family == "beit":
        row[1:] = 1 / 16
    elif family.startswith("dinov2"):
        row[0], row[-16:] = 0.5, 0.5 / 16
    else:
        row[0] = 1
    return row


_FOLLOWED = [(family, False) for family in ("vit", "deit", "dinov2", "dinov2_with_registers", "beit", "vit_msn")]


@pytest.mark.parametrize(("family", "teacher"), [*_FOLLOWED, ("deit", True)])
def test_flow_is_what_attention_carries_to_the_label(family, teacher):
    """The last layer: weights of the rows that the label is read from, times values, head by head."""
    plain = plain_image_model(family, cls=DeiTForImageClassificationWithTeacher if teacher else None)
    model = get_mhex_model(plain)
    values: list[torch.Tensor] = []
    for name, module in plain.named_modules():
        if name.endswith(("v_proj", "value")):
            module.register_forward_hook(lambda module, args, output: values.append(output))
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        attention = plain(pixel_values=pixels(), output_attentions=True).attentions[-1]
        output = model(pixel_values=pixels(), output_states=True)
    tokens = attention.shape[-1]
    weights = torch.einsum("s,bhst->bth", start_rows(family, tokens, teacher), attention)
    expected = (weights[..., None] * values[-1].unflatten(2, (4, 8))).flatten(2)[:, tokens - 16 :]
    assert len(output.attention_flow) == 3 and output.attention_flow[0].shape == (2, 16, 32)
    torch.testing.assert_close(output.attention_flow[-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["resnet", "swin", "dinov2_with_registers", "efficientnet", "data2vec-vision"])
def test_states_are_maps_of_all_depths(family):
    """The stream that enters the first block, z of every block, the last hidden state; special tokens are left out."""
    model = get_mhex_model(plain_image_model(family))
    with torch.no_grad():
        output = model(pixel_values=pixels(2, 32, 64), output_states=True, output_hidden_states=True, **(
            {"interpolate_pos_encoding": True} if family in ("swin", "data2vec-vision") else {}
        ))  # fmt: skip
    assert len(output.states) == len(model.mhex) + 2
    assert all(state.dim() == 4 and state.shape[-1] == 2 * state.shape[-2] for state in output.states)
    if family == "resnet":
        with torch.no_grad():  # the first block's short cut is a convolution
            first = model.resnet.encoder.stages[0].layers[0].shortcut(output.hidden_states[0])
        torch.testing.assert_close(output.states[0], first)
        assert torch.equal(output.states[-2].relu(), output.states[-1])
    if family == "dinov2_with_registers":
        first = output.hidden_states[0][:, 4:].transpose(1, 2).unflatten(2, (4, 8))
        assert torch.equal(output.states[0], first)
    if family in ("resnet", "data2vec-vision"):
        assert output.attention_flow == ()  # no attention, or none that shows itself


def test_explaining_in_training_mode_leaves_batch_norm_alone():
    """BatchNorm in eval mode for a pass that explains, though the model is being trained."""
    model = train_heads(get_mhex_model(plain_image_model("mobilenet_v2")))
    expected = model(pixel_values=pixels(), output_attributions=True)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    output = run_in_eval_mode(model.train(), {"pixel_values": pixels(), "output_attributions": True})
    assert torch.equal(output.layer_attributions, expected.layer_attributions)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_plain_trainer_trains_the_heads(family, tmp_path):
    """Labels are found, the loss goes down, the callback logs each head; the best head has learnt a planted colour."""
    images, labels = pixels(24), torch.arange(24) % 3
    images[torch.arange(24), labels] += 2.0
    dataset = [{"pixel_values": image, "labels": int(label)} for image, label in zip(images, labels, strict=True)]
    model = get_mhex_model(plain_image_model(family, dropout=False), GATED)
    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=12, num_train_epochs=10, learning_rate=3e-3, logging_steps=10,
        report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    callback = MhexCallback()
    trainer = Trainer(model, arguments, train_dataset=dataset, eval_dataset=dataset, callbacks=[callback])
    callback.attach(trainer)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "mhex/supervision_loss" in entry]
    assert logs[-1]["mhex/supervision_loss"] < logs[0]["mhex/supervision_loss"]
    assert sum(f"mhex/layer_{depth}_accuracy" in logs[0] for depth in range(9)) == len(model.mhex)
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] < 1.2 and trainer.predict(dataset).predictions.shape == (24, 3)


def test_text_options_of_the_callback_are_refused(tmp_path):
    model = get_mhex_model(plain_image_model("vit"))
    arguments = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)
    dataset = [{"pixel_values": pixels(1)[0], "labels": 0}]
    for options in ({"texts": ["A text."]}, {"masked_words": 0.5}):
        trainer = Trainer(model, arguments, train_dataset=dataset, callbacks=[MhexCallback(**options)])
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be left out for MhexViT"):
            trainer.train()


def test_a_replica_uses_its_own_heads():
    """DataParallel replicas share their hook tables with the original."""
    model = train_heads(get_mhex_model(plain_image_model("resnet")))
    expected = model(pixel_values=pixels()).head_logits
    copies = {id(m): m._replicate_for_data_parallel() for m in model.modules()}
    for module in model.modules():
        copies[id(module)]._parameters = dict(module._parameters)
        for name, child in module._modules.items():
            setattr(copies[id(module)], name, copies[id(child)])
    replica = copies[id(model)]
    assert torch.equal(replica(pixel_values=pixels()).head_logits, expected)
    for head in replica.mhex:
        head._parameters = {name: torch.zeros_like(value) for name, value in head._parameters.items()}
    assert not replica(pixel_values=pixels()).head_logits.any()
    assert torch.equal(model(pixel_values=pixels()).head_logits, expected)


def test_settings_of_gates():
    """Off unless they are asked for, also where other settings are given."""
    plain = plain_image_model("resnet")
    assert not get_mhex_model(plain, {"loss_weight": 0.5}).mhex_config.gate
    assert get_mhex_model(plain, {"gate": True}).mhex_config.gate
    with pytest.raises(ValueError, match=r"without_heads\(\) would change the predictions"):
        get_mhex_model(plain, GATED).without_heads()
    with pytest.raises(ValueError, match="faithfulness_weight must be 0 for MhexResNet"):
        get_mhex_model(plain, {"faithfulness_weight": 1.0})


def test_labels_and_modules_that_do_not_fit_are_refused():
    model = get_mhex_model(plain_image_model("resnet"))
    with pytest.raises(ValueError, match="class ids from 0 to 2"):
        model(pixel_values=pixels(2), labels=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="output_head_logits must be True"):
        model(pixel_values=pixels(2), labels=torch.tensor([0, 1]), output_head_logits=False)
    with pytest.raises(RuntimeError, match="ran outside their model's forward"):
        model.resnet(pixel_values=pixels(2))


@pytest.mark.parametrize(("size", "target"), [((4, 6), (4, 6)), ((56, 28), (7, 7)), ((3, 5), (7, 2)), ((1, 1), (4, 3))])
def test_resampling_keeps_sums_and_places(size, target):
    """Evidence is neither lost nor moved: sums stay, halves of the image keep theirs, and to the same grid nothing."""
    scores = torch.randn(2, *size, 3)
    resampled = resample_sum(scores, *target)
    torch.testing.assert_close(resampled.sum((1, 2)), scores.sum((1, 2)), rtol=1e-5, atol=1e-4)
    if size == target:
        assert torch.equal(resampled, scores)
    fine = resample_sum(scores, 2 * size[0], 3 * size[1])
    torch.testing.assert_close(resample_sum(fine, *size), scores, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fine[:, :2, :3].sum((1, 2)), scores[:, 0, 0], rtol=1e-5, atol=1e-6)


def test_the_common_grid():
    assert common_size([(56, 56), (28, 28), (14, 14), (7, 7)]) == (7, 7)
    assert common_size([(8, 10), (4, 5), (2, 3)]) == (8, 10)
    assert common_size([(4, 4), (2, 2)]) == (4, 4)
