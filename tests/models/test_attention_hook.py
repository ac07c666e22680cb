# SPDX-License-Identifier: Apache-2.0
"""The wrapper around transformers' lookup of attention functions: put in once, whoever else wraps it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
import torch
from transformers import AttentionInterface

from helpers.tiny import tiny_bert
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models import attention_hook

INPUTS = {"input_ids": torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]]), "attention_mask": torch.ones(2, 5).long()}
Lookup = Callable[..., Any]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookup]:
    """transformers' own lookup, as in a process that has not followed attention yet."""
    attention_hook.unwatch_attention()
    lookup = AttentionInterface.get_interface
    monkeypatch.setattr(AttentionInterface, "get_interface", lookup)
    monkeypatch.setattr(attention_hook, "_ours", {})
    monkeypatch.setattr(attention_hook, "_reaches_ours", {})
    yield lookup


def model_of(implementation: str) -> Any:
    model = get_mhex_model(tiny_bert().eval(), MhexConfig(gate=False))
    model.set_attn_implementation(implementation)
    return model


def flow(model: Any) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return model(**INPUTS, output_states=True).attention_flow


def wrap_lookup(calls: list[str], named: bool, only: str | None = None, twice: bool = False) -> None:
    """What another library does to the lookup.

    Args:
        calls: gets the implementation of each call.
        named: with `functools.wraps`, which copies the attributes of what it wraps.
        only: it answers for this implementation alone, and asks nobody else.
        twice: its attention function looks another one up, and calls it.
    """
    before = AttentionInterface.get_interface

    def lookup(self: Any, attn_implementation: str, default: Any) -> Any:
        calls.append(attn_implementation)
        if attn_implementation == only:
            return torch_attention
        attend = before(self, attn_implementation, default)
        if not twice:
            return lambda *args, **kwargs: attend(*args, **kwargs)

        def delegating(module: Any, query: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            return before(self, attn_implementation, default)(module, query.clone(), *args, **kwargs)

        return delegating

    AttentionInterface.get_interface = wraps(before)(lookup) if named else lookup


def torch_attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
    output = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)
    return output.transpose(1, 2), None


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("when", ["before", "after", "before and after", "after each pass"])
@pytest.mark.parametrize("twice", [False, True])
def test_a_foreign_wrapper_changes_nothing(implementation: str, named: bool, when: str, twice: bool) -> None:
    model = model_of(implementation)
    right, calls = flow(model), []
    attention_hook.unwatch_attention()
    attention_hook._ours.clear()
    if "before" in when:
        wrap_lookup(calls, named, twice=twice)
    for number in range(4):
        torch.testing.assert_close(flow(model), right)
        if "each" in when or ("after" in when and number == 0):
            wrap_lookup(calls, named, twice=twice)
    assert len(right) == 2 and len(attention_hook._ours) == 1 and set(calls) == {implementation}


@pytest.mark.parametrize("named", [False, True])
def test_a_foreign_wrapper_stays_when_ours_is_taken_off(plain: Lookup, named: bool) -> None:
    flow(model_of("sdpa"))
    wrap_lookup([], named)
    foreign = AttentionInterface.get_interface
    attention_hook.unwatch_attention()
    assert AttentionInterface.get_interface is foreign


def test_ours_is_known_when_others_put_it_back(plain: Lookup) -> None:
    """A patch that began while ours was in, and ends after it was taken off."""
    model = model_of("sdpa")
    right, ours = flow(model), AttentionInterface.get_interface
    attention_hook.unwatch_attention()
    AttentionInterface.get_interface = ours
    torch.testing.assert_close(flow(model), right)
    attention_hook.unwatch_attention()
    assert AttentionInterface.get_interface is plain


def test_ours_comes_back_where_others_took_it_away(plain: Lookup) -> None:
    """A patch that ends puts back what it began with: the lookup without ours."""
    model = model_of("sdpa")
    wrap_lookup([], named=False)
    right = flow(model)
    AttentionInterface.get_interface = plain
    torch.testing.assert_close(flow(model), right)
    assert AttentionInterface.get_interface.__wrapped__ is plain


def test_an_implementation_that_others_answer_for_is_followed_as_well(plain: Lookup) -> None:
    models = {name: model_of(name) for name in ("sdpa", "eager")}
    right = {name: flow(model) for name, model in models.items()}
    wrap_lookup([], named=True, only="sdpa")
    for name in ("eager", "sdpa", "eager"):
        torch.testing.assert_close(flow(models[name]), right[name])
    assert len(attention_hook._ours) == 2  # the second for what does not come by the first


def test_an_attention_function_that_is_tried_again_counts_once() -> None:
    """A wrapper that calls the attention function once more, as after a failure."""
    model = model_of("sdpa")
    right = flow(model)
    before = AttentionInterface.get_interface

    def lookup(self: Any, *args: Any) -> Any:
        attend = before(self, *args)

        def again(*inputs: Any, **kwargs: Any) -> Any:
            attend(*inputs, **kwargs)
            return attend(*inputs, **kwargs)

        return again

    AttentionInterface.get_interface = lookup
    torch.testing.assert_close(flow(model), right)


def test_a_lookup_that_fails_when_it_is_tried_out_fails_in_the_pass_alone() -> None:
    model = model_of("sdpa")
    before = AttentionInterface.get_interface

    def lookup(self: Any, name: str, default: Any) -> Any:
        if not hasattr(default, "__code__"):
            raise TypeError("default must be a function")
        return before(self, name, default)

    AttentionInterface.get_interface = lookup
    assert len(flow(model)) == len(flow(model)) == 2
    assert len(attention_hook._ours) == 1


def test_first_use_from_eight_threads_wraps_once(plain: Lookup) -> None:
    models, depths = [model_of("sdpa") for _ in range(8)], []
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            attention_hook.unwatch_attention()
            assert AttentionInterface.get_interface is plain
            barrier = threading.Barrier(8)

            def first(model: Any, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                depths.append(len(flow(model)))

            threads = [threading.Thread(target=first, args=(model,)) for model in models]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert AttentionInterface.get_interface.__wrapped__ is plain
    finally:
        sys.setswitchinterval(switching)
    assert depths == [2] * 80
