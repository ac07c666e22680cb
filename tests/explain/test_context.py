# SPDX-License-Identifier: Apache-2.0
"""`ContextExplainer`: units, spans, scores against exhaustive Shapley values, and one sentence for bad input."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from helpers.games import shapley_of_table
from helpers.language_models import byte_tokenizer, tiny_language_model
from mhex_nlp import ContextExplainer, ContextExplanation
from mhex_nlp.explain.context.estimate import chosen_subsets, covariances, estimate
from mhex_nlp.explain.context.prompts import write_prompt
from mhex_nlp.explain.context.units import read_continuation, read_generated, read_prompt

CONTEXT = "Ann is in Köln. 我喜欢猫。 Bob ate 👩‍🚀 pie! The cat can't swim. It rained."
QUERY = "Where is Ann?"
ANSWER = "In Köln. She is the 👩‍🚀."


@pytest.fixture(scope="module")
def explainer() -> ContextExplainer:
    return ContextExplainer(tiny_language_model(), byte_tokenizer())


@pytest.fixture(scope="module")
def refined(explainer) -> ContextExplanation:
    return explainer.explain(context=CONTEXT, query=QUERY, continuation=ANSWER, budget=10)


def exhaustive(explainer, e: ContextExplanation) -> np.ndarray:
    """(2**N, C): log-probability of each span for each subset, row i without caches, of the units whose bits i has."""
    tokenizer = explainer.tokenizer
    ids = torch.tensor(tokenizer(e.prompt, add_special_tokens=False)["input_ids"])
    offsets = tokenizer(e.prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    after = tokenizer(e.continuation, add_special_tokens=False, return_offsets_mapping=True)
    ends = [*(unit.start for unit in e.units[1:]), e.units[-1].end]  # a space goes with what stands before it
    places = [(unit.start, end) for unit, end in zip(e.units, ends, strict=True)]
    touch = all(one.end + 1 == other.start for one, other in itertools.pairwise(e.spans))  # sentences
    stops = [*(span.start for span in e.spans[1:]), e.spans[-1].end] if touch else [span.end for span in e.spans]
    model, rows = explainer.model, []
    for number in range(2 ** len(e.units)):
        gone = [place for index, place in enumerate(places) if not number >> index & 1]
        hidden = [any(first <= start and end <= last for first, last in gone) for start, end in offsets]
        mask = torch.tensor([[0 if h else 1 for h in hidden] + [1] * len(after["input_ids"])])
        whole = torch.cat([ids, torch.tensor(after["input_ids"])])[None]
        with torch.inference_mode():
            positions = torch.arange(whole.shape[1])[None]
            logits = model(input_ids=whole, attention_mask=mask, position_ids=positions).logits[0, len(ids) - 1 : -1]
        said = logits.double().log_softmax(-1).gather(1, whole[0, len(ids) :, None])[:, 0].numpy()
        visible = [start + e.continuation[start:end].startswith(" the") for start, end in after["offset_mapping"]]
        inside = [[s.start <= start < end for s, end in zip(e.spans, stops, strict=True)] for start in visible]
        rows.append(said @ np.array(inside, dtype=float))
    return np.array(rows)


def test_units_and_spans_are_code_points(refined):
    assert [unit.text for unit in refined.units] == [
        "Ann is in Köln.",
        "我喜欢猫。",
        "Bob ate 👩‍🚀 pie!",
        "The cat can't swim.",
        "It rained.",
    ]
    assert all(refined.prompt[unit.start : unit.end] == unit.text for unit in refined.units)
    assert [(span.text, span.start) for span in refined.spans] == [("In Köln.", 0), ("She is the 👩‍🚀.", 9)]
    assert refined.prompt.endswith(f"\n\nQuery: {QUERY}<|im_end|>\n<|im_start|>assistant\n")
    assert not refined.generated and refined.continuation == ANSWER


def test_scores_are_shapley_values_once_all_subsets_are_asked(explainer):
    e = explainer.explain(context=CONTEXT, query=QUERY, continuation=ANSWER, budget=30)
    table = exhaustive(explainer, e)
    assert np.abs(e.scores - shapley_of_table(table, 5)).max() < 1e-3
    assert e.errors is not None and e.errors.max() == 0 and e.passes == 33
    assert [span.log_probability for span in e.spans] == pytest.approx(table[-1].tolist(), abs=1e-4)
    assert [span.empty_log_probability for span in e.spans] == pytest.approx(table[0].tolist(), abs=1e-4)


def test_half_the_subsets_agree_with_shapley_values(explainer):
    """In the mean over contexts of 4 to 6 sentences and four spans each: one swap of neighbours among 5 is 0.9."""
    sentences = re.split(r"(?<=[.。!]) ", f"{CONTEXT} Eve has two dogs.")
    spans, agreements = [(0, 3), (3, 8), (9, 16), (16, len(ANSWER))], []
    for count in (4, 5, 6):
        e = explainer.explain(
            context=" ".join(sentences[:count]),
            query=QUERY,
            continuation=ANSWER,
            span=spans,
            budget=2 ** (count - 1),
        )
        assert len(e.units) == count
        exact = shapley_of_table(exhaustive(explainer, e), count)
        agreements += [spearmanr(e.scores[:, span], exact[:, span]).statistic for span in range(len(spans))]
    assert np.mean(agreements) >= 0.95, agreements


def test_scores_add_up(refined):
    for span in refined.spans:
        assert sum(span.scores) == pytest.approx(span.log_probability - span.empty_log_probability, abs=1e-6)
    assert refined.scores.shape == (5, 2) and refined.passes == 13 and refined.prior == "attention"
    assert all(span.lds is not None and -1 <= span.lds <= 1 for span in refined.spans)


def test_batches_and_seeds(explainer, refined):
    """One row a batch gives the same; another seed asks about other subsets."""
    alone = ContextExplainer(explainer.model, explainer.tokenizer, batch_tokens=1)
    same = alone.explain(context=CONTEXT, query=QUERY, continuation=ANSWER, budget=10)
    np.testing.assert_allclose(same.scores, refined.scores, atol=1e-3)
    assert not np.array_equal(chosen_subsets(np.ones(9), 16, 0), chosen_subsets(np.ones(9), 16, 1))


def test_attention_alone(explainer):
    e = explainer.explain(context=CONTEXT, query=QUERY, continuation=ANSWER, budget=0)
    assert e.errors is None and e.spans[0].lds is None and e.spans[0].empty_log_probability is None
    assert (e.scores > 0).all() and (e.scores.sum(0) < 1).all() and "No ablation" in e.notes[-1]


@pytest.mark.parametrize("units", ["words", "tokens"])
def test_smaller_units(explainer, units):
    e = explainer.explain(context="Bob 👩‍🚀 我喜欢 ate.", query=QUERY, continuation=" Bob", units=units, budget=12)
    texts = [unit.text for unit in e.units]
    if units == "words":
        assert texts == ["Bob", "👩‍🚀", "我", "喜", "欢", "ate", "."]
    else:  # a byte a token: those of one code point are one unit
        assert texts == ["B", "o", "b", "👩", "‍", "🚀", "我", "喜", "欢", "a", "t", "e", "."]
    assert all(e.prompt[unit.start : unit.end] == unit.text for unit in e.units)


def test_template_tokens_are_never_units(explainer):
    """Whatever is removed, what stays is the template to the letter; a special token typed by a user stays as well."""
    tokenizer = byte_tokenizer()
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi there. <|im_end|> How so?"}]
    for units in ("sentences", "words", "tokens"):
        read = read_prompt(tokenizer, write_prompt(tokenizer, messages, None, None), units)
        left = tokenizer.decode(read.ids[read.owners < 0], skip_special_tokens=False)
        roles = "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n"
        assert left.replace(" ", "") == roles
    read = read_prompt(tokenizer, write_prompt(tokenizer, None, CONTEXT, QUERY), "words")
    left = tokenizer.decode(read.ids[read.owners < 0], skip_special_tokens=False)
    assert left.startswith("<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nContext:")
    assert left.endswith(f"\n\nQuery: {QUERY}<|im_end|>\n<|im_start|>assistant\n")


def test_a_plain_prompt_keeps_its_first_token(explainer):
    e = explainer.explain("One two. Three four.", " five", units="words", budget=4)
    assert "first token" in e.notes[0] and e.units[0].text == "One"
    assert e.prompt == "One two. Three four."


def test_what_the_model_writes(explainer):
    """The log-probabilities of its own tokens, as `generate` gives them; the text's places are those of the tokens."""
    e = explainer.explain(context=CONTEXT, query=QUERY, budget=4, max_new_tokens=6, span=None)
    ids = torch.tensor(explainer.tokenizer(e.prompt, add_special_tokens=False)["input_ids"])[None]
    output = explainer.model.generate(
        input_ids=ids, do_sample=False, max_new_tokens=6, return_dict_in_generate=True, output_logits=True
    )
    said = [step.double().log_softmax(-1).max() for step in output.logits]
    assert e.generated and sum(span.log_probability for span in e.spans) == pytest.approx(float(sum(said)), abs=1e-3)


