# SPDX-License-Identifier: Apache-2.0
"""A pass in eval mode leaves the model alone, and nobody who switches the model's mode meanwhile changes its result."""

from __future__ import annotations

import random
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import convert_outputs_to_fp32

from helpers.families import FAMILIES, batch, inputs_for, plain_model, train_heads
from helpers.tiny import tiny_bert, tiny_mhex, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, get_mhex_model
from mhex_nlp.models.eval_mode import eval_view, run_in_eval_mode

LONG = {"rope_theta": 10000.0, "original_max_position_embeddings": 8, "factor": 4.0}
GROWING = {
    "dynamic": {"rope_type": "dynamic", **LONG},
    "longrope": {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [3.0] * 4, **LONG},
}


def with_heads(family: str, **changes: Any) -> Any:
    return train_heads(get_mhex_model(plain_model(family, **changes), MhexConfig()))


def contents(model: torch.nn.Module) -> list[dict[str, Any]]:
    """What each module holds, and the bytes of its buffers, which passes may write."""
    return [
        {key: dict(value) if isinstance(value, dict) else value for key, value in vars(module).items()}
        | {"bytes": [None if b is None else b.clone() for b in module._buffers.values()]}
        for module in model.modules()
    ]


def same(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    def alike(one: Any, other: Any) -> bool:
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
        if isinstance(one, list) and one and isinstance(one[0], torch.Tensor):
            return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        return one is other or (not isinstance(one, torch.Tensor) and one == other)

    return len(before) == len(after) and all(map(alike, before, after))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_in_any_mode_answers_as_in_eval_mode_and_is_left_as_it_was(family: str) -> None:
    model, inputs = with_heads(family), inputs_for(family)
    with torch.no_grad():
        right = model(**inputs).logits
    model = with_heads(family)
    for mode in (True, False):
        model.train(mode)
        list(model.modules())[-2].train(not mode)
        before, randomness = contents(model), torch.get_rng_state()
        with torch.inference_mode():
            answer = run_in_eval_mode(model, inputs).logits
        assert torch.equal(answer, right)
        assert same(before, contents(model))
        # where big_bird changes its attention, it makes layers, which draw the weights that they then throw away
        assert torch.equal(randomness, torch.get_rng_state()) or family == "big_bird"
    model.eval()
    before = contents(model)
    with torch.inference_mode():
        assert torch.equal(run_in_eval_mode(model, inputs).logits, right)
    assert same(before, contents(model)), "a family whose pass writes needs a view in eval mode as well"


@pytest.mark.parametrize("kind", GROWING)
def test_positions_that_grow_with_the_text_are_written_in_the_view(kind: str) -> None:
    model = with_heads("llama", rope_parameters=GROWING[kind])
    long, short = batch(rows=(40,)), batch(rows=(5,))
    with torch.inference_mode():
        alone = run_in_eval_mode(with_heads("llama", rope_parameters=GROWING[kind]), short).logits
        before = contents(model)
        run_in_eval_mode(model, long)
        assert same(before, contents(model))
        assert torch.equal(run_in_eval_mode(model, short).logits, alone)


def test_a_view_shares_tensors_and_no_module() -> None:
    for family in ("albert", "t5"):
        model = with_heads(family).train()
        view = eval_view(model)
        assert type(view) is type(model) and not any(module.training for module in view.modules())
        pairs = list(zip(model.named_modules(), view.named_modules(), strict=True))  # shared ones stay shared
        assert all(name == other and one is not two for (name, one), (other, two) in pairs)
        for kind in ("named_parameters", "named_buffers"):
            tensors = zip(getattr(model, kind)(), getattr(view, kind)(), strict=True)
            assert all(name == other and one is two for (name, one), (other, two) in tensors)


def test_hooks_of_the_model_run_and_those_of_the_view_stay_there() -> None:
    model, ran = tiny_mhex().train(), []
    model.bert.pooler.register_forward_hook(lambda module, args, output: ran.append("model"))
    view = eval_view(model)
    view.bert.pooler.register_forward_hook(lambda module, args, output: ran.append("view"))
    view.bert.pooler.register_forward_pre_hook(lambda module, args, kwargs: ran.append("before"), with_kwargs=True)
    inputs = {"input_ids": torch.tensor([[2, 5, 3]])}
    view(**inputs)
    assert ran == ["before", "model", "view"]
    model(**inputs)
    assert ran[3:] == ["model"]


@pytest.mark.parametrize(("plain", "back"), [(False, False), (False, True), (True, False)])
def test_a_mode_that_is_switched_during_the_pass_does_not_reach_it(back: bool, plain: bool) -> None:
    """As a trainer beside does it, which trains, or trains and evaluates, while the pass runs.

    A plain model does not tell that it left eval mode and came back.
    """
    model = tiny_bert(dropout=0.5) if plain else tiny_mhex(dropout=0.5)
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]])}
    right = model.eval()(**inputs).logits

    def switch(module: Any, args: Any) -> None:
        model.train()

    def switch_back(module: Any, args: Any, output: Any) -> None:
        model.eval()

    model.bert.encoder.register_forward_pre_hook(switch)
    if back:
        model.bert.pooler.register_forward_hook(switch_back)
    torch.testing.assert_close(run_in_eval_mode(model.eval(), inputs).logits, right)


