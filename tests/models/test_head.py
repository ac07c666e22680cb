# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from mhex_nlp.models.heads.head import MhexHead, _blank, pool

torch.manual_seed(0)
X, STREAM = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()


def trained(**options) -> MhexHead:
    head = MhexHead(8, 3, **options)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return head


def test_fresh_head_passes_everything_through():
    gated, evidence, _ = MhexHead(8, 3)(X, STREAM, MASK)
    assert torch.equal(gated, X) and not evidence.any()


def test_formulas_by_hand():
    """Gate 2 sigmoid(W1 mean z) and evidence W2 W1 relu(z), written out with loops."""
    head = trained()
    gated, evidence, _ = head(X, STREAM, MASK)
    for row in range(2):
        real = int(MASK[row].sum())
        z = X[row, :real] + STREAM[row, :real]
        gate = 2 / (1 + torch.exp(-(head.w1 @ z.mean(0))))
        torch.testing.assert_close(gated[row], gate * X[row])
        for token in range(real):
            torch.testing.assert_close(evidence[row, token], head.w2 @ (head.w1 @ z[token].clamp(min=0)))
    assert not evidence[1, 2:].any()


def test_equivalent_matrix_is_the_product():
    head = trained()
    torch.testing.assert_close(head.equivalent_matrix, head.w2 @ head.w1)
    assert head.equivalent_matrix.shape == (3, 8)


def test_padding_may_hold_nan():
    """NaN on padded rows reaches neither the scores nor a gradient."""
    head = trained(pre_norm=True)
    x, stream = X.clone(), STREAM.clone()
    x[1, 2:], stream[1, 3:] = float("nan"), float("inf")
    gated, evidence, _ = head(x, stream, MASK)
    clean, expected, _ = head(X, STREAM, MASK)
    assert torch.equal(evidence, expected)
    assert torch.equal(gated[0], clean[0]) and torch.equal(gated[1, :2], clean[1, :2])
    evidence.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


def test_padding_is_blanked_in_any_memory_layout():
    """Where rows lie one after another, and where they do not."""
    z, mask = torch.randn(4, 3, 8), torch.tensor([[True, False, True]] * 4)
    turned = z.transpose(0, 1).contiguous().transpose(0, 1)
    for memory in (z, turned):
        blanked = memory.clone(memory_format=torch.preserve_format)
        _blank(blanked, ~mask)
        assert blanked.is_contiguous() == memory.is_contiguous()
        assert torch.equal(blanked, torch.where(mask[..., None], z, 0.0))


def test_blanking_gives_padding_no_gradient_and_copies_none():
    x, mask = torch.randn(2, 5, 8, requires_grad=True), MASK
    z = x + STREAM
    _blank(z, ~mask)
    assert type(z.grad_fn).__name__ != "CopySlices", "which copies the whole gradient twice"
    z.sum().backward()
    assert torch.equal(x.grad, mask[..., None].expand_as(x).float())


def test_reading_head_returns_x_itself():
    gated, evidence, _ = trained(gate=False)(X, STREAM, MASK)
    assert gated is X and evidence.any()


def test_pre_norm_ignores_the_scale_of_the_stream():
    """A massive activation would saturate the gate; divided by the root mean square it cannot."""
    head = trained(pre_norm=True)
    one, _, _ = head(X, STREAM, None)
    other, _, _ = head(1000 * X, 1000 * STREAM, None)
    torch.testing.assert_close(other, 1000 * one, rtol=1e-4, atol=1e-3)


def test_causal_pool_is_the_running_mean():
    z = torch.where(MASK[..., None], X, 0.0)
    pooled = pool(z, MASK, causal=True)
    for token in range(5):
        torch.testing.assert_close(pooled[0, token], z[0, : token + 1].mean(0))
    torch.testing.assert_close(pooled[1, 4], z[1, :2].mean(0))


@pytest.mark.parametrize("causal", [False, True])
def test_pool_without_real_tokens_is_zero(causal):
    assert not pool(torch.zeros(1, 4, 8), torch.zeros(1, 4).bool(), causal=causal).any()


@pytest.mark.parametrize("options", [{}, {"pre_norm": True}, {"causal": True}, {"gate": False}])
@pytest.mark.parametrize("mask", [MASK, None])
def test_what_is_said_of_a_text_is_the_mean_of_its_tokens(options, mask):
    """W2 (W1 mean relu z) + bias, without the equivalent matrix; the gate does not depend on what is read."""
    head = trained(**options)
    gated, evidence, bias = head(X, STREAM, mask)
    again, logits, _ = head(X, STREAM, mask, reading="text")
    alone, nothing, _ = head(X, STREAM, mask, reading=None)
    counts = X.shape[1] if mask is None else mask.sum(1, keepdim=True)
    torch.testing.assert_close(logits, evidence.sum(1) / counts + bias, rtol=1e-5, atol=1e-6)
    assert logits.dtype == torch.float32 and nothing is None
    assert torch.equal(again, gated) and torch.equal(alone, gated)


def test_both_readings_learn_alike():
    """The gradients of every weight, of the text's logits by either way."""
    weights = torch.randn(2, 3)
    gradients = []
    for reading in ("tokens", "text"):
        head = trained()
        _, said, bias = head(X, STREAM, MASK, reading=reading)
        logits = said if reading == "text" else said.sum(1) / MASK.sum(1, keepdim=True) + bias
        gradients.append(torch.autograd.grad((logits * weights).sum(), [head.w1, head.w2], allow_unused=False))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_low_precision_keeps_dtypes():
    head = trained().to(torch.bfloat16)
    gated, evidence, _ = head(X.bfloat16(), STREAM.bfloat16(), MASK)
    assert gated.dtype == torch.bfloat16 and evidence.dtype == torch.float32
