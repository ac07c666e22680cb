# SPDX-License-Identifier: Apache-2.0
"""The value functions against the model run by hand: every removal, units, batches, the cache, many families."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from helpers.families import plain_model
from helpers.tiny import tiny_bert, tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp.evaluation.metrics.naopc import aopc_bounds
from mhex_nlp.evaluation.metrics.perturbation import bin_masks, comprehensiveness, soft_weights
from mhex_nlp.evaluation.metrics.shapley import sampled_shapley
from mhex_nlp.evaluation.model_values import ModelValues, perturb

TEXT = "the superb film was very dull ."
MASK, CLS, SEP = 4, 2, 3


def values_of(removal="mask", **options):
    return ModelValues(tiny_bert(dropout=0.0).eval(), tiny_tokenizer(), removal, **options)


def by_hand(model, ids, attention=None):
    ids = torch.tensor([ids])
    with torch.no_grad():
        mask = torch.ones_like(ids) if attention is None else attention
        return model(input_ids=ids, attention_mask=mask).logits[0]


@pytest.mark.parametrize("removal", ["mask", "deletion", "attention"])
def test_each_removal_is_what_the_model_says_by_hand(removal):
    keep = np.ones((1, 7), dtype=bool)
    keep[0, [1, 5]] = False
    ids = tiny_tokenizer()(TEXT)["input_ids"]
    masked = [MASK if place in (2, 6) else token for place, token in enumerate(ids)]
    cut = [token for place, token in enumerate(ids) if place not in (2, 6)]
    hidden = torch.tensor([[int(place not in (2, 6)) for place in range(len(ids))]])
    row, attention = {"mask": (masked, None), "deletion": (cut, None), "attention": (ids, hidden)}[removal]
    values = values_of(removal)
    logits = values.of(TEXT).logits(keep)
    expected = by_hand(values.model, row, attention)
    np.testing.assert_allclose(logits[0], expected.numpy(), atol=1e-6)
    assert logits.dtype == np.float64
    probabilities = values.of(TEXT).probabilities(keep)
    np.testing.assert_allclose(probabilities[0], expected.softmax(-1).numpy(), atol=1e-6)


def test_a_kept_text_is_the_plain_prediction_and_special_tokens_stay():
    values = values_of()
    text = values.of(TEXT)
    assert text.n == 7 and [token.piece for token in text.tokens][0] == "[CLS]"
    assert text.fixed.tolist() == [True] + [False] * 7 + [True]
    np.testing.assert_allclose(
        text.logits(np.ones((1, 7)))[0], by_hand(values.model, tiny_tokenizer()(TEXT)["input_ids"]).numpy(), atol=1e-6
    )
    empty = by_hand(values.model, [CLS, *[MASK] * 7, SEP])
    np.testing.assert_allclose(text.logits(np.zeros((1, 7)))[0], empty.numpy(), atol=1e-6)


def test_words_take_all_their_tokens_and_sum_their_scores():
    text = values_of().of("a filmz was goodly", unit="words")
    assert [len(unit) for unit in text.units] == [1, 2, 1, 3], "WordPiece cuts words it does not know"
    assert text.n == 4
    scores = np.arange(9.0)
    assert text.unit_scores(scores).tolist() == [1, 2 + 3, 4, 5 + 6 + 7]
    keep = np.asarray([[True, False, True, True]])
    tokens = np.ones((1, 7), dtype=bool)
    tokens[0, 1:3] = False
    np.testing.assert_allclose(text.logits(keep), text.owner.of("a filmz was goodly").logits(tokens), atol=1e-6)


def test_pairs_keep_their_segments():
    values = values_of("deletion")
    text = values.of("the film was good", "it was fine")
    assert text.n == 7
    keep = np.ones((1, 7), dtype=bool)
    keep[0, 0] = False
    encoded = tiny_tokenizer()("film was good", "it was fine", return_tensors="pt")
    with torch.no_grad():
        expected = values.model(**encoded).logits[0]
    np.testing.assert_allclose(text.logits(keep)[0], expected.numpy(), atol=1e-6)


def test_each_subset_runs_once_and_batches_do_not_matter():
    draw = np.random.default_rng(0)
    keep = draw.random((40, 7)) > 0.5
    distinct = len(np.unique(keep, axis=0))
    one, wide = values_of("deletion", batch_tokens=9), values_of("deletion")
    first, second = one.of(TEXT), wide.of(TEXT)
    np.testing.assert_allclose(first.logits(keep), second.logits(keep), atol=1e-6)
    assert wide.rows == one.rows == distinct
    second.logits(keep[::-1])
    assert wide.rows == distinct, "known already, nothing runs"
    assert np.array_equal(first.logits(keep[::-1]), first.logits(keep)[::-1])


def test_many_texts_in_one_go_are_those_texts_alone():
    texts, _ = tiny_texts(5)
    draw = np.random.default_rng(1)
    scores = [draw.normal(size=values_of().of(text).n) for text in texts]
    values = values_of()
    together = perturb([values.of(text) for text in texts], scores)
    assert (together.full.shape, together.without.shape, together.only.shape) == ((5,), (5, 5), (5, 5))
    alone = values_of(batch_tokens=1)
    for index, (text, row) in enumerate(zip(texts, scores, strict=True)):
        game = alone.of(text)
        value = game.value(game.predicted())
        without, only = bin_masks(row)
        assert together.full[index] == pytest.approx(float(value(np.ones((1, game.n), dtype=bool))[0]), abs=1e-6)
        np.testing.assert_allclose(together.without[index], value(without), atol=1e-6)
        np.testing.assert_allclose(together.only[index], value(only), atol=1e-6)
    assert together.full.min() > 0.5, "the predicted class of two"
    other = perturb([values.of(texts[0])], scores[:1], targets=["negative"])
    assert other.full[0] in (pytest.approx(together.full[0]), pytest.approx(1 - together.full[0]))
    assert comprehensiveness(together.full, together.without).shape == (5,)


def test_outputs_and_targets():
    text = values_of().of(TEXT)
    keep = np.ones((1, 7), dtype=bool)
    logits, probabilities = text.logits(keep)[0], text.probabilities(keep)[0]
    assert text.value("positive")(keep)[0] == probabilities[1]
    assert text.value(0, "logit")(keep)[0] == logits[0]
    assert text.value(0, "centred")(keep)[0] == pytest.approx(logits[0] - logits.mean())
    assert text.value()(keep)[0] == probabilities.max()
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match="target must be a class of the model, got 'neutral'"):
        text.value("neutral")
    with pytest.raises(ValueError, match="output must be 'probability', 'logit' or 'centred'"):
        text.value(0, "odds")  # type: ignore[arg-type]


def test_regression_and_several_labels():
    tokenizer = tiny_tokenizer()
    price = ModelValues(tiny_bert(id2label={0: "price"}, label2id={"price": 0}).eval(), tokenizer).of(TEXT)
    keep = np.ones((1, 7), dtype=bool)
    assert price.value(output="logit")(keep)[0] == price.logits(keep)[0, 0]
    with pytest.raises(ValueError, match="regression model has no probabilities: use output='logit'"):
        price.value()
    with pytest.raises(ValueError, match="classes that exclude each other"):
        price.value(output="centred")
    several = ModelValues(tiny_bert(problem_type="multi_label_classification").eval(), tokenizer).of(TEXT)
    np.testing.assert_allclose(several.probabilities(keep), 1 / (1 + np.exp(-several.logits(keep))))


def test_a_model_with_heads_gives_its_own_logits_and_keeps_its_mode():
    model = tiny_mhex(gate=False, dropout=0.1).train()
    text = ModelValues(model, tiny_tokenizer()).of(TEXT)
    plain = values_of()
    keep = np.random.default_rng(2).random((6, 7)) > 0.5
    np.testing.assert_allclose(text.logits(keep), plain.of(TEXT).logits(keep), atol=1e-6)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_metrics_run_on_a_model():
    text = values_of().of("the superb film was dull .")
    value = text.value()
    estimate = sampled_shapley(value, text.n, permutations=8)
    ends = value(np.asarray([[True] * text.n, [False] * text.n]))
    assert estimate.values.sum() == pytest.approx(ends[0] - ends[1], abs=1e-9)
    bounds = aopc_bounds(value, text.n)
    assert bounds.lo <= bounds.hi and text.owner.rows == 2**text.n, "Shapley's subsets were not run again"


def test_soft_masks_between_the_text_and_its_mask():
    values = values_of()
    text = values.of(TEXT)
    ends = text.soft_probabilities([[1.0] * 7, [0.0] * 7, [1, 0, 1, 1, 1, 0, 1]])
    hard = text.probabilities(np.asarray([[1] * 7, [0] * 7, [1, 0, 1, 1, 1, 0, 1]], dtype=bool))
    np.testing.assert_allclose(ends, hard, atol=1e-6)
    half = text.soft_probabilities([[0.5] * 7])
    embed = values.model.get_input_embeddings().weight
    ids = torch.tensor(tiny_tokenizer()(TEXT)["input_ids"])
    mixed = embed[ids].clone()
    mixed[1:-1] = 0.5 * embed[ids[1:-1]] + 0.5 * embed[MASK]
    with torch.no_grad():
        expected = values.model(inputs_embeds=mixed[None]).logits.softmax(-1)
    np.testing.assert_allclose(half, expected.numpy(), atol=1e-6)
    assert not values.model.get_input_embeddings()._forward_hooks, "the hook is gone"
    assert text.soft_probabilities([soft_weights([1.0, 2, 3, 0, -1, 0, 0])]).shape == (1, 2)
    with pytest.raises(ValueError, match=r"weights must be \(S, 7\) in \[0, 1\]"):
        text.soft_probabilities([[2.0] * 7])


def plain_tokenizer(**special):
    """Words w04, w05, ... as ids 4, 5, ..., and no template."""
    ids = {f"w{index:02d}": index for index in range(96)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="w00"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w00", model_max_length=64, **special)


WORDS = "w10 w11 w12 w13 w14 w15"


@pytest.mark.parametrize("pad", [1, None])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_decoders_keep_the_token_they_pool(family, pad):
    model = plain_model(family, dropout=False, pad_token_id=pad)
    values = ModelValues(model, plain_tokenizer(pad_token="w01"), "attention")
    text = values.of(WORDS)
    assert text.n == 5 and bool(text.fixed[-1])
    keep = np.asarray([[False, True, True, False, True], [True] * 5])
    logits = text.logits(keep)
    ids = torch.arange(10, 16)[None]
    with torch.no_grad():
        hidden = model(input_ids=ids, attention_mask=torch.tensor([[0, 1, 1, 0, 1, 1]])).logits[0]
        whole = model(input_ids=ids).logits[0]
    np.testing.assert_allclose(logits, torch.stack([hidden, whole]).numpy(), atol=1e-5)
    deleted = ModelValues(model, plain_tokenizer(pad_token="w01"), "deletion").of(WORDS).logits(keep)
    with torch.no_grad():
        short = model(input_ids=ids[:, [1, 2, 4, 5]]).logits[0]
    np.testing.assert_allclose(deleted, torch.stack([short, whole]).numpy(), atol=1e-5)


FAMILIES = ["roberta", "distilbert", "deberta-v2", "modernbert", "fnet", "mpnet", "albert"]
REMOVALS = ["mask", "deletion", "attention"]


@pytest.mark.parametrize(
    ("family", "removal"),
    [pair for pair in itertools.product(FAMILIES, REMOVALS) if pair != ("fnet", "attention")],  # fnet has no mask
)
def test_families_padded_or_alone(family, removal):
    model = plain_model(family, dropout=False)
    tokenizer = plain_tokenizer(pad_token="w01", mask_token="w04")
    keep = np.random.default_rng(3).random((8, 6)) > 0.4
    together = ModelValues(model, tokenizer, removal).of(WORDS)
    alone = ModelValues(model, tokenizer, removal, batch_tokens=1).of(WORDS)
    np.testing.assert_allclose(together.logits(keep), alone.logits(keep), atol=2e-5)


def test_a_family_nobody_registered_is_run_with_care(monkeypatch):
    from mhex_nlp.models import batches as module

    monkeypatch.setattr(module, "SITES", {})
    model = plain_model("llama", dropout=False)
    unknown = ModelValues(model, plain_tokenizer(pad_token="w01"), "deletion").of(WORDS)
    assert unknown.n == 5, "its last token may be the one it pools"
    keep = np.random.default_rng(4).random((6, 5)) > 0.5
    monkeypatch.undo()
    known = ModelValues(model, plain_tokenizer(pad_token="w01"), "deletion").of(WORDS)
    np.testing.assert_allclose(unknown.logits(keep), known.logits(keep), atol=1e-5)


def test_an_encoder_decoder_is_not_hidden_from_by_attention():
    model = plain_model("t5", dropout=False)
    tokenizer = plain_tokenizer(pad_token="w01", eos_token="w03")
    with pytest.raises(ValueError, match="decoder of an encoder-decoder model: use removal='deletion'"):
        ModelValues(model, tokenizer, "attention")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("$A w03", special_tokens=[("w03", 3)])
    logits = ModelValues(model, tokenizer, "deletion").of(WORDS).logits([[True, False, True, True, False, True]])
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([[10, 12, 13, 15, 3]])).logits
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="soft mask needs .* a model without a decoder beside it"):
        ModelValues(model, tokenizer, "deletion").of(WORDS).soft_probabilities([[1.0] * 6])


def test_what_is_refused():
    with pytest.raises(ValueError, match="mask token.*use removal='attention'"):
        ModelValues(plain_model("gpt2"), plain_tokenizer(pad_token="w01"))
    with pytest.raises(ValueError, match="needs a model that takes an attention mask, which FNet"):
        ModelValues(plain_model("fnet"), plain_tokenizer(pad_token="w01"), "attention")
    with pytest.raises(ValueError, match="fast tokenizer, got a slow str"):
        ModelValues(tiny_bert(), "bert")
    with pytest.raises(ValueError, match="batch_tokens must be a positive integer"):
        values_of(batch_tokens=0)
    with pytest.raises(ValueError, match="between 1 and the 64 tokens"):
        values_of(max_length=65)
    values = values_of()
    with pytest.raises(ValueError, match="unit must be 'tokens' or 'words', got 'chars'"):
        values.of(TEXT, unit="chars")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one character"):
        values.of("  ")
    text = values.of(TEXT)
    with pytest.raises(ValueError, match=r"keep must be \(S, 7\), a column for each of the tokens, got \(1, 6\)"):
        text.logits(np.ones((1, 6)))
    with pytest.raises(ValueError, match=r"scores must have one entry a token, \(9,\), got \(7,\)"):
        text.unit_scores(np.ones(7))
    with pytest.raises(ValueError, match="at least one, got 0 texts"):
        perturb([], [])
    with pytest.raises(ValueError, match=r"scores\[0\] must be finite"):
        perturb([text], [[np.nan] * 7])
    with pytest.raises(ValueError, match=r"scores\[0\] must have one entry a unit, \(7,\), got \(3,\)"):
        perturb([text], [[1.0] * 3])
    with pytest.raises(ValueError, match="from one ModelValues"):
        perturb([text, values_of().of(TEXT)], [[1.0] * 7] * 2)
    with pytest.raises(ValueError, match="no token that could be removed"):
        ModelValues(plain_model("gpt2"), plain_tokenizer(pad_token="w01"), "attention").of("w10")


def test_logits_that_are_not_finite_are_refused():
    model = tiny_bert(dropout=0.0).eval()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    with pytest.raises(ValueError, match="logits are not finite"):
        ModelValues(model, tiny_tokenizer()).of(TEXT).logits(np.ones((1, 7)))