def test_an_error_of_training_mode_does_not_reach_the_pass() -> None:
    model = tiny_mhex()
    inputs = {"input_ids": torch.tensor([[2, 5, 3]])}
    right = model.eval()(**inputs).logits

    def fail(module: Any, args: Any) -> None:
        if module is model.bert.pooler:
            model.train()
            raise RuntimeError("as of LayerDrop in training")

    model.bert.pooler.register_forward_pre_hook(fail)
    assert torch.equal(run_in_eval_mode(model, inputs).logits, right)
    with pytest.raises(RuntimeError, match="LayerDrop"):
        model.eval()(**inputs)


def replaced(model: Any, how: str) -> Any:
    """The model as others leave it in training, with a forward that was put on the instance."""
    if how == "accelerate":  # what Accelerator.prepare does in mixed precision
        autocast = torch.autocast("cpu", torch.bfloat16)
        model.forward = MethodType(convert_outputs_to_fp32(autocast(model.forward.__func__)), model)
    elif how == "compiled":
        model.compile(backend="eager")
    elif how == "compiled forward":
        model.forward = torch.compile(model.forward, backend="eager")
    elif how == "hooked":
        for module in list(model.modules())[:12]:
            add_hook_to_module(module, ModelHook())
    elif how == "listed":  # modules in containers that torch does not know
        encoder = model.bert.encoder
        encoder.layers_in_order = list(encoder.layer)
        encoder.forward = MethodType(
            lambda self, x, *args, **kwargs: type(encoder).forward(self, x, *args, **kwargs), encoder
        )
    return model


@pytest.mark.parametrize("how", ["accelerate", "compiled", "compiled forward", "hooked", "listed"])
def test_a_forward_that_others_replaced_runs_in_eval_mode(how: str) -> None:
    model = replaced(tiny_mhex(dropout=0.5), how)
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]]), "attention_mask": torch.ones(1, 5, dtype=torch.long)}
    with torch.inference_mode():
        right = model.eval()(**inputs).logits
        answer = run_in_eval_mode(model.train(), inputs).logits
    torch.testing.assert_close(answer, right)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("part", ["model", "bert.encoder", "bert.pooler.activation"])
def test_what_cannot_be_followed_is_refused_in_training_mode_alone(part: str) -> None:
    model = tiny_mhex(dropout=0.5).eval()
    module = model if part == "model" else model.get_submodule(part)
    inputs = {"input_ids": torch.tensor([[2, 5, 3]])}
    right = model(**inputs).logits
    inner = module.forward
    module.forward = lambda *args, **kwargs: inner(*args, **kwargs)
    assert torch.equal(run_in_eval_mode(model, inputs).logits, right)
    model.train()
    with pytest.raises(
        ValueError, match=f"first: its {type(module).__name__} is scripted, or has a forward of its own"
    ):
        run_in_eval_mode(model, inputs)


def test_a_request_keeps_the_fit_that_it_was_made_with() -> None:
    """Fitted anew, or trained so that the fit is dropped, between the request and its passes."""
    model, size = tiny_mhex().eval(), 32
    explainer = MhexExplainer(model, tiny_tokenizer())
    fit = {"depths": [0, 3], "widths": [size] * 2}
    model.add_readout({**fit, "skill": 0.5}, torch.randn(1 + 2 * size, 2))
    assert not any(module.training for module in model.modules())
    request, items = explainer.request(), explainer.tokenise(["a superb film ."])
    ((_, first),) = explainer.attribute(items, request)
    model.add_readout({**fit, "depths": [0, 2], "skill": 0.7}, torch.randn(1 + 2 * size, 2))
    ((_, again),) = explainer.attribute(items, request)
    assert np.array_equal(first.scores, again.scores) and request.fit["skill"] == 0.5
    assert explainer.request().fit["skill"] == 0.7
    model.drop_readout()
    ((_, dropped),) = explainer.attribute(items, request)
    assert np.array_equal(first.scores, dropped.scores)


def test_a_trainer_draws_what_it_draws_without_explanations_beside() -> None:
    """Explaining a model in training mode between two steps takes nothing from the random states."""
    model, states = tiny_mhex(dropout=0.3).train(), []
    explainer = MhexExplainer(model, tiny_tokenizer())
    with torch.no_grad():
        for head in model.mhex:
            head.w1.normal_()
            head.bias.fill_(1.0)
    for explains in (True, False):
        torch.manual_seed(0)
        random.seed(0)
        if explains:
            explainer(["a superb film .", "the dull plot ."])
        states.append((torch.get_rng_state(), random.getstate()))
    assert torch.equal(states[0][0], states[1][0]) and states[0][1] == states[1][1]
