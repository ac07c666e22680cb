# SPDX-License-Identifier: Apache-2.0
"""Texts longer than the model takes, read in windows: the mean of the windows, and not a token lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.families import train_heads
from helpers.tiny import WORDS, tiny_bert, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.inputs.windows import tokenise_in_windows

TOKENIZER = tiny_tokenizer()
NAMES = [word for word in WORDS if word.isalpha() and len(word) > 1]
ACCEPTS = frozenset({"input_ids", "token_type_ids", "attention_mask"})


@pytest.fixture(scope="module")
def model():
    plain = tiny_bert(num_labels=3, id2label={0: "bad", 1: "fair", 2: "good"}).eval()
    return train_heads(get_mhex_model(plain, MhexConfig(gate=True)))


def long_text(count: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(NAMES, count))


def test_scores_and_logits_are_means_over_the_windows(model):
    """Made by hand: each window through the model as a text of its own, added up where its tokens lie."""
    text, stride, length = long_text(50), 5, 20
    words, room = text.split(), length - 2
    e = MhexExplainer(model, TOKENIZER, max_length=length, stride=stride)(text, target="good")
    starts = [0, 13, 26, 39]
    assert e.windows == len(starts) and not e.truncated
    plain = MhexExplainer(model, TOKENIZER, max_length=length)
    parts = [plain(" ".join(words[start : start + room]), target="good") for start in starts]
    expected = np.zeros(52)
    for start, part in zip(starts, parts, strict=True):
        expected[0] += part.scores[0]
        expected[-1] += part.scores[-1]
        expected[1 + start : 1 + start + len(part.tokens) - 2] += part.scores[1:-1]
    np.testing.assert_allclose(e.scores, expected / 4, atol=1e-5)
    assert e.sum == pytest.approx(sum(part.sum for part in parts) / 4, abs=1e-5)
    assert e.base_value + e.sum == pytest.approx(sum(p.base_value + p.sum for p in parts) / 4, abs=1e-5)
    logits = []
    for start in starts:
        inputs = TOKENIZER(" ".join(words[start : start + room]), return_tensors="pt")
        with torch.no_grad():
            logits.append(model(**inputs).logits[0])
    chances = torch.stack(logits).mean(0).softmax(-1)
    assert e.prediction.probabilities["good"] == pytest.approx(chances[2].item(), abs=1e-5)
    assert [token.text for token in e.tokens[1:-1]] == words
    assert any("Read in 4 windows of at most 20 tokens" in note for note in e.notes)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(3, 20), st.data())
def test_every_token_is_in_a_window_and_neighbours_share_the_stride(count, length, data):
    stride = data.draw(st.integers(0, length - 3))
    (item,) = tokenise_in_windows(TOKENIZER, [long_text(count)], None, length, stride, ACCEPTS)
    assert len(item) == count + 2
    if count + 2 <= length:
        assert not item.windows
        return
    seen = [window.positions.tolist() for window in item.windows]
    assert all(len(window) <= length for window in item.windows)
    assert set().union(*seen) == set(range(count + 2))
    for one, other in zip(seen, seen[1:], strict=False):
        assert len(set(one[1:-1]) & set(other[1:-1])) == stride
    for window, places in zip(item.windows, seen, strict=True):
        assert [item.encoding.ids[place] for place in places] == window.features["input_ids"].tolist()


def test_a_short_text_is_explained_as_without_windows(model):
    texts = [long_text(5), long_text(40), long_text(9, 1)]
    both = MhexExplainer(model, TOKENIZER, max_length=20, stride=4)(texts)
    alone = MhexExplainer(model, TOKENIZER, max_length=20)([texts[0], texts[2]])
    assert [e.windows for e in both] == [1, 3, 1]
    for one, other in zip([both[0], both[2]], alone, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
        assert one.notes == other.notes


@pytest.mark.parametrize("long", [0, 1])
def test_of_a_pair_only_the_longer_half_is_windowed(model, long):
    halves = [long_text(5), long_text(5, 1)]
    halves[long] = long_text(40, 2)
    e = MhexExplainer(model, TOKENIZER, max_length=24, stride=4)(halves[0], halves[1])
    assert e.windows == 3 and not e.truncated
    for sequence, half in enumerate(halves):
        assert [token.text for token in e.tokens if token.sequence == sequence] == half.split()


def test_a_pair_of_two_long_halves_is_cut_in_the_shorter_and_says_so(model):
    first, second = long_text(60), long_text(40, 1)
    with pytest.warns(UserWarning, match="of the pair's second half"):
        e = MhexExplainer(model, TOKENIZER, max_length=24, stride=4)(first, second)
    assert e.truncated and e.windows > 1 and e.text_pair == second
    assert [token.text for token in e.tokens if token.sequence == 0] == first.split()
    kept = [token.text for token in e.tokens if token.sequence == 1]
    assert kept == second.split()[: len(kept)] and 0 < len(kept) < 40


def test_fitted_matrices_and_layers_and_classes_in_windows(model):
    fitted = get_mhex_model(tiny_bert(num_labels=3).eval(), MhexConfig(gate=False))
    fit_equivalent_matrices(fitted, TOKENIZER, [long_text(8, seed) for seed in range(40)], progress=False)
    e = MhexExplainer(fitted, TOKENIZER, max_length=20, stride=4)(long_text(40), layers=True, classes="all")
    np.testing.assert_allclose(e.layer_scores.sum(1), e.scores, atol=1e-4)
    np.testing.assert_allclose(e.class_scores[:, e.target.id], e.scores, atol=1e-5)
    assert e.scores[0] == e.scores[-1] == 0
    mean = MhexExplainer(fitted, TOKENIZER, max_length=20, stride=4)(long_text(40))
    np.testing.assert_allclose(mean.scores, e.scores, atol=1e-6)


def test_a_hundred_thousand_characters_keep_their_offsets(model):
    text = long_text(16_000)[:100_000].rsplit(" ", 1)[0]
    e = MhexExplainer(model, TOKENIZER, max_length=64, stride=8)(text)
    assert [token.text for token in e.tokens[1:-1]] == text.split()
    assert e.windows > 200 and np.isfinite(e.scores).all()


@pytest.mark.parametrize("stride", [-1, 18, 30, 2.5, True])
def test_strides_that_cannot_be(model, stride):
    with pytest.raises((TypeError, ValueError), match="stride must be"):
        MhexExplainer(model, TOKENIZER, max_length=20, stride=stride)


@pytest.mark.parametrize(("length", "stride"), [(5, 1), (7, 3)])
def test_pairs_need_room_for_both_halves(model, length, stride):
    with pytest.raises(ValueError, match=f"stride must be less than {length - 4} for pairs"):
        MhexExplainer(model, TOKENIZER, max_length=length, stride=stride)(long_text(20), long_text(20, 1))


def test_a_pair_is_windowed_where_there_is_just_room(model):
    e = MhexExplainer(model, TOKENIZER, max_length=7, stride=2)(long_text(9), long_text(4, 1))
    assert [token.text for token in e.tokens if token.sequence == 0] == long_text(9).split()


def test_windows_do_not_depend_on_the_side_the_tokenizer_would_cut(model):
    other = tiny_tokenizer()
    other.truncation_side = "left"
    one, two = (MhexExplainer(model, t, max_length=20, stride=5)(long_text(60)) for t in (TOKENIZER, other))
    assert one.scores.tolist() == two.scores.tolist() and other.truncation_side == "left"