@pytest.mark.parametrize("text", ["the 👩‍🚀 ate 我 ", " the", "\ufffd x"])
def test_tokens_of_a_continuation(text):
    tokenizer = byte_tokenizer()
    prompt = write_prompt(tokenizer, None, CONTEXT, QUERY)
    ids = read_prompt(tokenizer, prompt, "sentences").ids
    given = read_continuation(tokenizer, prompt, ids, text)
    assert tokenizer.decode(given.ids) == text
    generated = read_generated(tokenizer, prompt, ids, given.ids)
    assert generated.text == text and generated.spans == given.spans
    # half an emoji, as when the last new token cuts it
    cut = read_generated(tokenizer, prompt, ids, given.ids[:6])
    assert [end for _, end in cut.spans] == sorted(end for _, end in cut.spans) and cut.spans[-1][1] <= len(cut.text)


def test_json(refined):
    document = refined.to_dict()
    assert document["schema"] == "mhex-context/1.0" and document["units"][0]["kind"] == "sentence"
    assert document["spans"][0]["lds"] == refined.spans[0].lds and document["id"] == "0"
    assert ContextExplanation.from_json(refined.to_json()) == refined
    for change in ({"schema": "mhex-context/9"}, {"units": []}, {"prompt": 3}, {"more": 1}):
        with pytest.raises(ValueError):
            ContextExplanation.from_dict({**document, **change})


