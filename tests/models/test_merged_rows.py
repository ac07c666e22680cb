# SPDX-License-Identifier: Apache-2.0
"""Long texts: neighbours share rows of the attention, by as much as is stated, and no T x T tensor is ever made."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mhex_nlp.models.heads import attention_flow as flows
from mhex_nlp.models.heads.merged_rows import MOST_ROWS, MergedRows, run_starts
from mhex_nlp.models.heads.visible_tokens import VisibleTokens

LONG = 2 * MOST_ROWS + 45
ALL_SEEN = VisibleTokens()


def layer_of(tokens: int, visible: VisibleTokens = ALL_SEEN, **options) -> flows.AttentionInputs:
    query, key, value = (torch.randn(1, heads, tokens, 8) for heads in (4, 2, 2))
    return flows.AttentionInputs(query, key, value, visible, 8**-0.5, **options)


def exact_weights(layer: flows.AttentionInputs, rollout: torch.Tensor) -> torch.Tensor:
    """(B, N, P, T), by the formula, with whole matrices."""
    key = layer.key.repeat_interleave(layer.query.shape[1] // layer.key.shape[1], 1)
    scores = layer.query @ key.transpose(-1, -2) * layer.scaling
    bias = layer.visible.bias(key.shape[2], key.device, slice(None), slice(None))
    return rollout[:, None] @ (scores if bias is None else scores + bias).softmax(-1)


def first_token(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.eye(1, tokens), torch.zeros(1, dtype=torch.long)


@pytest.mark.parametrize("tokens", [1, 7, MOST_ROWS - 1, MOST_ROWS, MOST_ROWS + 1, LONG, 8192])
def test_runs_part_a_text_evenly_whatever_surrounds_it(tokens):
    real = torch.zeros(1, tokens + 9, dtype=torch.bool)
    real[:, 4 : 4 + tokens] = True
    for mask, before, width in ((None, 0, tokens), (real, 4, tokens + 9)):
        starts = run_starts(mask, torch.zeros(1, width))[0]
        starts = torch.cat([torch.tensor([before]), starts[1:], torch.tensor([before + tokens])])
        lengths = starts.clamp(max=before + tokens).diff()
        assert len(lengths) == MOST_ROWS and lengths.sum() == tokens
        filled = lengths[: min(tokens, MOST_ROWS)]
        assert filled.min() >= 1 and filled.max() - filled.min() <= 1


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tokens", [MOST_ROWS // 2, LONG])
def test_a_text_is_read_alike_alone_and_padded(tokens, masked, causal):
    """Short ones exactly, in a batch of long ones as well; with a mask of four axes and without."""
    torch.manual_seed(0)
    alone = [layer_of(tokens, VisibleTokens(causal=causal)) for _ in range(3)]
    expected = flows.attention_flow(alone, *first_token(tokens))
    for before in (0, 30):
        width = LONG + 60
        real = torch.zeros(1, width, dtype=torch.bool)
        real[:, before : before + tokens] = True
        visible = VisibleTokens(None, real, causal)
        if masked:
            bias = visible.bias(width, real.device, slice(None), slice(None)).expand(1, 1, width, width)
            visible = VisibleTokens.of(bias == 0, real, real.device, False, None)
        padded = []
        for layer in alone:
            wide = layer_of(width, visible)
            for part, own in ((wide.query, layer.query), (wide.key, layer.key), (wide.value, layer.value)):
                part[:, :, before : before + tokens] = own
            padded.append(wide)
        start = torch.zeros(1, width)
        start[:, before] = 1
        together = flows.attention_flow(padded, start, torch.tensor([before]))
        for one, other in zip(expected, together, strict=True):
            torch.testing.assert_close(one, other[:, before : before + tokens], atol=1e-6, rtol=1e-4)


def test_short_texts_are_exact():
    torch.manual_seed(1)
    rollout = torch.rand(1, 1, MOST_ROWS).softmax(-1)
    layer = layer_of(MOST_ROWS)
    torch.testing.assert_close(layer.rollout_weights(rollout), exact_weights(layer, rollout))


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_what_merging_changes_is_bounded_by_how_neighbours_differ(spread):
    torch.manual_seed(2)
    layer = layer_of(LONG)
    starts = run_starts(None, torch.zeros(1, LONG))
    run = (torch.arange(LONG)[:, None] >= starts[0]).sum(1) - 1
    layer.query[:] = layer.query[:, :, run] + spread * torch.randn_like(layer.query)
    rollout = torch.rand(1, LONG).pow(4)
    rollout /= rollout.sum()
    merged, exact = layer.rollout_weights(rollout[:, None], starts), exact_weights(layer, rollout[:, None])
    means = MergedRows(rollout, starts).means(layer.query.transpose(1, 2).flatten(2)).unflatten(2, (4, 8))
    apart = layer.query - means.transpose(1, 2)[:, :, run]
    change = (apart @ layer.key.repeat_interleave(2, 1).transpose(-1, -2)).abs().amax(-1) * layer.scaling  # (1, N, T)
    bound = (rollout * change.clamp(max=2)).sum(-1)
    error = (merged - exact).abs().sum(-1)[..., 0]
    assert bool((error <= bound + 1e-5).all())
    torch.testing.assert_close(merged.sum(-1), torch.ones(1, 4, 1))
    assert (float(error.max()) < 1e-5) is (spread == 0)


def test_merged_rows_see_what_their_share_of_a_run_sees():
    """Two neighbours of a causal text: the later token is seen by the weight of its own row alone."""
    rollout = torch.tensor([[0.25, 0.75, 0.0, 0.0]])
    merged = MergedRows(rollout, torch.tensor([[0, 2]]))
    shares = merged.bias(VisibleTokens(causal=True), rollout.device).exp()
    torch.testing.assert_close(shares[0, 0, 0], torch.tensor([1.0, 0.75, 0.0, 0.0]))
    torch.testing.assert_close(merged.mass, torch.tensor([[1.0, 0.0]]))


class Sizes(TorchDispatchMode):
    """The largest tensor that is made meanwhile."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        made = output if isinstance(output, tuple) else (output,)
        # a view of few elements may say that it has many
        sizes = [part.untyped_storage().nbytes() // part.itemsize for part in made if isinstance(part, torch.Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return output


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": 33}, {"causal": True, "window": 33}])
@pytest.mark.parametrize("places", [None, 2])
def test_nothing_is_as_large_as_all_pairs_of_tokens(options, places):
    torch.manual_seed(3)
    tokens = 2048
    layers = [layer_of(tokens, VisibleTokens(**options), window=options.get("window")) for _ in range(2)]
    start, position = first_token(tokens)
    if places:
        start, position = start[:, None].expand(1, places, -1).contiguous(), position[:, None].expand(1, places)
    with Sizes() as sizes:
        flow = flows.attention_flow(layers, start, position)
    assert 0 < sizes.largest < tokens * tokens / 2
    if places or "window" in options:  # row by row
        rollout = torch.zeros(1, 1, tokens)
        rollout[..., 0] = 1
        rollout = (rollout + exact_weights(layers[1], rollout).mean(1)) / 2
        expected = exact_weights(layers[0], rollout)[:, :, 0, :, None] * layers[0].values()
        got = flow[0][:, 0] if places else flow[0]
        torch.testing.assert_close(got, expected.transpose(1, 2).flatten(2), atol=1e-6, rtol=1e-4)
