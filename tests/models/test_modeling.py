# SPDX-License-Identifier: Apache-2.0
"""One model in depth: outputs, saving and loading, compiling, replicas, and what bad input gets."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from transformers import BertForSequenceClassification

from helpers.families import batch, plain_model, train_heads
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models.hooks import HeadHooks
from mhex_nlp.models.outputs import MhexOutput

LABELS = torch.tensor([0, 1, 2, 0])


@pytest.fixture
def model():
    return train_heads(get_mhex_model(plain_model("bert")))


def test_outputs(model):
    output = model(**batch(), labels=LABELS, output_attributions=True)
    assert output.logits.shape == (4, 3) and output.head_logits.shape == (4, 3, 3)
    assert output.loss.shape == output.task_loss.shape == output.supervision_loss.shape == ()
    assert not output.task_loss.requires_grad and not output.supervision_loss.requires_grad
    bare = model(**batch())
    assert bare.loss is bare.task_loss is bare.supervision_loss is bare.layer_attributions is None
    assert torch.equal(model(**batch(), return_dict=False)[0], bare.logits)
    inputs = batch()
    assert torch.equal(model(inputs["input_ids"], inputs["attention_mask"]).head_logits, bare.head_logits)


def test_without_mask_every_token_counts(model):
    inputs = batch(rows=(8, 8))
    with_mask = model(**inputs, output_attributions=True)
    without = model(inputs["input_ids"], output_attributions=True)
    assert torch.equal(with_mask.layer_attributions, without.layer_attributions)


@pytest.mark.parametrize(
    ("task", "num_labels", "labels"),
    [
        ("single_label_classification", 3, LABELS),
        ("multi_label_classification", 3, torch.eye(3)[[0, 1, 2, 0]]),
        ("regression", 1, torch.tensor([0.5, -1, 2, 0])),
        ("regression", 3, torch.rand(4, 3)),
    ],
)
def test_every_problem_type_learns(task, num_labels, labels):
    model = get_mhex_model(plain_model("bert", problem_type=task, num_labels=num_labels)).train()
    optimizer = torch.optim.AdamW(model.mhex.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        output = model.eval()(**batch(), labels=labels)
        output.loss.backward()
        optimizer.step()
        losses.append(output.supervision_loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_the_users_model_is_untouched():
    plain = plain_model("bert")
    fired = []
    plain.bert.encoder.layer[0].register_forward_hook(lambda *_: fired.append(1))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    config = plain.config.to_dict()
    model = get_mhex_model(plain)
    assert type(plain) is BertForSequenceClassification and plain.config.to_dict() == config
    assert not any(
        isinstance(getattr(h, "__self__", None), HeadHooks) for m in plain.modules() for h in m._forward_hooks.values()
    )
    model(**batch())
    assert not fired  # the user's hook stays with the user's model
    mine = dict(model.named_parameters())
    assert all(mine[name] is parameter for name, parameter in plain.named_parameters())
    assert not set(map(id, plain.modules())) & set(map(id, model.modules()))
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


def test_hidden_states_are_captured_after_conversion():
    """transformers installs its capturing hooks once and remembers; a copy must keep both or neither."""
    plain = plain_model("bert")
    expected = plain(**batch(), output_hidden_states=True).hidden_states
    actual = get_mhex_model(plain)(**batch(), output_hidden_states=True).hidden_states
    assert len(actual) == len(expected) and all(map(torch.equal, actual, expected))


def test_heads_take_dtype_device_and_mode():
    model = get_mhex_model(plain_model("bert").to(torch.bfloat16).train())
    assert {parameter.dtype for parameter in model.mhex.parameters()} == {torch.bfloat16}
    assert model.mhex.training


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "modernbert", "llama"])
def test_compile_without_graph_breaks(family):
    sizes = {"num_hidden_layers": 2}
    model = train_heads(get_mhex_model(plain_model(family, **sizes)))
    compiled = torch.compile(model, fullgraph=True, backend="eager")  # the graph is what is asked about
    with torch.no_grad():
        expected = model(**batch(), output_attributions=True)
        actual = compiled(**batch(), output_attributions=True)
    for name in ("logits", "head_logits", "layer_attributions"):
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-5)


def add_flow_fit(model):
    """Random matrices of two layers that read attention flow."""
    width = model.config.hidden_size
    fit = {
        "depths": [0, 1, 2],
        "widths": [width] * 3,
        "flow_widths": [0, width, width],
        "removal": "mask",
        "contrast": "centred",
        **{"skill": 0.4, "skill_interval": [0.3, 0.5], "absolute_skill": 0.5, "r2": 0.6},
    }
    generator = torch.Generator().manual_seed(0)
    model.add_readout(fit, torch.randn(5 * width + 1, model.config.num_labels, generator=generator))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_one_compiled_graph_serves_texts_of_all_lengths(family):
    """Of a fit that reads attention flow into the first or the last token; and one more, those of merged rows."""
    longest = {"n_positions": 256} if family == "gpt2" else {"max_position_embeddings": 256}
    model = get_mhex_model(plain_model(family, num_hidden_layers=2, **longest))
    add_flow_fit(model)
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    for rows, graphs in (((12, 7), 1), ((20, 20), 1), ((5, 33), 1), ((140, 131), 2), ((150, 200), 2)):
        inputs = batch(rows)
        with torch.no_grad():
            expected = model(**inputs, output_attributions=True).fitted_attributions
            actual = compiled(**inputs, output_attributions=True).fitted_attributions
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
        assert counter.frame_count == graphs


def test_parts_of_a_compiled_pass_that_run_as_they_are_belong_to_it():
    """A layer that torch is told not to compile, as it leaves those alone that it compiled too often."""
    model = train_heads(get_mhex_model(plain_model("bert", num_hidden_layers=2)))
    add_flow_fit(model)
    layer = model.bert.encoder.layer[0]
    with torch.no_grad():
        expected = model(**batch(), output_attributions=True)
        layer.forward = torch.compiler.disable(layer.forward)
        torch._dynamo.reset()
        actual = torch.compile(model, backend="eager")(**batch(), output_attributions=True)
    for name in ("layer_attributions", "fitted_attributions"):
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-4)


def test_compiled_training_agrees():
    model = train_heads(get_mhex_model(plain_model("bert", num_hidden_layers=2)))
    torch._dynamo.reset()
    gradients = []
    for run in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        run(**batch(), labels=LABELS).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for expected, actual in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_inductor_agrees():
    """Of one layer, whose kernels are those of all."""
    model = train_heads(get_mhex_model(plain_model("bert", num_hidden_layers=1)))
    torch._dynamo.reset()
    with torch.no_grad():
        actual = torch.compile(model, fullgraph=True)(**batch(), output_attributions=True)
        expected = model(**batch(), output_attributions=True)
    torch.testing.assert_close(actual.layer_attributions, expected.layer_attributions, rtol=1e-4, atol=1e-5)


def test_threads_share_one_model(model):
    """The state of a forward pass belongs to its thread."""
    inputs = [batch(rows=(length, 3)) for length in (4, 6, 8, 10)]
    with torch.no_grad():
        expected = [model(**each).head_logits for each in inputs]
    wrong = []

    def work(index: int) -> None:
        with torch.no_grad():
            wrong.extend(i for i in range(10) if not torch.equal(model(**inputs[index]).head_logits, expected[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_replica_uses_its_own_heads(model):
    """DataParallel replicas share their hook tables with the original."""
    copies = {id(m): m._replicate_for_data_parallel() for m in model.modules()}
    for module in model.modules():
        for name, child in module._modules.items():
            copies[id(module)]._modules[name] = copies[id(child)]
        for name, parameter in module._parameters.items():
            setattr(copies[id(module)], name, parameter.detach())
    replica = copies[id(model)]
    with torch.no_grad():
        expected = model(**batch()).head_logits
        for head in replica.mhex:
            head.w2 = torch.zeros_like(head.w2)
        assert not (replica(**batch()).head_logits - torch.stack([h.bias for h in model.mhex])).any()
        assert torch.equal(model(**batch()).head_logits, expected)


def test_sticky_attention_is_put_back():
    """A short text switches big_bird to full attention for good; here it must not change a later, longer one."""
    long, short = batch(rows=(40,)), batch(rows=(8,))
    with torch.no_grad():
        fresh = train_heads(get_mhex_model(plain_model("big_bird")))
        torch.manual_seed(0)
        expected = fresh(**long).head_logits
        used = train_heads(get_mhex_model(plain_model("big_bird")))
        used(**short)
        torch.manual_seed(0)
        assert used.base_model.attention_type == "original_full"
        assert torch.equal(used(**long).head_logits, expected)
        assert used.base_model.attention_type == "block_sparse"


def test_labels_are_checked(model):
    with pytest.raises(ValueError, match="class ids from 0 to 2 .* got 7"):
        model(**batch(), labels=torch.tensor([0, 1, 7, 0]))
    with pytest.raises(TypeError, match="integer class ids"):
        plain = plain_model("bert", problem_type="single_label_classification")
        get_mhex_model(plain)(**batch(), labels=LABELS.float())


def test_masks_of_other_shapes_are_refused(model):
    with pytest.raises(ValueError, match=r"attention_mask must be \(batch, tokens\) .*got \(4, 1, 12, 12\)"):
        model(batch()["input_ids"], attention_mask=torch.ones(4, 1, 12, 12))


def test_reentrant_checkpointing_is_refused(model):
    with pytest.raises(ValueError, match="use_reentrant must be False"):
        model.activation_checkpointing_enable({"use_reentrant": True})
    from torch.utils.checkpoint import checkpoint

    model.train().enable_input_require_grads()
    model._set_gradient_checkpointing(True, lambda f, *a: checkpoint(f, *a, use_reentrant=True))
    with pytest.raises(RuntimeError, match="use_reentrant=True|outside their model"):
        model(**batch(), labels=LABELS).loss.backward()


def test_layerdrop_is_refused_in_training():
    model = get_mhex_model(plain_model("bart", encoder_layerdrop=0.1))
    model.eval()(**batch())
    with pytest.raises(ValueError, match="layerdrop=0.1; set it to 0"):
        model.train()(**batch())


def test_cache_is_refused_with_gates():
    model = get_mhex_model(plain_model("llama"))
    with pytest.raises(ValueError, match="past_key_values cannot be used with MHEX gates"):
        model(**batch(), past_key_values=object())


def test_base_model_alone_says_what_to_call(model):
    with pytest.raises(RuntimeError, match="call the model itself rather than its base model"):
        model.bert(**batch())


@pytest.mark.parametrize("gate", [False, True])
def test_leaving_out_the_heads_words_changes_nothing_else(gate):
    model = train_heads(get_mhex_model(plain_model("bert"), MhexConfig(gate=gate)))
    with torch.no_grad():
        model.add_readout({"depths": [0, 2], "widths": [model.config.hidden_size] * 2})
        for matrix in model.mhex_fit.buffers():
            matrix.normal_()
        inputs = batch()
        full = model(**inputs, output_attributions=True)
        lean = model(**inputs, output_attributions=True, output_head_logits=False)
    assert torch.equal(full.logits, lean.logits) and torch.equal(full.fitted_attributions, lean.fitted_attributions)
    assert full.head_logits is not None and lean.head_logits is None and lean.layer_attributions is None
    with pytest.raises(ValueError, match="output_head_logits must be True"):
        model(**inputs, labels=torch.tensor([0, 1]), output_head_logits=False)


def _fused_step(head):
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.1, fused=True)  # raises no version counter
    for parameter in head.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _replace_parameter(head):
    head.w1 = torch.nn.Parameter(head.w1.detach() + 1)


def _write_to_data(head):
    head.w1.data += 1


@pytest.mark.parametrize("change", [_fused_step, _replace_parameter, _write_to_data])
def test_what_heads_say_follows_their_weights_at_once(model, change):
    """Nothing of the heads is kept from one pass to the next, however the weights are changed."""
    model.eval()
    inputs = batch()
    with torch.no_grad():
        model(**inputs, output_attributions=True)
        for head in model.mhex:
            change(head)
        changed = model(**inputs, output_attributions=True)
        fresh = copy.deepcopy(model)(**inputs, output_attributions=True)
        short = model(**inputs)
    assert torch.equal(changed.layer_attributions, fresh.layer_attributions)
    torch.testing.assert_close(short.head_logits, changed.head_logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(short.logits, changed.logits)


def test_an_output_is_set_as_in_transformers():
    """A field that is set is an item as well, until then neither; other attributes are no items."""
    output = MhexOutput(logits=torch.zeros(1, 2))
    output.loss, output.remark = torch.zeros(()), "no field"
    assert list(output.keys()) == ["logits", "loss"] and output["loss"] is output.loss
    assert output.states is None and output.remark == "no field" and len(output.to_tuple()) == 2
    output["states"] = ()
    assert output.states == () and copy.deepcopy(output).keys() == output.keys()