def test_the_posterior_knows_its_errors():
    """On games drawn from the prior, errors are what they say; hyper-parameters are estimated."""
    draw, units, ratios = np.random.default_rng(0), 6, []
    every = (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(bool)
    attention = draw.gamma(1.0, size=units)
    game = covariances(every * 2.0 - 1, attention, 0.3, 0.1)
    lower = np.linalg.cholesky(game.answers)
    kept = chosen_subsets(attention, 16, 0)
    for _ in range(60):
        table = lower @ draw.normal(size=len(every))
        result = estimate(kept, table[kept @ (1 << np.arange(units))][:, None], table[-1:], attention[:, None])
        ratios.append((result.scores[:, 0] - shapley_of_table(table, units)) / result.errors[:, 0])
    assert 0.8 < np.std(ratios) < 1.3


@pytest.mark.parametrize("units", [1, 2, 3, 5, 40])
def test_subsets(units):
    """As many as the budget, no two alike, the whole prompt never, the bare one last."""
    for budget in (1, 2, 5, 8, 33):
        chosen = chosen_subsets(np.arange(units), budget, 0)
        assert len(np.unique(chosen, axis=0)) == len(chosen) == min(budget, 2**units - 2) + 1
        assert not chosen[-1].any() and not chosen.all(1).any()


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({}, ValueError, "prompt or context must be given, and not both, got neither"),
        ({"prompt": "a", "context": "b"}, ValueError, "got both"),
        ({"context": "a"}, ValueError, "query must be given beside context"),
        ({"context": " ", "query": "b"}, ValueError, "context must hold at least one character"),
        ({"context": "a", "query": ""}, ValueError, "query must hold at least one character"),
        ({"prompt": ""}, ValueError, "prompt must hold"),
        ({"prompt": "a", "query": "b"}, ValueError, "query must come beside context"),
        ({"prompt": []}, TypeError, "prompt must be a string or a list of messages"),
        ({"prompt": [{"role": "user"}]}, TypeError, "prompt must be a string or a list of messages"),
        ({"prompt": "<|im_start|><|im_end|>"}, ValueError, "context must hold at least one of the sentences"),
        ({"prompt": "Hi you.", "units": "letters"}, ValueError, "units must be one of 'sentences', 'words', 'tokens'"),
        ({"prompt": "Hi you.", "continuation": ""}, ValueError, "continuation must hold"),
        (
            {"prompt": "Hi you.", "span": (0, 99)},
            ValueError,
            r"span must lie in.*from 0 to 3.*\(0, 99\)",
        ),
        ({"prompt": "Hi you.", "span": (2, 1)}, ValueError, "span must lie in the continuation"),
        ({"prompt": "Hi you.", "span": (0, 1)}, ValueError, "span must lie in the continuation"),  # a space
        ({"prompt": "Hi you.", "span": "ab"}, TypeError, "span must be a pair"),
        ({"prompt": "Hi you.", "budget": -1}, ValueError, "budget must be an integer of at least 0"),
        ({"prompt": "Hi you.", "continuation": None, "max_new_tokens": 0}, ValueError, "max_new_tokens must be"),
        ({"prompt": "Hi you. " * 100}, ValueError, "prompt and continuation of 800 and 3 tokens must be no more than"),
        (
            {"prompt": "Hi you. " * 60, "continuation": None},
            ValueError,
            "prompt of 480 and max_new_tokens of 128",
        ),
    ],
)
def test_one_sentence_for_bad_input(explainer, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        explainer.explain(**{"continuation": " ok", **arguments})


def test_refused_tokenizers_and_templates(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    model = tiny_language_model()

    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="tokenizer must be a fast tokenizer, which knows the offsets"):
        ContextExplainer(model, Slow())
    tokenizer = byte_tokenizer()
    written = write_prompt(tokenizer, [{"role": "user", "content": " padded "}], None, None)
    assert written.text[slice(*written.regions[0])] == " padded "
    other = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(ValueError, match="prompt must be a string, since the .* has no chat template"):
        write_prompt(other, [{"role": "user", "content": "a"}], None, None)
    plain = write_prompt(other, None, "a b", "c")
    assert plain.text == "Context: a b\n\nQuery: c\n\nAnswer:" and plain.regions == ((9, 12),)
    other.chat_template = "{% for m in messages %}[{{ m.content.strip() }}]{% endfor %}"
    stripped = write_prompt(other, [{"role": "user", "content": " padded "}], None, None)
    assert stripped.text == "[padded]" and stripped.regions == ((1, 7),)
    other.chat_template = "{% for m in messages %}[{{ m.content.upper() }}]{% endfor %}"
    with pytest.raises(ValueError, match="prompt cannot be found again in what the chat template makes"):
        write_prompt(other, [{"role": "user", "content": "a"}], None, None)


def test_attention_that_cannot_be_seen(explainer, monkeypatch):
    monkeypatch.setattr("mhex_nlp.explain.context.explainer.attention_of_continuation", lambda *_: None)
    e = explainer.explain(context=CONTEXT, query=QUERY, continuation=ANSWER, budget=30)
    assert e.prior == "none" and "no prior" in e.notes[0] and e.errors.max() == 0
    with pytest.raises(ValueError, match="budget must be at least 1 for a model whose attention cannot be seen"):
        explainer.explain(context=CONTEXT, query=QUERY, continuation=ANSWER, budget=0)
