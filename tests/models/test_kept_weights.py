# SPDX-License-Identifier: Apache-2.0
"""Attention of short texts whose weights are kept: the same sums, the same flow, memory that no two passes share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers.families import batch, plain_model, train_heads
from helpers.tiny import tiny_bert
from mhex_nlp import get_mhex_model
from mhex_nlp.models.attention_hook import watch_attention
from mhex_nlp.models.heads import kept_weights, workspace
from mhex_nlp.models.heads.attention_flow import AttentionLog, attention_flow
from mhex_nlp.models.heads.attention_inputs import AttentionInputs
from mhex_nlp.models.heads.merged_rows import MOST_ROWS
from mhex_nlp.models.heads.visible_tokens import VisibleTokens
from mhex_nlp.models.heads.workspace import Workspace
from mhex_nlp.models.hooks import HeadLog, close_record, open_record
from mhex_nlp.models.padding import TokenMask
from studies.common import MINILM
from studies.overhead.models import Settings, add_random_fit, make_models, sentences, tokenizer_of_minilm


@pytest.fixture(autouse=True)
def no_spare(monkeypatch):
    monkeypatch.setattr(workspace, "_spare", [])


@pytest.fixture
def attended(monkeypatch):
    """How many layers kept their weights."""
    calls = []
    attend = AttentionLog.attend

    def counted(log, inputs):
        calls.append(inputs.query.shape)
        return attend(log, inputs)

    monkeypatch.setattr(AttentionLog, "attend", counted)
    return calls


def layer_of(texts: int, tokens: int, kind: str, groups: int = 1) -> tuple[AttentionInputs, torch.Tensor | None]:
    """A layer of four heads, and the mask that says the same to torch's attention."""
    query = torch.randn(texts, tokens, 4, 8).transpose(1, 2)
    key, value = (torch.randn(texts, tokens, 4 // groups, 8).transpose(1, 2) for _ in range(2))
    lengths = torch.randint(1, tokens + 1, (texts, 1, 1, 1))
    seen = (torch.arange(tokens) < lengths).expand(texts, 1, tokens, tokens)
    mask = {"all": None, "padding": seen, "any": torch.rand(texts, 1, tokens, tokens) < 0.5}[kind]
    if kind == "any":
        mask = mask | torch.eye(tokens, dtype=torch.bool)
    visible = VisibleTokens.of(mask, None, query.device, False, None)
    return AttentionInputs(query, key, value, visible, 0.3), mask


@given(
    st.integers(1, 5), st.integers(1, 40), st.sampled_from(["all", "padding", "any"]), st.sampled_from([1, 2, 4]),
    st.integers(0, 2**16), st.sampled_from([2**8, 2**11, 2**18]),
)  # fmt: skip
def test_sums_weights_and_flow_are_the_same(texts, tokens, kind, groups, seed, cached):
    """As torch's own attention adds up, and as weights made anew say, however the work is cut."""
    torch.manual_seed(seed)
    inputs, mask = layer_of(texts, tokens, kind, groups)
    key, value = (part.repeat_interleave(groups, 1) for part in (inputs.key, inputs.value))
    expected = torch.nn.functional.scaled_dot_product_attention(inputs.query, key, value, mask, scale=0.3)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("mhex_nlp.models.heads.attention_inputs._CACHED", cached)
        output, layer = kept_weights.attend(inputs, Workspace())
        torch.testing.assert_close(output, expected.transpose(1, 2), atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(layer.weights, inputs.weights(), atol=1e-6, rtol=1e-5)
        start = torch.rand(texts, tokens).softmax(-1)
        matrix = torch.randn(3, 32)
        flows = [attention_flow([one, one], start, None, lambda _: matrix) for one in (layer, inputs)]
        for one, other in zip(*flows, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        position = torch.randint(tokens, (texts, 2))
        torch.testing.assert_close(layer.rows(position), inputs.rows(position), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("labels", [1, 2, 3, 5])
@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_read_off_values_is_what_matrices_say(labels, groups):
    """Few labels are filled up for the product, which nobody sees."""
    inputs, _ = layer_of(3, 7, "all", groups)
    matrix = torch.randn(labels, 32)
    scores = inputs.read_by(matrix).head_scores
    assert scores.shape == (3, 4, 7, labels)
    values = inputs.values()  # (B, N, T, D)
    for head in range(4):
        torch.testing.assert_close(scores[:, head], values[:, head] @ matrix[:, 8 * head : 8 * head + 8].T)


def fitted(plain):
    model = train_heads(get_mhex_model(plain)).eval()
    add_random_fit(model, words=False)
    return model


def fitted_bert():
    return fitted(plain_model("bert"))


def scores_of(model, inputs=None):
    with torch.inference_mode():
        return model(**(batch() if inputs is None else inputs), output_attributions=True)


def test_a_model_says_the_same_with_it_and_without(attended, monkeypatch):
    model = fitted_bert()
    kept = scores_of(model)
    assert len(attended) == model.config.num_hidden_layers
    monkeypatch.setattr(AttentionLog, "keeps", lambda log, inputs: False)
    anew = scores_of(model)
    torch.testing.assert_close(kept.logits, anew.logits, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(kept.fitted_attributions, anew.fitted_attributions, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        assert torch.equal(model(**batch()).logits, anew.logits)  # torch's own attention


@pytest.mark.slow
def test_twenty_real_texts_have_the_same_scores(attended, monkeypatch):
    """MiniLM: each word's score within 1e-5 of its text's largest, alone and in a batch."""
    model = make_models(MINILM, Settings()).heads
    texts, tokenizer = sentences(20), tokenizer_of_minilm()
    encodings = [tokenizer(some, padding=True, return_tensors="pt") for some in (texts, *([text] for text in texts))]
    kept = [scores_of(model, encoding).fitted_attributions.sum(2) for encoding in encodings]
    assert len(attended) == 21 * model.config.num_hidden_layers
    monkeypatch.setattr(AttentionLog, "keeps", lambda log, inputs: False)
    for scores, encoding in zip(kept, encodings, strict=True):
        anew = scores_of(model, encoding).fitted_attributions.sum(2)
        largest = anew.abs().amax((1, 2), keepdim=True)
        assert ((scores - anew).abs() <= 1e-5 * largest).all()


def test_it_is_for_short_texts_in_float32_without_gradients(attended):
    model = fitted_bert()
    model(**batch(), output_attributions=True)
    model.set_attn_implementation("eager")
    scores_of(model)
    model.set_attn_implementation("sdpa")
    scores_of(fitted_bert().to(torch.bfloat16))
    long = {"input_ids": torch.randint(5, 30, (1, MOST_ROWS + 1))}
    scores_of(fitted(tiny_bert(max_position_embeddings=200)), long)
    assert not attended
    scores_of(fitted(tiny_bert(max_position_embeddings=200)), {"input_ids": long["input_ids"][:, :-1]})
    assert attended


def test_padding_that_the_model_sees_is_not_hidden(attended):
    """Without a mask the last rows of a decoder see padding among what is before them, which the log hides."""
    model = fitted(plain_model("llama"))
    ids = batch((9, 7))["input_ids"]  # 1, the pad id, after seven tokens
    seen = scores_of(model, {"input_ids": ids})
    assert not attended
    with torch.inference_mode():
        assert torch.equal(seen.logits, model(input_ids=ids).logits)
    scores_of(model, {"input_ids": ids[:, :7]})
    assert len(attended) == model.config.num_hidden_layers


def test_a_later_pass_leaves_what_an_earlier_one_said():
    """Passes of all sizes take turns in the same memory."""
    model = fitted_bert()
    shapes = ((1, 4), (2, 6), (1, 3))
    inputs = [{name: value[:texts, :tokens] for name, value in batch().items()} for texts, tokens in shapes]
    said = [scores_of(model, some) for some in inputs * 3]
    copies = [(one.logits.clone(), one.fitted_attributions.clone()) for one in said]
    for some in inputs:
        scores_of(model, some)
    for one, (logits, fitted), again in zip(said, copies, said[:3] * 3, strict=True):
        assert torch.equal(one.logits, logits) and torch.equal(one.fitted_attributions, fitted)
        assert torch.equal(one.fitted_attributions, again.fitted_attributions)


def test_states_of_a_fit_are_their_own_memory():
    model = train_heads(get_mhex_model(plain_model("bert"))).eval()
    with torch.inference_mode():
        first = model(**batch(), output_states=True)
        flows = [flow.clone() for flow in first.attention_flow]
        model(**{name: value.flip(0) for name, value in batch().items()}, output_states=True)
    assert all(map(torch.equal, first.attention_flow, flows))


def test_threads_do_not_meet():
    model, barrier = fitted_bert(), threading.Barrier(4)
    inputs = [{name: value[:, :length] for name, value in batch().items()} for length in (3, 4, 5, 6)]
    expected = [scores_of(model, some).fitted_attributions for some in inputs]

    def explain(index: int) -> bool:
        barrier.wait()
        return all(torch.equal(scores_of(model, inputs[index]).fitted_attributions, expected[index]) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(explain, range(4)))


def test_a_pass_within_a_pass(attended):
    """A hook that explains another text in the midst of a pass."""
    model, other = fitted_bert(), fitted_bert()
    alone = scores_of(model).fitted_attributions
    model.base_model.encoder.layer[1].register_forward_hook(lambda *_: scores_of(other) and None)
    for _ in range(3):
        assert torch.equal(scores_of(model).fitted_attributions, alone)


def test_a_pass_that_fails_gives_nothing_back():
    model = fitted_bert()
    alone = scores_of(model).fitted_attributions

    def fail(*_):
        raise KeyError("stop")

    handle = model.base_model.encoder.layer[1].register_forward_hook(fail)
    with pytest.raises(KeyError):
        scores_of(model)
    handle.remove()
    assert not workspace._spare
    assert torch.equal(scores_of(model).fitted_attributions, alone)


def test_memory_is_kept_within_bounds(monkeypatch):
    monkeypatch.setattr(workspace, "_MOST", 100)
    first = Workspace.spare()
    assert first.empty((2, 30)).shape == (2, 30)
    first.give_back()
    second, third = Workspace.spare(), Workspace.spare()
    assert second is first and len(second.memory) == 60 and third is not first
    one, two = second.empty((5, 4)), second.empty((40,))
    assert two.data_ptr() == one.data_ptr() + 4 * 20  # side by side in what is kept
    assert second.empty((1,)).data_ptr() != two.data_ptr() + 4 * 40  # and beyond it in memory of its own
    third.empty((101,))
    second.give_back()
    third.give_back()
    assert sorted(len(spare.memory) for spare in workspace._spare) == [0, 61]
    large = Workspace()
    large.memory = torch.empty(50)
    large.give_back()
    assert sum(len(spare.memory) for spare in workspace._spare) == 61


def test_what_inference_mode_kept_other_passes_may_use():
    model = fitted_bert()
    expected = scores_of(model).fitted_attributions
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(model(**batch(), output_attributions=True).fitted_attributions, expected)


@pytest.mark.parametrize("family", ["bert", "llama", "modernbert"])
def test_rows_that_see_nothing_add_up_to_nothing(family, monkeypatch):
    """A text that is hidden whole, and padding: on the left of a decoder, or outside the windows of what is real."""
    model, inputs = fitted(plain_model(family)), batch((12, 5, 9, 7))
    inputs = {name: value.flip(1) for name, value in inputs.items()} if family == "llama" else inputs
    inputs["attention_mask"][2] = 0
    inputs |= {"output_hidden_states": True}
    kept = scores_of(model, inputs)
    monkeypatch.setattr(AttentionLog, "keeps", lambda log, inputs: False)
    anew = scores_of(model, inputs)
    torch.testing.assert_close(kept.logits, anew.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(kept.fitted_attributions, anew.fitted_attributions, atol=1e-5, rtol=1e-5)
    for one, other in zip(kept.hidden_states, anew.hidden_states, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_memory_is_float32_whatever_the_default(default):
    model = fitted_bert()
    expected = scores_of(model).fitted_attributions
    workspace._spare.clear()
    torch.set_default_dtype(default)
    try:
        scores_of(model)
        assert torch.equal(scores_of(model).fitted_attributions, expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(scores_of(model).fitted_attributions, expected)


def test_autocast_has_a_dtype_of_its_own():
    inputs, _ = layer_of(2, 5, "all")
    with torch.inference_mode():
        assert kept_weights.keeps_weights(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            assert not kept_weights.keeps_weights(inputs)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace. is deprecated")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_pass_has_no_memory_of_ours():
    """It would be a constant of the graph, which passes of other threads write to."""
    model, inputs = fitted_bert().requires_grad_(False), batch()

    def explain(ids, mask):
        return model(input_ids=ids, attention_mask=mask, output_attributions=True).fitted_attributions

    with torch.no_grad():
        used = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Workspace, "empty", lambda *args: used.append(args))
            traced = torch.jit.trace(explain, tuple(inputs.values()), check_trace=False)
        assert not used
        inputs = {name: value[:3].flip(0) for name, value in inputs.items()}
        torch.testing.assert_close(traced(*inputs.values()), explain(*inputs.values()), atol=1e-5, rtol=1e-5)


def test_tensors_without_numbers_of_their_own_leave_nothing_behind():
    model, ids = fitted_bert().requires_grad_(False), batch()["input_ids"]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model(input_ids=torch.zeros(9, 9, dtype=torch.int64), output_attributions=True)
    assert not workspace._spare
    embeddings = model.get_input_embeddings()(ids)
    with torch.no_grad():
        one = torch.func.vmap(lambda text: model(inputs_embeds=text[None], output_attributions=True).logits[0])
        torch.testing.assert_close(one(embeddings), model(inputs_embeds=embeddings).logits, atol=1e-5, rtol=1e-5)


@pytest.fixture
def follow():
    """One layer's attention as a model calls it, in a pass that follows attention, and as torch has it."""

    def follow(module, inputs, mask, **kwargs):
        log, arguments = AttentionLog(), (module, inputs.query, inputs.key, inputs.value, mask)
        record = open_record(TokenMask(None, inputs.query.shape[2]), HeadLog(None), log)
        record.stream = inputs.query
        try:
            followed = ALL_ATTENTION_FUNCTIONS.get_interface("sdpa", None)(*arguments, scaling=0.3, **kwargs)[0]
        finally:
            close_record(record)
        return followed, sdpa_attention_forward(*arguments, scaling=0.3, **kwargs)[0], log

    watch_attention("sdpa")
    return follow


@pytest.mark.parametrize(
    ("mask", "kwargs"),
    [
        (None, {}),  # causal, as transformers has it for modules that do not say
        (None, {"is_causal": False}),
        (None, {"is_causal": False, "sliding_window": 3}),  # which torch's attention does not hear of
        (torch.rand(5, 9, 9).unsqueeze(1), {}),
        (torch.rand(1, 4, 9, 9) < 0.5, {}),  # a head's own, with rows that see nothing
        (torch.zeros(5, 1, 1, 9).fill_(-torch.inf), {}),
        (torch.rand(9, 9), {}),
        (torch.rand(4, 9, 9), {}),
    ],
)
def test_what_is_hidden_is_what_torch_hides(follow, mask, kwargs):
    inputs, _ = layer_of(5, 9, "all")
    with torch.inference_mode():
        followed, expected, log = follow(torch.nn.Module(), inputs, mask, **kwargs)
    torch.testing.assert_close(followed, expected, atol=2e-6, rtol=1e-5)
    assert len(log.layers) == 1
